# SPDX-License-Identifier: Apache-2.0
"""Files that are whole or not there."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from training.runs.errors import InputError


@contextmanager
def write_atomically(path: Path, replace: bool = False) -> Iterator[Path]:
    """A path to write a file or a folder to; it becomes `path` when the block ends, and is removed where it fails.

    Raises InputError where `path` exists and is not to be replaced, and where the disk is full or cannot be written.
    """
    if path.exists() and not replace:
        raise InputError(f"{path} exists; remove it, or choose another place to write to")
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove(part)
        yield part
        if replace and path.is_dir():
            shutil.rmtree(path)
        part.replace(path)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        what = "the disk is full; make room" if full else f"{error.strerror or error}; choose another place"
        raise InputError(f"{path} cannot be written: {what}, then run the same command again") from error
    finally:
        _remove(part)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    elif path.is_file():
        path.unlink(missing_ok=True)
