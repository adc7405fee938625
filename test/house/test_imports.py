# SPDX-License-Identifier: Apache-2.0
"""The house: rooms are stacked, nothing below knows what is above it, and no files or folders go round in circles.

Every import counts, those inside functions and those under TYPE_CHECKING too. A folder and what lies below it are one
room when they are compared with each other.
"""

import ast
from collections import defaultdict
from functools import cache
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path

import dropclip_ros

ROOT = Path(__file__).resolve().parents[2]
ROOMS = {  # from the ground up
    "dropclip_ros": "base vision tabletop sparse networks language grounding mapping grasping draw "
    "ros client behaviours tools nodes view commands cli",
    "training": "runs objects scenes annotation fusion ovs3d evaluate names distill hggd workcell trials mvtod make "
    "clip_plan clip",
}
MOST = 20  # files in a folder
ROS = ("dropclip_ros.ros", "dropclip_ros.nodes", "dropclip_ros.client", "dropclip_ros.behaviours", "dropclip_ros.tools")
GENERATED = ("msg", "srv", "action")  # by the build


def modules() -> dict[str, Path]:
    """Files by module name, of both packages and the benchmarks."""
    found = {}
    for package in (*ROOMS, "benchmarks"):
        for path in (ROOT / package).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            if parts[1] not in GENERATED:
                found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def imports() -> dict[str, set[str]]:
    """Modules that each module imports, wherever in it. The package's own names by name are a user's way in."""
    files, found = modules(), defaultdict(set)
    for module, path in files.items():
        if module == "dropclip_ros":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{module}: imports are absolute here"
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            for name in names:
                while name and name not in files:
                    name = name.rpartition(".")[0]
                if name and name != module:
                    found[module].add(name)
    return dict(found)


def room(module: str) -> tuple[str, int] | None:
    """Package and storey of a module; None for the packages themselves and what stands on all of them."""
    package, _, rest = module.partition(".")
    return (package, ROOMS[package].split().index(rest.partition(".")[0])) if package in ROOMS and rest else None


def test_no_import_climbs():
    climbs = [
        f"{module} -> {other}"
        for module, others in imports().items()
        for other in others
        if (low := room(module)) and (high := room(other)) and low[0] == high[0] and high[1] > low[1]
    ]
    assert not climbs


def test_the_core_knows_neither_training_nor_benchmarks():
    wrong = [
        f"{module} -> {other}"
        for module, others in imports().items()
        for other in others
        if (module.startswith("dropclip_ros") and not other.startswith("dropclip_ros"))
        or (module.startswith("training") and other.startswith("benchmarks"))
    ]
    assert not wrong


def test_only_nodes_know_ros():
    ros = ("rclpy", "tf2_ros", "sensor_msgs", "geometry_msgs", "std_msgs", "builtin_interfaces", "rosgraph_msgs")
    generated = tuple(f"dropclip_ros.{kind}" for kind in GENERATED)
    for module, path in modules().items():
        if not module.startswith("dropclip_ros") or module.startswith(ROS):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in names if name.partition(".")[0] in ros or name in generated], module


def circle(graph: dict[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def test_no_files_go_round_in_a_circle():
    assert not circle(imports())


def test_no_folders_go_round_in_a_circle():
    files, graph = modules(), defaultdict(set)
    for module, others in imports().items():
        here = files[module].parent
        for other in others:
            there = files[other].parent
            if not (here.is_relative_to(there) or there.is_relative_to(here)):
                apart = next(i for i, (a, b) in enumerate(zip(here.parts, there.parts, strict=False)) if a != b) + 1
                graph["/".join(here.parts[:apart])].add("/".join(there.parts[:apart]))
    assert not circle(graph)


def test_a_folder_can_be_taken_in_at_a_glance():
    for package in (*ROOMS, "test", "benchmarks"):
        for folder in (ROOT / package, *(ROOT / package).rglob("*/")):
            if folder.name in ("__pycache__", *GENERATED):
                continue
            files = [path for path in folder.iterdir() if path.suffix in (".py", ".yaml")]
            assert len(files) <= MOST, f"{folder}: {len(files)} files"


def test_storeys_are_named_once():
    for package, rooms in ROOMS.items():
        names = rooms.split()
        assert len(set(names)) == len(names)
        there = {path.stem for path in (ROOT / package).iterdir() if path.suffix == ".py" or path.is_dir()}
        assert there - set(names) <= {"__init__", "__pycache__", "model", *GENERATED}, package


def test_what_a_user_needs_comes_from_the_package_itself():
    for name in dropclip_ros.__all__:
        assert getattr(dropclip_ros, name).__name__ == name
    assert all(a < b for a, b in pairwise(sorted(dropclip_ros.__all__)))
    for name in ("Grounder", "load_frame", "load_bag_frame", "Intrinsics", "find_table", "match_grasps", "Status"):
        assert name in dropclip_ros.__all__
