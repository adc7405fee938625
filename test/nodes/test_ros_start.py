# SPDX-License-Identifier: Apache-2.0
"""Nodes as processes: a start that cannot be is one line and code 2, an empty list is a list, names do not collide."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from launch_support import SETTINGS, installed_nodes
from rclpy.exceptions import ParameterException
from rclpy.parameter import Parameter
from ros_support import ros, wait_until  # noqa: F401  the fixture

from dropclip_ros.base.errors import DropclipError
from dropclip_ros.base.missing import how_to_install
from dropclip_ros.nodes.grounding_node import own_table_frame
from dropclip_ros.ros.common import Setting, Settings, warn_of_namesake

ROOT = Path(__file__).resolve().parents[2]
REFUSED = {
    "bag_player": "rate:=-1.0",
    "grasp_matcher_node": "top_k:=0",
    "grasp_rows_node": "gripper:=nope",
    "grounding_node": "negatives_mode:=magic",
    "hggd_node": "far:=nan",
    "image_folder_node": "depth_unit:=cm",
    "proposal_node": "table.iterations:=many",
    "training.workcell.node": "seed:=bad",
}


def run(node: str, *words: str, python: tuple[str, ...] = ("-m",)) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *python, node, "--ros-args", *words],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


@pytest.mark.parametrize("node", sorted(REFUSED))
def test_a_refused_parameter_is_one_line_and_code_2(node):
    if node.startswith("training"):
        pytest.importorskip("mujoco", reason="mujoco is not installed (make setup)")
    ended = run(node if "." in node else f"dropclip_ros.nodes.{node}", "-p", REFUSED[node])
    assert ended.returncode == 2 and len(ended.stderr.strip().splitlines()) == 1, ended.stderr
    assert "cannot start" in ended.stderr


def test_every_node_is_tried():
    assert installed_nodes() - {"pick", "moveit_pick_node", "together"} == {
        node for node in REFUSED if "." not in node
    }  # a program; and MoveIt is not here


@pytest.mark.parametrize("node", sorted(SETTINGS))
def test_every_parameter_refuses_what_it_is_not(ros, node):
    """A value of another type, one that is no number, one outside its range or choices: each names the parameter."""
    for setting in SETTINGS[node]:
        wrong = [not isinstance(setting.default, bool) if not isinstance(setting.default, bool) else "yes"]
        wrong += [float("nan")] if isinstance(setting.default, float) else []
        wrong += [type(setting.default)(2 * setting.high + 1)] if setting.high is not None else []
        wrong += ["nothing of the kind"] if setting.choices else []
        for value in wrong:
            ros.node._parameter_overrides[setting.name] = Parameter(setting.name, value=value)
            with pytest.raises((ParameterException, DropclipError), match=setting.name):
                Settings(ros.node, [setting])
            del ros.node._parameter_overrides[setting.name]
            ros.node._on_set_parameters_callbacks.clear()
            assert not ros.node.has_parameter(setting.name)


def test_a_missing_package_is_one_line(tmp_path):
    """As on a machine without MoveIt: the installed program, which has the node's name."""
    program = tmp_path / "moveit_pick_node"
    shutil.copy(ROOT / "scripts/node", program)
    ended = run(str(program), python=())
    assert ended.returncode == 2 and len(ended.stderr.strip().splitlines()) == 1
    assert "moveit_msgs" in ended.stderr and "apt install" in ended.stderr


def test_what_is_missing_is_said_with_what_to_do():
    assert "open_clip_torch" in how_to_install(ModuleNotFoundError("", name="open_clip"), "python3")
    assert "setup.bash" in how_to_install(ModuleNotFoundError("", name="rclpy"), "python3")
    assert "python3 -m pip install torch" in how_to_install(ModuleNotFoundError("", name="torch.nn"), "python3")


def test_an_empty_list_is_a_list(ros):
    node = ros.node
    node._parameter_overrides["empty"] = Parameter("empty")  # what "-p empty:=[]" comes to: a value without a type
    settings = Settings(node, [Setting("empty", ["a"], "a list")], check=lambda values: list(values["empty"]))
    assert settings["empty"] == []
    assert node.set_parameters([Parameter("empty", value=["b"])])[0].successful and settings["empty"] == ["b"]


@pytest.mark.parametrize("named", ["tabletop.db3", "alone.db3"])
def test_a_file_of_a_compressed_bag_is_played_whole_or_refused(tmp_path, named):
    folder = ROOT / "demo/tabletop"
    if named == "alone.db3":
        shutil.copy(folder / "tabletop.db3", tmp_path / named)
        ended = run("dropclip_ros.nodes.bag_player", "-p", f"bag:={tmp_path / named}")
        assert ended.returncode == 2 and len(ended.stderr.strip().splitlines()) == 1 and "metadata.yaml" in ended.stderr
        return
    from dropclip_ros.nodes.bag_player import whole_bag

    assert whole_bag(folder / named) == folder and whole_bag(folder) == folder


def test_tables_of_two_cameras_have_frames_of_their_own():
    assert own_table_frame("/", "grounding_node") == "dropclip_table"
    names = {own_table_frame(space, name) for space in ("/", "/left", "/right/a") for name in ("grounding_node", "b")}
    assert len(names) == 6 and all(name.endswith("dropclip_table") and "/" not in name for name in names)


def test_two_nodes_of_one_name_are_told(ros, caplog):
    from rclpy.node import Node

    said: list[str] = []
    twins = [Node("twin"), Node("twin")]
    for node in twins:
        ros.serve(node)
    logger = twins[0].get_logger()
    logger.warning = lambda text: said.append(text)
    twins[0].get_logger = lambda: logger
    warn_of_namesake(twins[0], 0.5)
    wait_until(lambda: said, 15.0)
    assert "/twin too" in said[0]
    for node in twins:
        ros.stop(node)


@pytest.mark.parametrize("way", ["module", "program"])
@pytest.mark.parametrize("node", sorted(installed_nodes()))
def test_ctrl_c_while_a_node_still_imports_is_silent(tmp_path, node, way):
    slow = "import time; print('importing', flush=True); time.sleep(60)"
    for name in ("numpy", "rclpy"):  # whichever comes first
        (tmp_path / f"{name}.py").write_text(slow)
    program = tmp_path / node
    shutil.copy(ROOT / "scripts/node", program)
    words = ["-m", f"dropclip_ros.nodes.{node}"] if way == "module" else [str(program)]
    started = subprocess.Popen(
        [sys.executable, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT)))},
    )
    assert started.stdout.readline() == "importing\n"
    started.send_signal(signal.SIGINT)
    assert started.communicate(timeout=30)[0] == "" and started.returncode == 0


EARLY = """
import rclpy, signal
from rclpy.node import Node
from dropclip_ros.ros.common import run

def make():
    rclpy.signals.uninstall_signal_handlers()  # as before rclpy.init had them
    signal.raise_signal(signal.SIGINT)
    return Node("early")

run(make)
"""


def test_a_signal_just_before_ros_takes_over_is_not_lost():
    ended = subprocess.run(
        [sys.executable, "-c", EARLY], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, timeout=60
    )
    assert ended.returncode == 0
