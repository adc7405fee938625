# SPDX-License-Identifier: Apache-2.0
"""Files: whole or not there where they are written, and models read without trusting them. Nothing here unpickles."""

from __future__ import annotations

import errno
import glob
import hashlib
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.base.reading import opened, read_tensors

if TYPE_CHECKING:
    from torch import Tensor


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def write_beside(path: Path) -> Iterator[Path]:
    """A path to write a file or a folder to; it takes the place of `path` when the block ends, and is removed where it
    fails. Raises OSError.

    It is of this call alone (in NAME.HOST-PROCESS-XXXXXXXX.part beside `path`): two writers do not meet, and the last
    one wins. What a killed one left there is removed by the next on this machine.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_left_behind(path)
    prefix = f"{path.name}.{socket.gethostname()}-{os.getpid()}-"
    beside = Path(tempfile.mkdtemp(".part", prefix, path.parent))
    try:
        yield beside / path.name
        if path.is_dir():
            shutil.rmtree(path)
        (beside / path.name).replace(path)
    except OSError:
        raise
    except Exception as error:  # libraries have errors of their own for a disk that is full
        if number := next((number for number in _FULL if os.strerror(number).lower() in str(error).lower()), 0):
            raise OSError(number, os.strerror(number), str(path)) from error
        if "inline_container" in str(error) or "PytorchStreamWriter" in str(error):  # torch says no more
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _remove_left_behind(path: Path) -> None:
    """Removes what writers of this path left that were killed on this machine."""
    start = f"{path.name}.{socket.gethostname()}-"
    for old in path.parent.glob(f"{glob.escape(start)}*.part"):
        process = old.name[len(start) :].split("-")[0]
        if process.isdigit() and not Path(f"/proc/{process}").exists():
            shutil.rmtree(old, ignore_errors=True)


def sha256_of(path: Path) -> str:
    """Hex digest of a file. MODEL_ERROR where it cannot be read."""
    digest = hashlib.sha256()
    try:
        with opened(path) as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise DropclipError(Status.MODEL_ERROR, f"cannot read the model file {path}: {error.strerror}") from error
    return digest.hexdigest()


def check_sha256(path: Path, expected: str) -> None:
    """MODEL_ERROR where the file is missing or its digest is another."""
    found = sha256_of(path)
    if found != expected:
        raise DropclipError(
            Status.MODEL_ERROR,
            f"{path} has SHA-256 {found}, expected {expected}: it is damaged, cut short or another version; "
            "fetch the model again",
        )


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file, on the CPU. MODEL_ERROR where it is missing, truncated or of another format."""
    try:
        return read_tensors(path)
    except OSError as error:
        raise DropclipError(
            Status.MODEL_ERROR, f"cannot read the model file {path}: {error.strerror}; fetch the model again"
        ) from error


def mismatch(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str | None:
    """The first difference between tensors by name and those expected, in names and shapes, or one with NaN or inf."""
    import torch  # here, since who writes files needs none

    for name, tensor in expected.items():
        if name not in state:
            return f"tensor {name} is missing"
        if state[name].shape != tensor.shape:
            return f"tensor {name} has shape {tuple(state[name].shape)}, expected {tuple(tensor.shape)}"
        if state[name].is_floating_point() and not torch.isfinite(state[name]).all():
            return f"tensor {name} holds NaN or inf"
    surplus = sorted(set(state) - set(expected))
    return f"tensor {surplus[0]} is not part of it" if surplus else None
