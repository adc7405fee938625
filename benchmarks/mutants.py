# SPDX-License-Identifier: Apache-2.0
"""Puts one fault at a time into the core and asks whether the module's own tests notice: mutation testing.

    python -m benchmarks.mutants [--count 200] [--seed 0] [--out mutants.jsonl] [--seconds 150]

A mutant is one operator changed (< to >=, + to -, and to or, min to max, a sign, a 0 or 1; < to <= where lengths are
compared, since among measured numbers the two are the same but for ties). COUNT of all there are in
ROOMS and EXTRA are drawn with the seed. The tests of a module are those that import it, then those of its room,
quickest first; a mutant is noticed where one fails or hangs. Nothing is written into the tree: the changed module is
put in place as it is imported. One line of JSON a mutant goes to OUT, and the next run goes on there, so long as the
module's text is the same; `--seconds` ends a part. `--again` asks the survivors once more, after new tests.

Of mutmut 3 and cosmic-ray 8: the first needs a run of the whole suite under coverage and a copy of the tree before its
first mutant, the second changes files in place and runs one command for all; neither draws a seeded sample.
"""

from __future__ import annotations

import ast
import copy
import hashlib
import importlib.machinery
import json
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import tyro

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("base", "vision", "tabletop", "sparse", "networks", "language", "grounding", "mapping", "grasping")
EXTRA = ("training.distill.losses", "training.hggd.losses", "training.ovs3d.losses")
LEFT_OUT = ("triton", "spconv", "minkowski", "light_open3d")  # what this machine cannot run, or only imports
TESTS = (*ROOMS, "objects", "distill", "hggd", "ovs3d", "fusion", "evaluate", "client")  # folders without nodes
OPPOSITE = {
    ast.Lt: ast.GtE, ast.LtE: ast.Gt, ast.Gt: ast.LtE, ast.GtE: ast.Lt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
EDGE = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt}
BINARY = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult,
    ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.LShift: ast.RShift, ast.RShift: ast.LShift,
}  # fmt: skip
CALLS = {"min": "max", "max": "min", "minimum": "maximum", "maximum": "minimum", "any": "all", "all": "any",
         "argmin": "argmax", "argmax": "argmin", "floor": "ceil", "ceil": "floor"}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """`number`: of the changes that its module can have."""

    module: str
    number: int
    line: int
    before: str
    after: str
    text: str  # SHA-256 of the module as it was


@dataclass
class Outcome:
    """`by`: the test that noticed, or how else it was."""

    noticed: bool
    by: str
    seconds: float


def changes(tree: ast.Module) -> Iterator[tuple[ast.AST, str, object]]:
    """(node, name of a field, its other value) of every change. Annotations, messages and texts are left alone."""
    for node in _nodes(tree):
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            yield node, "ops", [OPPOSITE[type(node.ops[0])]()]
            if type(node.ops[0]) in EDGE and any(map(_is_count, (node.left, *node.comparators))):
                yield node, "ops", [EDGE[type(node.ops[0])]()]
        elif isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in BINARY:
            if not any(isinstance(side, ast.JoinedStr) or _is_text(side) for side in ast.iter_child_nodes(node)):
                yield node, "op", BINARY[type(node.op)]()
        elif isinstance(node, ast.BoolOp):
            yield node, "op", ast.Or() if isinstance(node.op, ast.And) else ast.And()
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Invert | ast.Not):
            yield node, "op", ast.UAdd() if isinstance(node.op, ast.USub) else ast.Not()
        elif isinstance(node, ast.Call):
            if isinstance(node.func, ast.Attribute) and node.func.attr in CALLS:
                yield node.func, "attr", CALLS[node.func.attr]
            elif isinstance(node.func, ast.Name) and node.func.id in CALLS:
                yield node.func, "id", CALLS[node.func.id]
        elif isinstance(node, ast.Constant) and type(node.value) is int and node.value in (0, 1):
            yield node, "value", 1 - node.value


