# SPDX-License-Identifier: Apache-2.0
"""open3d, as `o3d`, without the web viewer that `import open3d` brings along: dash and plotly cost 1.3 s and 60 MB.

They are imported when somebody first draws with them. Where open3d was imported before, it is what it was.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pkgutil import resolve_name
from types import ModuleType
from typing import Any

_VIEWER = ("dash", "plotly", "plotly.graph_objects")


class _Later(ModuleType):
    """Stands for a module, or for something in it, until it is used."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:  # while open3d is imported
            return _Later(f"{self.__name__}.{name}")
        return getattr(resolve_name(self.__name__), name)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return resolve_name(self.__name__)(*arguments, **named)


@contextmanager
def _viewer_later() -> Iterator[None]:
    ours = {name: _Later(name) for name in _VIEWER if name not in sys.modules}
    sys.modules.update(ours)
    try:
        yield
    finally:
        for name in ours:
            del sys.modules[name]


with _viewer_later():
    import open3d as o3d

__all__ = ["o3d"]
