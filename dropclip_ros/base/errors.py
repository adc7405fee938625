# SPDX-License-Identifier: Apache-2.0
"""The one exception of the core and the status codes it carries (the same numbers as in msg/Status.msg)."""

from enum import IntEnum


class Status(IntEnum):
    """How a request ended. A test keeps these equal to the constants of msg/Status.msg."""

    OK = 0
    NOT_FOUND = 1
    NO_FRAME = 2
    STALE_FRAME = 3
    NO_TABLE = 4
    EMPTY_SCENE = 5
    TF_ERROR = 6
    BAD_REQUEST = 7
    BAD_FRAME = 8
    MODEL_ERROR = 9
    NO_GRASPS = 10
    TIMEOUT = 11
    NO_PATH = 12
    SLIPPED = 13
    TOO_WIDE = 14
    SCENE_CHANGED = 15
    CANCELLED = 16
    UNSUPPORTED = 17
    AMBIGUOUS = 18
    TARGET_UNSEEN = 19
    BAD_POSE = 20
    OUT_OF_WORKSPACE = 21
    OUT_OF_REACH = 22
    TOO_LOW = 23
    BAD_APPROACH = 24
    ROBOT_MISMATCH = 25
    BUSY = 26

    @property
    def says_what_is_meant(self) -> bool:
        """Whether it answers a phrase: found, not there, which of them, or nothing that can be told. Else a fault."""
        return self in (Status.OK, Status.NOT_FOUND, Status.AMBIGUOUS, Status.UNSUPPORTED)


class DropclipError(Exception):
    """A request cannot be answered.

    `status` says why in one word; `message` says what was wrong, what was expected, and what to do.
    """

    def __init__(self, status: Status, message: str):
        super().__init__(f"{status.name}: {message}")
        self.status = status
        self.message = message

    def __reduce__(self):
        return type(self), (self.status, self.message)  # so that it survives process and thread pools
