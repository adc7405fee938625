# SPDX-License-Identifier: Apache-2.0
"""Files that are whole or not there, and folders for one process alone."""

from __future__ import annotations

import errno
import fcntl
import inspect
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import IO, ParamSpec, TypeVar

from dropclip_ros.base.files import write_beside
from training.runs.errors import InputError

P, R = ParamSpec("P"), TypeVar("R")
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
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
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


@contextmanager
def lock_place(path: Path) -> Iterator[None]:
    """Whatever is, or is to be, at a path for this command alone: another one is refused with InputError.

    The lock is .NAME.lock beside it, and is removed at the end; what the command calls may lock the folder itself.
    """
    path = Path(os.path.abspath(path))
    beside = path.parent / f".{path.name}.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = _locked_file(beside)
    except BlockingIOError:
        raise _in_use(path) from None
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}; choose another place") from error
    with lock:
        try:
            yield
        finally:
            beside.unlink(missing_ok=True)


def _locked_file(path: Path) -> IO[str]:
    """The file, locked, and still the one of that name: who had it removes it. Raises BlockingIOError."""
    while True:
        file = path.open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        except BaseException:
            file.close()
            raise
        file.close()


def alone(command: Callable[P, R]) -> Callable[P, R]:
    """A command that has the place of its argument `out`, or of its options' `out`, for itself."""

    @wraps(command)
    def locked(*args: P.args, **kwargs: P.kwargs) -> R:
        given = inspect.signature(command).bind(*args, **kwargs).arguments
        with lock_place(given["out"] if "out" in given else given["options"].out):
            return command(*args, **kwargs)

    return locked


def _in_use(folder: Path) -> InputError:
    return InputError(f"{folder}: another such command is at work there; wait for it, or choose another")