def _is_count(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "len"


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _nodes(node: ast.AST) -> Iterator[ast.AST]:
    """What runs, in order of the text: no annotations, no raise (its message), no decorators, no TYPE_CHECKING."""
    if isinstance(node, ast.Raise | ast.JoinedStr | ast.Assert):
        return
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
        return
    yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "type_params"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _nodes(child)


def mutated(module: str, number: int) -> tuple[ast.Module, str, str, int]:
    """The tree with change `number`, that place before and after, and its line."""
    tree = ast.parse(file_of(module).read_text(encoding="utf-8"))
    node, name, value = next(one for i, one in enumerate(changes(tree)) if i == number)
    before = ast.unparse(node)
    if isinstance(getattr(node, "op", None), ast.Not | ast.Invert) and name == "op":
        other = copy.deepcopy(node.operand)  # without it
        for field in ("op", "operand"):
            delattr(node, field)
        node.__class__, node.__dict__ = type(other), other.__dict__ | {"lineno": other.lineno}
    else:
        setattr(node, name, value)
    return ast.fix_missing_locations(tree), before, ast.unparse(node), node.lineno


def file_of(module: str) -> Path:
    return (ROOT / module.replace(".", "/")).with_suffix(".py")


def drawn(count: int, seed: int, only: str) -> list[Mutant]:
    """`count` of all mutants of modules whose name contains `only`, in order of module."""
    files = [path for room in ROOMS for path in (ROOT / "dropclip_ros" / room).rglob("*.py")]
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files if path.stem != "__init__"]
    found = []
    for module in sorted([*names, *EXTRA]):
        if only in module and not any(word in module for word in LEFT_OUT):
            text = file_of(module).read_text(encoding="utf-8")
            found += [(module, i) for i, _ in enumerate(changes(ast.parse(text)))]
    chosen = random.Random(seed).sample(found, min(count, len(found)))
    print(f"{len(chosen)} of {len(found)} mutants", flush=True)
    return [_mutant(module, number) for module, number in sorted(chosen)]


def _mutant(module: str, number: int) -> Mutant:
    _, before, after, line = mutated(module, number)
    return Mutant(module, number, line, before, after, hashlib.sha256(file_of(module).read_bytes()).hexdigest()[:16])


@cache
def imported(path: Path) -> frozenset[str]:
    """Modules of ours, and names in them, that a test file imports, itself or by its support."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return frozenset(found)


def tests_of(module: str, seconds: dict[str, float]) -> list[str]:
    """Test files of a module: those that import it, then the others of its room, quickest first."""
    files = [path for folder in TESTS for path in (ROOT / "test" / folder).glob("test_*.py")]
    room = module.split(".")[1]
    near = [path for path in files if module in imported(path)]
    far = [path for path in files if path.parent.name == room and path not in near]
    names = [[str(path.relative_to(ROOT)) for path in group] for group in (near, far)]
    return [name for group in names for name in sorted(group, key=lambda name: seconds.get(name, 1e9))]


class _Place(importlib.machinery.SourceFileLoader):
    """Imports the changed tree in the place of the file."""

    def __init__(self, module: str, tree: ast.Module) -> None:
        super().__init__(module, str(file_of(module)))
        self._tree = tree

    def get_code(self, fullname: str):
        return compile(self._tree, self.path, "exec")

    def find_spec(self, fullname, path=None, target=None):
        if fullname == self.name:
            return importlib.machinery.ModuleSpec(fullname, self, origin=self.path)
        return None


class _First:
    """pytest's plugin: the first test that failed, and how many ran."""

    def __init__(self) -> None:
        self.failed, self.ran = "", 0

    def pytest_runtest_logreport(self, report) -> None:
        self.ran += report.when == "call"
        if report.failed and not self.failed:
            self.failed = report.nodeid

    def pytest_collectreport(self, report) -> None:
        if report.failed and not self.failed:
            self.failed = report.nodeid


