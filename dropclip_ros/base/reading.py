# SPDX-License-Identifier: Apache-2.0
"""One reader for each kind of file from outside: regular files only, of bounded size and depth, and nothing unpickled.

What is wrong with a file is one `Unreadable`, whatever the library below raised; who reads gives it the status of its
own caller. HDF5, meshes and shards have theirs in `training.runs.reading`, bags in `dropclip_ros.vision.bags`; a test
of the house finds whoever opens a file past them.
"""

from __future__ import annotations

import errno
import io
import json
import os
import pickle
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image
    from torch import Tensor

TEXT = 64 << 20  # bytes; JSON of a scene of 73 views has 2
ARRAYS = 2 << 30  # bytes, unpacked
MODEL = 32 << 30  # bytes
PIXELS = 80_000_000
DEEPEST = 64  # lists in lists
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "PPM", "GIF", "MPO")  # of images; EPS, for one, would start a program


class Unreadable(OSError):
    """A file cannot be read. `strerror`, and the text: what was wrong and what was expected, without the path."""

    def __init__(self, reason: str, path: str | Path = ""):
        super().__init__(errno.EINVAL, reason, str(path))

    def __str__(self) -> str:
        return str(self.strerror)

    def __reduce__(self):
        return type(self), (self.strerror, self.filename)


def readable(path: str | Path) -> Path:
    """The path, unless it names a pipe or a device, which one may wait for without end: OSError then."""
    path = Path(path)
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise Unreadable("it is a pipe or a device, expected a file", path)
    except ValueError as error:  # a NUL in the name
        raise Unreadable(f"it is no name of a file ({error})", path) from error
    return path


@contextmanager
def opened(path: str | Path, limit: int | None = None) -> Iterator[io.BufferedReader]:
    """A regular file, of at most `limit` bytes, to be read. Raises OSError."""
    try:
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe opens at once, and is seen below
    except ValueError as error:
        raise Unreadable(f"it is no name of a file ({error})", path) from error
    with open(number, "rb") as file:
        about = os.fstat(number)
        if stat.S_ISDIR(about.st_mode):
            raise Unreadable("it is a folder, expected a file", path)
        if not stat.S_ISREG(about.st_mode):
            raise Unreadable("it is a pipe or a device, expected a file", path)
        if limit is not None and about.st_size > limit:
            raise Unreadable(f"it has {about.st_size} bytes, expected at most {limit}", path)
        yield file


def read_bytes(path: str | Path, limit: int = TEXT) -> bytes:
    """All bytes of a regular file of at most `limit`. Raises OSError."""
    with opened(path, limit) as file:
        return file.read(min(limit, max(os.fstat(file.fileno()).st_size, 1 << 20)))  # those of /proc say 0


@contextmanager
def library(what: str, path: str | Path) -> Iterator[None]:
    """Makes one kind of error of all that a library meets in a broken file."""
    try:
        yield
    except Unreadable:
        raise
    except OSError as error:
        if error.errno is not None and error.filename is not None:  # the system's own
            raise
        raise Unreadable(f"it is no whole {what} ({_first_line(error)})", path) from error
    except (Exception, RecursionError, MemoryError) as error:
        raise Unreadable(f"it is no whole {what} ({_first_line(error)})", path) from error


def _first_line(error: BaseException) -> str:
    """One short line: what is in a file is not told to whoever may name one."""
    text = (str(error).splitlines() or [""])[0][:120]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def read_text(path: str | Path, limit: int = TEXT, errors: str = "strict") -> str:
    """UTF-8. Raises OSError."""
    with library("text in UTF-8", path):
        return read_bytes(path, limit).decode("utf-8", errors)


def read_json(path: str | Path, limit: int = TEXT) -> Any:
    """What a JSON file holds. Raises OSError."""
    return parse_json(read_text(path, limit), path)


def parse_json(text: str | bytes, path: str | Path = "") -> Any:
    """What JSON holds, at most `DEEPEST` lists in lists. Unreadable; `path`: where it is from."""
    with library("JSON", path):
        tree = json.loads(text)
    level = [tree]
    for _ in range(DEEPEST):
        nodes = (node.values() if isinstance(node, dict) else node for node in level if isinstance(node, (dict, list)))
        level = [child for children in nodes for child in children if isinstance(child, (dict, list))]
        if not level:
            return tree
    raise Unreadable(f"it holds more than {DEEPEST} lists in lists", path)


