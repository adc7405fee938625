# SPDX-License-Identifier: Apache-2.0
"""Launch files as lists of calls.

Where launch is missing (the PyPI wheels lack it) a recording stand-in takes its place, so that the same is asserted.
"""

import importlib.util
import sys
import types
from pathlib import Path

import pytest
import ros_support  # noqa: F401  skips where ROS is missing

from dropclip_ros.nodes import grasp_matcher_node, grasp_rows_node, grounding_node, hggd_node, proposal_node

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = {
    "grounding_node": grounding_node.SETTINGS,
    "proposal_node": proposal_node.SETTINGS,
    "grasp_matcher_node": grasp_matcher_node.SETTINGS,
    "hggd_node": hggd_node.SETTINGS,
    "grasp_rows_node": grasp_rows_node.SETTINGS,
}
MODULES = (
    "launch",
    "launch.actions",
    "launch.conditions",
    "launch.launch_description_sources",
    "launch.substitutions",
    "launch_ros",
    "launch_ros.actions",
    "launch_ros.parameter_descriptions",
    "launch_ros.substitutions",
)


class Recorded:
    """Stands in for any class of launch: keeps what it was made with."""

    def __init__(self, *args, **kwargs):
        self.args, self.kwargs = args, kwargs


def stand_in(name: str) -> types.ModuleType:
    module = types.ModuleType(name)
    module.__path__ = []

    def make(attribute: str) -> type:
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        return module.__dict__.setdefault(attribute, type(attribute, (Recorded,), {}))

    module.__getattr__ = make
    return module


@pytest.fixture(params=["real", "stand-in"])
def launch_calls(request, monkeypatch):
    """Loads a launch file; gives (class name, args, kwargs) of every action in it."""
    real = importlib.util.find_spec("launch_ros") is not None
    if request.param == "real" and not real:
        pytest.skip("launch_ros is not installed")
    if request.param == "stand-in":
        for name in MODULES:
            monkeypatch.setitem(sys.modules, name, stand_in(name))

    def load(path: Path) -> list[tuple[str, tuple, dict]]:
        spec = importlib.util.spec_from_file_location(path.stem.replace(".", "_"), path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        calls = []
        for name in ("Node", "DeclareLaunchArgument", "IncludeLaunchDescription"):
            if hasattr(module, name):
                setattr(module, name, recording(getattr(module, name), name, calls))
        module.generate_launch_description()
        return calls

    return load


def recording(kind, name, calls):
    def make(*args, **kwargs):
        calls.append((name, args, kwargs))
        return kind(*args, **kwargs)

    return make
