# SPDX-License-Identifier: Apache-2.0
"""The embedded workcell with grounding, proposals and the matcher: ros2 launch dropclip_ros trials.launch.py

The runner goes beside it: dropclip-trials run --running (with --proposals true: proposals:=rows here, which waits for
rows that nobody sends). The workcell is a module of `training`, not of the ROS package: start this from the clone, or
after `pip install -e .[train]`.
"""

from launch import LaunchDescription
from launch.actions import ExecuteProcess

from dropclip_ros.ros.launching.files import dds_environment, declare, include, later, told

GRIPPER = "parallel_140"  # the embedded workcell's: fingers that slide straight
WORKCELL = (
    ("catalogue", "procedural", "Of the objects: procedural, or a folder with catalogue.json"),
    ("seed", "0", "Of the first scene"),
    ("clutter", "mixed", "Of the first scene: scattered, packed or mixed"),
    ("split", "unseen_instance", "Objects of the first scene: train, unseen_instance or unseen_category"),
    ("depth_encoding", "16UC1", "16UC1 (mm) or 32FC1 (m)"),
)
PYTHON = (("python", "python3", "Interpreter that has mujoco, ompl and this repository"),)


def workcell(context) -> list:
    arguments = told(context, WORKCELL + PYTHON)
    parameters = [word for name, _, _ in WORKCELL for word in ("-p", f"{name}:={arguments[name]}")]
    command = [arguments["python"], "-m", "training.workcell.node", "--ros-args", *parameters]
    return [*dds_environment(context), ExecuteProcess(cmd=command, output="screen")]


def generate_launch_description():
    grasping = include("grasping.launch.py", camera="topics", gripper=GRIPPER, world_frame="world")
    return LaunchDescription([*declare(WORKCELL + PYTHON), later(workcell), grasping])
