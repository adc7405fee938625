# SPDX-License-Identifier: Apache-2.0
"""Files that are whole or not there, and folders for one process alone."""

from __future__ import annotations

import errno
import fcntl
import glob
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from training.runs.errors import InputError

_held: set[Path] = set()  # folders that this process has locked


@contextmanager
def write_atomically(path: Path, replace: bool = False) -> Iterator[Path]:
    """A path to write a file or a folder to; it becomes `path` when the block ends, and is removed where it fails.

    The path is of this call alone (in NAME.HOST-PROCESS-XXXXXXXX.part beside it): two writers do not meet, and the last
    one wins. What a killed one left there is removed by the next on this machine.
    Raises InputError where `path` exists and is not to be replaced, and where the disk is full or cannot be written.
    """
    if path.exists() and not replace:
        raise InputError(f"{path} exists; remove it, or choose another place to write to")
    beside: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_left_behind(path)
        prefix = f"{path.name}.{socket.gethostname()}-{os.getpid()}-"
        beside = Path(tempfile.mkdtemp(".part", prefix, path.parent))
        yield beside / path.name
        if replace and path.is_dir():
            shutil.rmtree(path)
        (beside / path.name).replace(path)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        what = "the disk is full; make room" if full else f"{error.strerror or error}; choose another place"
        raise InputError(f"{path} cannot be written: {what}, then run the same command again") from error
    finally:
        if beside is not None:
            shutil.rmtree(beside, ignore_errors=True)


def _remove_left_behind(path: Path) -> None:
    """Removes what writers of this path left that were killed on this machine."""
    start = f"{path.name}.{socket.gethostname()}-"
    for old in path.parent.glob(f"{glob.escape(start)}*.part"):
        process = old.name[len(start) :].split("-")[0]
        if process.isdigit() and not Path(f"/proc/{process}").exists():
            shutil.rmtree(old, ignore_errors=True)


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