def read_yaml(path: str | Path, limit: int = 1 << 20) -> Any:
    """What a YAML file holds, without aliases, which can make little text very large. Raises OSError."""
    import yaml

    class Plain(yaml.SafeLoader):
        def compose_node(self, parent, index):
            if self.check_event(yaml.AliasEvent):
                raise ValueError("aliases are not read")
            return super().compose_node(parent, index)

    text = read_text(path, limit)
    with library("YAML", path):
        return yaml.load(text, Plain)


def read_image(path: str | Path) -> Image:
    """An image, turned as the file says that it is to be seen, of at most `PIXELS`. Raises OSError."""
    return decode_image(read_bytes(path, ARRAYS), path)


def decode_image(data: bytes, path: str | Path = "", formats: tuple[str, ...] = FORMATS) -> Image:
    """The image in the bytes of a file. Unreadable; `path`: where it is from."""
    import warnings

    from PIL import Image as Pillow
    from PIL import ImageOps

    with library("image", path), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pixels that are many, which we count, and of odd metadata
        with Pillow.open(io.BytesIO(data), formats=formats) as image:
            if image.width * image.height > PIXELS:
                raise Unreadable(f"it is {image.width}x{image.height}, expected at most {PIXELS} pixels", path)
            image.load()
            return ImageOps.exif_transpose(image)


def read_array(path: str | Path) -> np.ndarray:
    """The array of a .npy file. Raises OSError."""
    import numpy as np

    data = read_bytes(path, ARRAYS)
    with library(".npy", path):
        if not data.startswith(b"\x93NUMPY"):
            raise ValueError("expected one array")
        return np.load(io.BytesIO(data), allow_pickle=False)


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz file by name. Raises OSError."""
    import numpy as np

    data = read_bytes(path, ARRAYS)
    with library(".npz", path):
        _check_unpacked(io.BytesIO(data), path)
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
        if other := [name for name, array in found.items() if not isinstance(array, np.ndarray)]:
            raise ValueError(f"{other[0][:40]} is no array")
        return found


def _check_unpacked(file: IO[bytes], path: str | Path) -> None:
    """Unreadable where a zip says that it holds more than `ARRAYS`; no more than it says is ever unpacked."""
    with zipfile.ZipFile(file) as archive:
        if (size := sum(member.file_size for member in archive.infolist())) > ARRAYS:
            raise Unreadable(f"it would unpack to {size} bytes, expected at most {ARRAYS}", path)


def names_in_zip(path: str | Path) -> list[str]:
    """Names in a zip file; none where it is no zip. Raises OSError."""
    with opened(path) as file, library("zip file", path):
        if not zipfile.is_zipfile(file):
            return []
        with zipfile.ZipFile(file) as archive:
            return archive.namelist()


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, on the CPU. Raises OSError.

    The file is read, not mapped: one that is replaced in place must not change, or kill, a running node.
    """
    from safetensors.torch import load

    data = read_bytes(path, MODEL)
    with library("safetensors file", path):
        return load(data)


def read_about(path: str | Path) -> dict[str, str]:
    """What a safetensors file says beside its tensors. Raises OSError."""
    with opened(path) as file:
        length = int.from_bytes(file.read(8), "little")
        if length > TEXT:
            raise Unreadable(f"it is no whole safetensors file (a header of {length} bytes)", path)
        header = parse_json(file.read(length), path)
    about = header.get("__metadata__") if isinstance(header, dict) else None
    return {key: value for key, value in about.items() if isinstance(value, str)} if isinstance(about, dict) else {}


def read_checkpoint(path: str | Path) -> Any:
    """What torch.save wrote, on the CPU: tensors and plain containers; nothing else is unpickled. Raises OSError."""
    import torch

    what = "checkpoint of tensors alone, made by torch.save"
    with opened(path, MODEL) as file, library(what, path):
        if zipfile.is_zipfile(file):
            _check_unpacked(file, path)
        file.seek(0)
        try:
            return torch.load(file, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:  # its message is a page of advice
            raise Unreadable(f"it is no whole {what}; nothing else is unpickled", path) from error
