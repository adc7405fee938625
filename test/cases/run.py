# SPDX-License-Identifier: Apache-2.0
"""Runs a script that was written before the modules moved: `python test/cases/run.py SCRIPT [ARGUMENT ...]`.

Old modules and names come from their new places, as docs/moved.md lists them; the benchmarks' modules come without a
folder too (`from live import *`). The script runs from the root of the clone, like those of ../shared/cases ask for.
"""

from __future__ import annotations

import os
import re
import runpy
import sys
from collections import defaultdict
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path
from types import CodeType, ModuleType

ROOT = Path(__file__).resolve().parents[2]
ROW = re.compile(r"^\| `([\w.]+)` \| `([\w.]+)` \|$", re.MULTILINE)


def tables(text: str) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """Of docs/moved.md: the new place of each old module; of each old module, the new place of names that changed."""
    modules, names = (text.partition(f"## {title}\n")[2].partition("\n## ")[0] for title in ("Modules", "Names"))
    renamed: dict[str, dict[str, str]] = defaultdict(dict)
    for old, new in ROW.findall(names):
        module, _, name = old.rpartition(".")
        renamed[module][name] = new
    return dict(ROW.findall(modules)), dict(renamed)


def named(path: str) -> object:
    """What a dotted path names: something in a module, or a method of a class there."""
    place, _, name = path.rpartition(".")
    try:
        return getattr(import_module(place), name)
    except ModuleNotFoundError:
        return getattr(named(place), name)


class OldPlaces(MetaPathFinder, Loader):
    """Finds modules under their old names, and gives modules their old names back.

    A name that is still a module, such as `dropclip_ros.grounding`, stays that module, and what it has not comes from
    the place that its old content moved to.
    """

    def __init__(self, moved: dict[str, str], renamed: dict[str, dict[str, str]]) -> None:
        bare = {old.rpartition(".")[2]: old for old in moved if old.startswith("benchmarks.")}
        self._moved = moved | {name: moved[old] for name, old in bare.items()}
        self._renamed = renamed | {name: renamed[old] for name, old in bare.items() if old in renamed}
        self._real: dict[str, ModuleSpec] = {}
        self._packages = {name.rpartition(".")[0] for name in moved}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname in self._moved or fullname in self._renamed or fullname in self._packages:
            real = PathFinder.find_spec(fullname, path)
            if real and real.loader and self._is_home(fullname, real):
                self._real[fullname] = real
                return ModuleSpec(fullname, self)
            if fullname in self._moved:
                return ModuleSpec(fullname, self)
        return None

    @staticmethod
    def _is_home(fullname: str, spec: ModuleSpec) -> bool:
        """Does the file lie where a module of this name belongs? It may lie below an alias, and be of another name."""
        file = Path(spec.origin or "").with_suffix("")
        parts = (file.parent if file.name == "__init__" else file).parts
        return ".".join(parts[-len(fullname.split(".")) :]) == fullname

    def get_code(self, fullname: str) -> CodeType | None:
        """What `python -m` runs."""
        spec = self._real.get(fullname) or find_spec(self._moved[fullname])
        return spec.loader.get_code(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__
        if name in self._real:
            real = self._load(module, self._real[name])
        else:
            real = import_module(self._moved[name])
        for old, new in self._renamed.get(name, {}).items():
            if not hasattr(real, old):
                setattr(real, old, named(new))
        sys.modules[name] = real

    def _load(self, module: ModuleType, spec: ModuleSpec) -> ModuleType:
        """The module that is still there under this name; it finds what moved away from it."""
        module.__spec__, module.__loader__, module.__file__ = spec, spec.loader, spec.origin
        module.__package__ = module.__name__ if spec.submodule_search_locations else spec.parent
        if spec.submodule_search_locations or module.__name__ in self._packages:  # training.mvtod was one once
            module.__path__ = list(spec.submodule_search_locations or ())
        spec.loader.exec_module(module)
        if new := self._moved.get(module.__name__):
            found = module.__dict__.get("__getattr__")

            def __getattr__(name: str) -> object:
                if name.startswith("__"):
                    raise AttributeError(name)
                try:
                    return getattr(import_module(new), name)
                except AttributeError:
                    if found is None:
                        raise
                    return found(name)

            module.__getattr__ = __getattr__
        return module


def install() -> OldPlaces:
    """Old names can be imported from here on."""
    finder = OldPlaces(*tables((ROOT / "docs/moved.md").read_text(encoding="utf-8")))
    sys.meta_path.insert(0, finder)
    return finder


def main(script: str, *arguments: str) -> None:
    path = Path(script).resolve()
    os.chdir(ROOT)
    sys.path[:1] = [str(path.parent), str(ROOT)]
    places = (str(Path(__file__).resolve().parent / "children"), str(ROOT), os.environ.get("PYTHONPATH", ""))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, places))
    sys.argv = [str(path), *arguments]
    install()
    runpy.run_path(str(path), run_name="__main__")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("expected a script: python test/cases/run.py SCRIPT [ARGUMENT ...]")
    main(*sys.argv[1:])
