# SPDX-License-Identifier: Apache-2.0
"""The embedded workcell with grounding, proposals and the matcher: ros2 launch dropclip_ros trials.launch.py

The runner goes beside it: dropclip-trials run --running (with --proposals true: proposals:=rows here, which waits for
rows that nobody sends). The workcell is a module of `training`, not of the ROS package: start this from the clone, or
after `pip install -e .[train]`.
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.substitutions import FindPackageShare

GRIPPER = "parallel_140"  # the embedded workcell's: fingers that slide straight
WORKCELL = ("catalogue", "seed", "clutter", "split", "depth_encoding")
ARGUMENTS = (
    ("catalogue", "procedural", "Of the objects: procedural, or a folder with catalogue.json"),
    ("seed", "0", "Of the first scene"),
    ("clutter", "mixed", "Of the first scene: scattered, packed or mixed"),
    ("split", "unseen_instance", "Objects of the first scene: train, unseen_instance or unseen_category"),
    ("depth_encoding", "16UC1", "16UC1 (mm) or 32FC1 (m)"),
    ("python", "python3", "Interpreter that has mujoco, ompl and this repository"),
)


def generate_launch_description():
    share = FindPackageShare("dropclip_ros")
    told = [word for name in WORKCELL for word in ("-p", [f"{name}:=", LaunchConfiguration(name)])]
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value=default, description=text)
                for name, default, text in ARGUMENTS
            ),
            ExecuteProcess(
                cmd=[LaunchConfiguration("python"), "-m", "training.workcell.node", "--ros-args", *told],
                output="screen",
            ),
            # declares proposals, hggd_weights, model, device and rviz as well
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(PathJoinSubstitution([share, "launch", "grasping.launch.py"])),
                launch_arguments=[("gripper", GRIPPER), ("world_frame", "world")],
            ),
        ]
    )