def run(files: list[str], limit: float, change: tuple[str, ast.Module] | None = None) -> Outcome:
    """Runs test files, to the first failure, in a child of this process; `change`: a module, and its tree."""
    start, (reading, writing) = time.monotonic(), os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()
        os.close(reading)
        _child(files, writing, change)
    os.close(writing)
    done = 0
    while not done and time.monotonic() - start < limit:
        time.sleep(0.05)
        done, _ = os.waitpid(child, os.WNOHANG)
    seconds = round(time.monotonic() - start, 1)
    if not done:
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(reading)
        return Outcome(True, f"over {limit:.0f} s", seconds)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    if not said:
        return Outcome(True, "the process died", seconds)
    return Outcome(said.split(" ", 1)[0] == "failed", said.split(" ", 1)[1], seconds)


def _child(files: list[str], writing: int, change: tuple[str, ast.Module] | None) -> None:
    import pytest

    if change:
        sys.meta_path.insert(0, _Place(*change))
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nowhere, number)
    first = _First()
    chosen = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-W", "ignore"]
    code = pytest.main([*chosen, *files], plugins=[first])
    failed = code not in (0, 5)
    said = f"failed {first.failed or f'pytest {code}'}" if failed else f"passed {first.ran} tests"
    os.write(writing, said.encode()[:4000])
    os._exit(0)


def measured(files: list[str], kept: Path) -> dict[str, float]:
    """Seconds of each test file as it is; those that fail here, or take over 150 s, are left out. Kept in a file."""
    known: dict[str, float | None] = json.loads(kept.read_text()) if kept.exists() else {}
    for name in files:
        if name not in known:
            outcome = run([name], 150)
            known[name] = None if outcome.noticed else outcome.seconds
            print(f"{name}: {outcome.seconds} s{' LEFT OUT: ' + outcome.by if outcome.noticed else ''}", flush=True)
            kept.write_text(json.dumps(known, indent=0))
    return {name: value for name, value in known.items() if value is not None}


def main(
    count: int = 200,
    seed: int = 0,
    out: Path = Path("mutants.jsonl"),
    seconds: float = 1e9,
    again: bool = False,
    only: str = "",
) -> int:
    """Exit code 2 where `seconds` ended the run before all were asked."""
    for name in ("pytest", "hypothesis", "torch", "scipy.spatial", "scipy.ndimage", "open3d", "PIL.Image", "yaml"):
        __import__(name)  # once, before the children are forked
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.chdir(ROOT)
    end, mutants = time.monotonic() + seconds, drawn(count, seed, only)
    lines = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
    known = {(line["module"], line["number"], line["text"]): line for line in lines}
    for mutant in mutants:
        before = known.get((mutant.module, mutant.number, mutant.text))
        if before and (before["noticed"] or not again):
            continue
        if time.monotonic() > end:
            print("more is left: run the same command again")
            return 2
        times = measured(tests_of(mutant.module, {}), out.with_suffix(".times.json"))
        files = [name for name in tests_of(mutant.module, times) if name in times]
        limit = 30 + 3 * sum(times[name] for name in files)
        outcome = run(files, limit, (mutant.module, mutated(mutant.module, mutant.number)[0]))
        line = asdict(mutant) | asdict(outcome)
        known[mutant.module, mutant.number, mutant.text] = line
        with out.open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(f"{mutant.module}:{mutant.line} {mutant.before!r} -> {mutant.after!r}: {outcome}", flush=True)
    report([known[m.module, m.number, m.text] for m in mutants])
    return 0


def report(lines: list[dict]) -> None:
    noticed = sum(line["noticed"] for line in lines)
    print(f"\n{noticed} of {len(lines)} noticed ({noticed / max(1, len(lines)):.1%}); survivors:")
    for line in lines:
        if not line["noticed"]:
            print(f"{line['module']}:{line['line']}  {line['before']}  ->  {line['after']}  ({line['by']})")


if __name__ == "__main__":
    sys.exit(tyro.cli(main))
