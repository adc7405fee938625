# SPDX-License-Identifier: Apache-2.0
"""Launch files start programs that are installed, with files, arguments and parameters that exist, on every distro."""

import importlib.util
import os
import shutil
import subprocess
import sys
import types
from pathlib import Path
from xml.etree import ElementTree

import pytest
import ros_support  # noqa: F401  skips where ROS is missing
import yaml
from launch_support import NAMES, ROOT, SETTINGS, installed_nodes, launch_calls, parameters_of  # noqa: F401  the fixture

from dropclip_ros.grasping.presets import A7
from dropclip_ros.grounding.scoring import SCORINGS
from dropclip_ros.ros.common import COLOR_TOPIC, DEPTH_TOPIC, INFO_TOPIC, POINTS_TOPIC
from dropclip_ros.ros.launching.cameras import CameraTopics, camera_topics
from dropclip_ros.ros.launching.environment import DDS_PROFILES, dds_profile, own_profile

spec = importlib.util.spec_from_file_location("check_launch", ROOT / "scripts/check_launch.py")
check_launch = importlib.util.module_from_spec(spec)
spec.loader.exec_module(check_launch)
CAMERAS = ROOT / "config/cameras"
NOTHING_TOLD = {
    "camera": "realsense",
    "camera_prefix": "",
    "color_topic": "",
    "depth_topic": "",
    "info_topic": "",
    "points_topic": "",
    "depth_unit": "",
    "reliable": "",
    "transport": "raw",
}


@pytest.mark.parametrize("file, told", check_launch.CASES, ids=lambda value: str(value))
def test_launch_files_start_what_is_installed(launch_calls, file, told):
    if check_launch.NOT_ON.get(launch_calls.distro, lambda *_: False)(file, told):
        with pytest.raises(RuntimeError, match="Jazzy"):
            launch_calls(ROOT / "launch" / file, **told)
        return
    calls = launch_calls(ROOT / "launch" / file, **told)
    nodes = [kwargs for name, _, kwargs in calls if name == "Node"]
    ours = [node for node in nodes if node["package"] == "dropclip_ros"]
    assert ours
    for node in ours:
        assert node["executable"] in installed_nodes()
        assert (ROOT / f"dropclip_ros/nodes/{node['executable']}.py").is_file()
        known = parameters_of(node["executable"]) | {"use_sim_time"}
        assert {key for p in node["parameters"] if isinstance(p, dict) for key in p} <= known
        assert {source for source, _ in node["remappings"]} <= {COLOR_TOPIC, DEPTH_TOPIC, INFO_TOPIC, POINTS_TOPIC}
    for node in nodes:
        for path in (p for p in node.get("parameters", ()) if isinstance(p, str)):
            assert Path(path).is_file()
        if node["package"] != "dropclip_ros":
            assert node["executable"] in check_launch.OTHERS[node["package"]]
    declared = {args[0] for name, args, _ in calls if name == "DeclareLaunchArgument"}
    assert set(told) <= declared
    variables = {args[0] for name, args, _ in calls if name == "SetEnvironmentVariable"}
    assert "moveit" in file or variables == set(DDS_PROFILES)


def parameters(calls, executable: str) -> dict:
    """Of a node, by name: the later ones win; a typed value by what it was made of."""
    (node,) = (kwargs for name, _, kwargs in calls if name == "Node" and kwargs["executable"] == executable)
    told = {key: value for one in node["parameters"] if isinstance(one, dict) for key, value in one.items()}
    return {key: value.args[0] if hasattr(value, "args") else value for key, value in told.items()}


def test_world_is_at_the_base_where_the_drivers_have_it(launch_calls):
    places = {}
    for mode in ("drivers", "mock"):
        calls = launch_calls(ROOT / "launch/moveit.launch.py", mode=mode)
        (command,) = parameters(calls, "move_group")["robot_description"].args
        pick = parameters(calls, "moveit_pick_node")
        base = [float(x) for x in command.partition("base_xyz:='")[2].partition("'")[0].split()]
        places[mode] = base, pick["table_centre"]
    assert places["drivers"][0] == [0, 0, 0]
    ahead = [[t - b for t, b in zip(table, base, strict=True)] for base, table in places.values()]
    assert ahead[0] == ahead[1]  # the table is in the same place of the arm


def test_moveit_is_told_in_the_words_of_its_distro(launch_calls):
    calls = launch_calls(ROOT / "launch/moveit.launch.py", mode="mock")
    planner, pick = parameters(calls, "move_group")["ompl"], parameters(calls, "moveit_pick_node")
    if launch_calls.distro == "humble":
        assert isinstance(planner["planning_plugin"], str) and isinstance(planner["request_adapters"], str)
        assert pick["gripper_type"] == "gripper_command"
        assert "robot_description" in parameters(calls, "ros2_control_node")
    else:
        assert all(isinstance(planner[name], list) for name in ("planning_plugins", "request_adapters"))
        assert pick["gripper_type"] == "parallel_gripper_command"
    assert pick["group"] == "ur_manipulator"
    assert parameters(calls, "move_group")["camera"]["image_topic"].args[0].startswith("/camera/camera/aligned_depth")


