# SPDX-License-Identifier: Apache-2.0
"""Launch files start programs that are installed, with files, arguments and parameters that exist.

Where launch is missing (the PyPI wheels lack it) a recording stand-in takes its place, so that the same is asserted.
"""

import re

import pytest
import ros_support  # noqa: F401  skips where ROS is missing
import yaml
from launch_support import ROOT, SETTINGS, launch_calls  # noqa: F401  the fixture

from dropclip_ros.grasping.presets import A7
from dropclip_ros.grounding.scoring import SCORINGS
from dropclip_ros.ros.common import COLOR_TOPIC, DEPTH_TOPIC, INFO_TOPIC


@pytest.mark.parametrize("file", ["grounding.launch.py", "grasping.launch.py"])
def test_launch_files_start_what_is_installed(launch_calls, file):
    calls = launch_calls(ROOT / "launch" / file)
    installed = set(re.search(r"foreach\(node ([^)]*)\)", (ROOT / "CMakeLists.txt").read_text()).group(1).split())
    nodes = [kwargs for name, _, kwargs in calls if name == "Node" and kwargs["package"] == "dropclip_ros"]
    assert nodes
    for node in nodes:
        assert node["executable"] in installed and (ROOT / f"dropclip_ros/nodes/{node['executable']}.py").is_file()
        names = {s.name for s in SETTINGS[node["executable"]]}
        assert {key for p in node["parameters"] if isinstance(p, dict) for key in p} <= names
        assert {source for source, _ in node.get("remappings", ())} <= {COLOR_TOPIC, DEPTH_TOPIC, INFO_TOPIC}
    declared = {args[0] for name, args, _ in calls if name == "DeclareLaunchArgument"}
    if file.startswith("grounding"):
        assert {"camera", "world_frame", "model", "device"} <= declared
    else:
        assert any(name == "IncludeLaunchDescription" for name, _, _ in calls) and {"gripper", "proposals"} <= declared


@pytest.mark.parametrize("file", ["grounding.yaml", "grasping.yaml", "a7/grounding.yaml", "a7/grasping.yaml"])
def test_parameter_files_hold_parameters_in_range(file):
    for node, content in yaml.safe_load((ROOT / "config" / file).read_text()).items():
        settings = {s.name: s for s in SETTINGS[node.removeprefix("/**/")]}
        for name, value in content["ros__parameters"].items():
            setting = settings[name]
            assert type(value) is type(setting.default) and setting.complaint(value) is None
            assert setting.low is None or setting.low <= value <= setting.high


def test_the_preset_of_the_nodes_is_that_of_python():
    read = [yaml.safe_load((ROOT / "config" / "a7" / f"{name}.yaml").read_text()) for name in ("grounding", "grasping")]
    (grounding,), (matching,) = (list(content.values()) for content in read)
    said = grounding["ros__parameters"]
    assert {said[name] for name in ("scoring", "negatives_mode")} == {A7.scoring, A7.negatives_mode}
    assert said["threshold"] == A7.threshold
    assert said["table.mode"] == A7.workspace.table
    search = {name[6:]: value for name, value in said.items() if name.startswith("table.") and name != "table.mode"}
    assert search and all(getattr(A7.workspace.search, name) == value for name, value in search.items())
    for name, value in matching["ros__parameters"].items():
        own = A7.match.needs_surroundings if name == "use_camera" else getattr(A7.match, name)
        assert value == ([""] if own == () else own)
    settings = {s.name: s for s in SETTINGS["grounding_node"]}
    assert settings["scoring"].choices == SCORINGS


def test_every_parameter_has_a_description_and_a_default_in_range():
    for settings in SETTINGS.values():
        for s in settings:
            assert s.description and s.complaint(s.default) is None
            assert s.low is None or s.low <= s.default <= s.high, s.name


def test_rviz_shows_topics_that_nodes_publish():
    config = yaml.safe_load((ROOT / "config/dropclip.rviz").read_text())
    sources = "".join((ROOT / f"dropclip_ros/nodes/{name}.py").read_text() for name in SETTINGS)
    for display in config["Visualization Manager"]["Displays"]:
        node, _, topic = display.get("Topic", {}).get("Value", "").strip("/").partition("/")
        if node in SETTINGS:
            assert f'"~/{topic}"' in sources
