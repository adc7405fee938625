# SPDX-License-Identifier: Apache-2.0
"""What docs/house.md shows: counts of a tree, or its folders and imports for graphviz.

    python tools/house.py counts [TREE]
    python tools/house.py dot [TREE] | dot -Tsvg > docs/house.svg

TREE is a checkout, this one by default. Imports inside functions and under TYPE_CHECKING count; a package's own names
by name, in its __init__, do not. Storeys are those of test/house/test_imports.py.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter, defaultdict
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
PACKAGES = ("dropclip_ros", "training")
GENERATED = {"msg", "srv", "action", "__pycache__"}
LONG, LINES, MOST = 60, 6, 20


def modules(tree: Path, tops: tuple[str, ...] = PACKAGES) -> dict[str, Path]:
    """Files by module name."""
    found = {}
    for top in tops:
        for path in sorted((tree / top).rglob("*.py")):
            parts = path.relative_to(tree).with_suffix("").parts
            if not GENERATED & set(parts[1:2]):
                found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(files: dict[str, Path]) -> dict[str, set[str]]:
    """Modules that each module imports, wherever in it."""
    found: dict[str, set[str]] = defaultdict(set)
    for module, path in files.items():
        package = module if path.name == "__init__.py" else module.rpartition(".")[0]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                parts = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
                base = ".".join([*parts, *([node.module] if node.module else [])])
                names = [f"{base}.{alias.name}" for alias in node.names]
            for name in names:
                while name and name not in files:
                    name = name.rpartition(".")[0]
                if name and name != module and module != "dropclip_ros" and not module.startswith(f"{name}."):
                    found[module].add(name)
    return found


def room(module: str) -> str:
    """The folder of a module, in its package; files of the package itself stand for themselves."""
    parts = module.split(".")
    return ".".join(parts[:2]) if len(parts) > 1 else module


def between_rooms(files: dict[str, Path]) -> dict[str, Counter[str]]:
    """How many imports go from each room to each other."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for module, others in imports(files).items():
        for other in others:
            if (a := room(module)) != (b := room(other)):
                found[a][b] += 1
    return found


def circles(edges: dict[str, set[str]]) -> int:
    """How many edges have to go until nothing goes round in circles: one of each circle that is found."""
    edges, count = {node: set(others) for node, others in edges.items()}, 0
    while True:
        try:
            TopologicalSorter(edges).prepare()
            return count
        except CycleError as error:
            circle = error.args[1]  # each is a predecessor of the next
            for a, b in pairwise(circle):
                if a in edges.get(b, ()):
                    edges[b].discard(a)
                    break
            count += 1


def long_functions(files: dict[str, Path]) -> int:
    """Functions of more than LONG lines, docstrings counted."""
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    nodes = (node for path in files.values() for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    return sum(isinstance(node, kinds) and node.end_lineno - node.lineno + 1 > LONG for node in nodes)


def duplicates(files: dict[str, Path]) -> int:
    """Runs of LINES equal lines (no blanks, comments, imports) that stand more than once; the first does not count."""
    seen: Counter[tuple[str, ...]] = Counter()
    for path in files.values():
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
        lines = [line for line in lines if len(line) > 3 and not line.startswith(("#", "import ", "from ", '"""'))]
        seen.update({tuple(lines[k : k + LINES]) for k in range(0, len(lines) - LINES + 1)})
    return sum(count - 1 for count in seen.values() if count > 1)


def climbs(files: dict[str, Path]) -> int:
    """Imports that go up the storeys; files of before the move count as if they lay where docs/moved.md puts them."""
    sys.path[:0] = [str(HERE / "test/house"), str(HERE / "test/cases")]
    from run import tables
    from test_imports import ROOMS

    moved, _ = tables((HERE / "docs/moved.md").read_text(encoding="utf-8"))
    moved = {} if "dropclip_ros.base.errors" in files else moved
    storey = {f"{top}.{name}": k for top, names in ROOMS.items() for k, name in enumerate(names.split())}
    pairs = ((a, b) for a, others in imports(files).items() for b in others)
    rooms = ((room(moved.get(a, a)), room(moved.get(b, b))) for a, b in pairs)
    return sum(a.split(".")[0] == b.split(".")[0] and storey.get(b, -1) > storey.get(a, 99) for a, b in rooms)


def counts(tree: Path) -> dict[str, int]:
    """What docs/house.md compares."""
    files = modules(tree)
    tests = modules(tree, ("test",))
    every = files | tests | modules(tree, ("benchmarks",))
    folders = Counter(path.parent for path in {**files, **tests}.values() if path.name != "__init__.py")
    texts = [path.read_text(encoding="utf-8") for path in every.values()]
    return {
        "circles of files": circles(imports(files)),
        "circles of folders": circles({a: set(b) for a, b in between_rooms(files).items()}),
        "climbs": climbs(files),
        f"folders over {MOST} files": sum(n > MOST for n in folders.values()),
        f"functions over {LONG} lines": long_functions(files),
        "`fmt: skip`": sum(text.count("# fmt: skip") for text in texts),
        f"duplicates of {LINES} lines": duplicates(files),
    }


def dot(tree: Path) -> str:
    """Rooms and the imports between them, for graphviz; the wider an arrow, the more imports."""
    files = modules(tree)
    sizes = Counter(room(module) for module in files)
    lines = ["digraph house {", "rankdir=TB; node [shape=box, fontname=Helvetica, fontsize=11]; edge [color=gray40];"]
    for top in PACKAGES:
        inside = [name for name in sizes if name.startswith(f"{top}.")]
        nodes = "; ".join(f'"{name}" [label="{name.partition(".")[2]} ({sizes[name]})"]' for name in inside)
        lines.append(f'subgraph "cluster_{top}" {{ label="{top}"; fontname=Helvetica; {nodes} }}')
    for a, others in between_rooms(files).items():
        for b, n in others.items():
            if "." in a and "." in b:
                lines.append(f'"{a}" -> "{b}" [penwidth={min(0.5 + n / 8, 3):.1f}];')
    return "\n".join([*lines, "}"])


if __name__ == "__main__":
    what, where = sys.argv[1] if len(sys.argv) > 1 else "counts", Path(sys.argv[2]) if len(sys.argv) > 2 else HERE
    if what == "dot":
        print(dot(where))
    else:
        for name, count in counts(where).items():
            print(f"{name}: {count}")