@pytest.mark.parametrize(("namespace", "before"), [("", ""), ("left", "/left/"), ("/lab/left", "/lab/left/")])
def test_controllers_of_mock_hardware_find_their_parameters_in_a_namespace(launch_calls, namespace, before):
    calls = launch_calls(ROOT / "launch/moveit.launch.py", mode="mock", namespace=namespace)
    (manager,) = (k for name, _, k in calls if name == "Node" and k["executable"] == "ros2_control_node")
    told = yaml.safe_load(Path(manager["parameters"][0]).read_text())
    assert set(told) == {before + name for name in ("controller_manager", "arm_controller", "gripper_controller")}
    started = [k for name, _, k in calls if name == "Node"]
    assert {k["namespace"] for k in started} == {namespace}  # spawners, publishers, move_group and the pick node


@pytest.mark.parametrize(
    "file, told, said",
    [
        ("grounding.launch.py", {"camera": "/camera"}, "realsense"),
        ("grounding.launch.py", {"depth_unit": "cm"}, "0.1mm"),
        ("grounding.launch.py", {"use_sim_time": "yes"}, "true or false"),
        ("grasping.launch.py", {"proposals": "magic"}, "antipodal"),
        ("moveit.launch.py", {"mode": "real"}, "drivers"),
        ("moveit.launch.py", {"base_xyz": "1 2"}, "3 numbers"),
    ],
)
def test_an_argument_that_makes_no_sense_is_refused_in_a_sentence(launch_calls, file, told, said):
    with pytest.raises(RuntimeError, match=said):
        launch_calls(ROOT / "launch" / file, **told)


def test_the_stand_in_refuses_what_a_distro_lacks(launch_calls):
    lacking = "launch.substitutions", "EqualsSubstitution"
    assert (lacking[1] in NAMES[launch_calls.distro][lacking[0]]) == (launch_calls.distro != "humble")
    module = sys.modules["launch_ros.actions"]
    with pytest.raises(AssertionError, match="takes"):
        module.Node(package="a", executable="b", remaps=[])


@pytest.mark.parametrize("camera", sorted(path.stem for path in CAMERAS.glob("*.yaml")))
def test_presets_hold_topics_and_arguments_overrule_them(camera):
    found = camera_topics(CAMERAS, NOTHING_TOLD | {"camera": camera})
    assert isinstance(found, CameraTopics) and len({found.color, found.depth, found.info, found.points}) == 4
    assert camera == "topics" or all(name.startswith("/") for _, name in found.remappings())
    assert camera != "topics" or all(own == name for own, name in found.remappings())
    told = {"camera": camera, "color_topic": "/c", "reliable": "true", "camera_prefix": "/left", "transport": "raw"}
    other = camera_topics(CAMERAS, NOTHING_TOLD | told)
    assert other.color == "/c" and other.reliable and other.depth.startswith("/left/")


def test_fast_dds_of_every_distro_reads_the_same_profile():
    assert set(dds_profile({}, ROOT / "config").values()) == {str(ROOT / "config" / own_profile())}
    assert set(dds_profile({DDS_PROFILES[1]: "/lab.xml"}, ROOT / "config").values()) == {"/lab.xml"}


def test_a_containers_shared_memory_gets_the_small_profile(monkeypatch, tmp_path):
    def usage(total):
        return lambda path: types.SimpleNamespace(total=total)

    for total, name in ((64 * 2**20, "fastdds_small.xml"), (8 * 2**30, "fastdds.xml")):
        monkeypatch.setattr(shutil, "disk_usage", usage(total))
        profile = ElementTree.parse(ROOT / "config" / own_profile(tmp_path)).getroot()
        assert own_profile(tmp_path) == name
        (segment,), (piece,) = (
            [int(e.text) for e in profile.iter() if e.tag.endswith(tag)] for tag in ("segment_size", "maxMessageSize")
        )
        assert piece <= segment and 7 * segment <= total  # Fast DDS refuses the former, /dev/shm the latter


@pytest.mark.parametrize("distro", list(NAMES))
def test_launch_files_run_under_the_distros_own_launch(distro):
    """With checkouts in $DROPCLIP_LAUNCH/humble/launch, .../launch_ros and so on."""
    folder = Path(os.environ.get("DROPCLIP_LAUNCH", "/nowhere")) / distro
    if not folder.is_dir():
        pytest.skip(f"no checkouts of launch and launch_ros in {folder} (set DROPCLIP_LAUNCH)")
    script = [sys.executable, str(ROOT / "scripts/check_launch.py"), distro]
    ran = subprocess.run([*script, folder / "launch", folder / "launch_ros"], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr
    named = subprocess.run(
        [*script, folder / "launch", folder / "launch_ros", "--names"], capture_output=True, text=True
    )
    assert yaml.safe_load(named.stdout)[distro] == NAMES[distro]


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
