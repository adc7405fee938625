# SPDX-License-Identifier: Apache-2.0
"""Memory that the C library holds back, on Linux with glibc; elsewhere nothing is done."""

import ctypes
import os
import sys
from contextlib import suppress

_ARENA_MAX = -8  # mallopt's number for it


def keep_small(arenas: int = 2) -> None:
    """Few pools of memory: by default each thread has its own, and what the model frees in one serves no other."""
    if "MALLOC_ARENA_MAX" not in os.environ and sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).mallopt(_ARENA_MAX, arenas)


def give_back() -> None:
    """Gives what was freed back to the system; takes a few ms."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
