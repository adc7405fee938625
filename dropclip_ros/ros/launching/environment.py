# SPDX-License-Identifier: Apache-2.0
"""The environment that processes with large images need."""

from collections.abc import Mapping
from pathlib import Path

# The first is what Fast DDS 2 reads (Humble, Jazzy), the second what Fast DDS 3 does (Kilted).
DDS_PROFILES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")


def dds_profile(environment: Mapping[str, str], file: Path) -> dict[str, str]:
    """Both variables that name Fast DDS's profile: `file`, unless the environment has one that is set already."""
    chosen = next(filter(None, map(environment.get, DDS_PROFILES)), str(file))
    return {name: environment.get(name) or chosen for name in DDS_PROFILES}
