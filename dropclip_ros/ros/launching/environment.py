# SPDX-License-Identifier: Apache-2.0
"""The environment that processes with large images need."""

import shutil
from collections.abc import Mapping
from pathlib import Path

# The first is what Fast DDS 2 reads (Humble, Jazzy), the second what Fast DDS 3 does (Kilted).
DDS_PROFILES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
SHARED_MEMORY = Path("/dev/shm")
_ROOM = 512e6  # bytes: for the segments of seven processes, 64 MB each


def dds_profile(environment: Mapping[str, str], config: Path) -> dict[str, str]:
    """Both variables that name Fast DDS's profile: the one that one of them names already, or of the folder `config`
    fastdds.xml, or fastdds_small.xml where the shared memory is that of a container."""
    chosen = next(filter(None, map(environment.get, DDS_PROFILES)), "") or str(config / own_profile())
    return {name: environment.get(name) or chosen for name in DDS_PROFILES}


def own_profile(memory: Path = SHARED_MEMORY) -> str:
    """The name of the profile for this much shared memory."""
    small = memory.is_dir() and shutil.disk_usage(memory).total < _ROOM
    return "fastdds_small.xml" if small else "fastdds.xml"
