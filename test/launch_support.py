# SPDX-License-Identifier: Apache-2.0
"""Launch files as lists of calls, by a stand-in for launch that knows the names each distro has, and no others.

It goes as far as arguments and functions that wait for them; scripts/check_launch.py has the real thing run them.
"""

import importlib.util
import re
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest
import ros_support  # noqa: F401  skips where ROS is missing
import yaml

from dropclip_ros.nodes import grasp_matcher_node, grasp_rows_node, grounding_node, hggd_node, proposal_node

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = {
    "grounding_node": grounding_node.SETTINGS,
    "proposal_node": proposal_node.SETTINGS,
    "grasp_matcher_node": grasp_matcher_node.SETTINGS,
    "hggd_node": hggd_node.SETTINGS,
    "grasp_rows_node": grasp_rows_node.SETTINGS,
}
NAMES = yaml.safe_load((ROOT / "test/launch_names.yaml").read_text())
Call = tuple[str, tuple, dict]


class Context:
    """What launch files ask of a LaunchContext."""

    def __init__(self, arguments: dict[str, str]):
        self.launch_configurations = dict(arguments)


class Recorded:
    """Stands in for any class of launch: keeps what it was made with, which must be parameters that the class has."""

    takes: tuple[str, ...] = ()

    def __init__(self, *args, **kwargs):
        unknown = set(kwargs) - set(self.takes)
        assert not unknown, f"{type(self).__name__} takes {', '.join(self.takes)}, not {', '.join(unknown)}"
        assert len(args) <= len(self.takes) or "*args" in self.takes
        self.args, self.kwargs = args, kwargs

    def perform(self, context: Context) -> str:
        if type(self).__name__ == "LaunchConfiguration":
            return context.launch_configurations[self.args[0]]
        assert type(self).__name__ == "FindPackageShare"
        return str(ROOT) if self.args[0] == "dropclip_ros" else f"/share/{self.args[0]}"


def stand_in(module: str, names: dict[str, str]) -> types.ModuleType:
    made = types.ModuleType(module)
    made.__path__ = []
    for name, takes in names.items():
        setattr(made, name, type(name, (Recorded,), {"takes": tuple(takes.split())}))
    return made


def load(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem.replace(".", "_"), path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def visit(entity: Recorded, context: Context) -> list[Call]:
    """What launch would do with it, and with what comes of it, in order."""
    kind, told = type(entity).__name__, context.launch_configurations
    calls: list[Call] = [(kind, entity.args, entity.kwargs)]
    if kind == "DeclareLaunchArgument":
        told.setdefault(entity.args[0], entity.kwargs["default_value"])
    elif kind == "SetLaunchConfiguration":
        told[entity.args[0]] = entity.args[1]
    inner: list = []
    if kind == "LaunchDescription":
        inner = entity.args[0]
    elif kind == "OpaqueFunction":
        inner = entity.kwargs["function"](context)
    elif kind == "IncludeLaunchDescription":
        told.update(entity.kwargs["launch_arguments"])
        share, *below = entity.args[0].args[0].args[0]
        if share.args[0] == "dropclip_ros":
            inner = [load(ROOT.joinpath(*below)).generate_launch_description()]
    return calls + [call for one in inner for call in visit(one, context)]


@pytest.fixture(params=list(NAMES))
def launch_calls(request, monkeypatch) -> Callable[..., list[Call]]:
    """Runs a launch file, told arguments, as on each distro; gives (class name, args, kwargs) of all that it makes."""
    monkeypatch.setenv("ROS_DISTRO", request.param)
    for module, names in ({"launch_ros": {}} | NAMES[request.param]).items():
        monkeypatch.setitem(sys.modules, module, stand_in(module, names))
    monkeypatch.delitem(sys.modules, "dropclip_ros.ros.launching.files", raising=False)

    def run(path: Path, **arguments: str) -> list[Call]:
        try:
            return visit(load(path).generate_launch_description(), Context(arguments))
        finally:
            sys.modules.pop("dropclip_ros.ros.launching.files", None)

    run.distro = request.param
    return run


def parameters_of(node: str) -> set[str]:
    """Names of a node's parameters; from the sources where what it imports is not installed here."""
    if node == "together":
        return {setting.name for settings in SETTINGS.values() for setting in settings}
    if node in SETTINGS:
        return {setting.name for setting in SETTINGS[node]}
    source = (ROOT / f"dropclip_ros/nodes/{node}.py").read_text()
    shared = re.findall(r"^    \*(\w+)\.SETTINGS,", source, re.M)
    sources = [
        source,
        *(path.read_text() for name in shared for path in (ROOT / "dropclip_ros/ros").rglob(f"{name}.py")),
    ]
    return {name for one in sources for name in re.findall(r'Setting\(\s*"(\w+)"', one)}


def installed_nodes() -> set[str]:
    """Programs that CMake installs."""
    return set(re.search(r"foreach\(node ([^)]*)\)", (ROOT / "CMakeLists.txt").read_text()).group(1).split())
