# SPDX-License-Identifier: Apache-2.0
"""What may be opened to be read."""

from __future__ import annotations

import errno
from pathlib import Path


def readable(path: str | Path) -> Path:
    """The path, unless it names a pipe or a device, which one may wait for without end: OSError then."""
    path = Path(path)
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise OSError(errno.EINVAL, "it is a pipe or a device, expected a file", str(path))
    return path
