# SPDX-License-Identifier: Apache-2.0
"""Files that are whole or not there, and folders for one process alone."""

from __future__ import annotations

import errno
import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dropclip_ros.base.files import write_beside
from training.runs.errors import InputError

_held: set[Path] = set()  # folders that this process has locked


@contextmanager
def write_atomically(path: Path, replace: bool = False) -> Iterator[Path]:
    """`write_beside` with a user's errors.

    Raises InputError where `path` exists and is not to be replaced, and where the disk is full or cannot be written.
    """
    if path.exists() and not replace:
        raise InputError(f"{path} exists; remove it, or choose another place to write to")
    try:
        with write_beside(path) as beside:
            yield beside
            if path.is_dir() and not replace:
                raise InputError(f"{path} was made by another meanwhile; remove one of them")
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        what = "the disk is full; make room" if full else f"{error.strerror or error}; choose another place"
        raise InputError(f"{path} cannot be written: {what}, then run the same command again") from error


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """The folder, made where it is not there, for this process alone. InputError where another one has it.

    A lock of the process (lockf), not of the open file (flock): workers that outlive a killed run would keep that.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        key = folder.resolve()
        if key in _held:
            raise BlockingIOError
        lock = (folder / ".lock").open("w")
    except BlockingIOError:
        raise _in_use(folder) from None
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror}; choose another folder") from error
    with lock:
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise _in_use(folder) from error
        _held.add(key)
        try:
            yield
        finally:
            _held.discard(key)


def _in_use(folder: Path) -> InputError:
    return InputError(f"{folder}: another such command is at work there; wait for it, or choose another")
