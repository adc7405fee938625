# SPDX-License-Identifier: Apache-2.0
"""The embedded workcell with grounding, proposals and the matcher: ros2 launch dropclip_ros trials.launch.py

The runner goes beside it: dropclip-trials run --running. The workcell is a module of `training`, not of the ROS
package: start this from the clone, or after `pip install -e .[train]`.
"""
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess, IncludeLaunchDescription
from launch.conditions import IfCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import EqualsSubstitution, LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

GRIPPER = "parallel_140"    # the embedded workcell's: fingers that slide straight
WORKCELL = ("catalogue", "seed", "clutter", "split", "depth_encoding")
ARGUMENTS = (
    ("proposals", "antipodal", "antipodal, hggd, or true: then the runner publishes them"),
    ("catalogue", "procedural", "Of the objects: procedural, or a folder with catalogue.json"),
    ("seed", "0", "Of the first scene"),
    ("clutter", "mixed", "Of the first scene: scattered, packed or mixed"),
    ("split", "unseen_instance", "Objects of the first scene: train, unseen_instance or unseen_category"),
    ("depth_encoding", "16UC1", "16UC1 (mm) or 32FC1 (m)"),
    ("python", "python3", "Interpreter that has mujoco, ompl and this repository"),
)


def generate_launch_description():
    share = FindPackageShare("dropclip_ros")
    parameters = PathJoinSubstitution([share, "config", "grasping.yaml"])
    gripper = {"gripper": ParameterValue(GRIPPER, value_type=str)}
    world = {"world_frame": ParameterValue(LaunchConfiguration("world_frame"), value_type=str)}
    told = [word for name in WORKCELL for word in ("-p", [f"{name}:=", LaunchConfiguration(name)])]

    def proposer(name: str, executable: str) -> Node:
        return Node(package="dropclip_ros", executable=executable, name=executable, output="screen",
                    parameters=[parameters, gripper, {"max_rate": 0.5}],
                    condition=IfCondition(EqualsSubstitution(LaunchConfiguration("proposals"), name)))

    return LaunchDescription([
        *(DeclareLaunchArgument(name, default_value=default, description=text) for name, default, text in ARGUMENTS),
        DeclareLaunchArgument("world_frame", default_value="world", description="Frame of the answers, z up"),
        ExecuteProcess(cmd=[LaunchConfiguration("python"), "-m", "training.workcell.node", "--ros-args", *told],
                       output="screen"),
        # declares camera, model, device and rviz as well
        IncludeLaunchDescription(PythonLaunchDescriptionSource(
            PathJoinSubstitution([share, "launch", "grounding.launch.py"])),
            launch_arguments=[("world_frame", LaunchConfiguration("world_frame"))]),
        proposer("antipodal", "proposal_node"),
        proposer("hggd", "hggd_node"),
        Node(package="dropclip_ros", executable="grasp_matcher_node", name="grasp_matcher_node", output="screen",
             parameters=[parameters, gripper, world]),
    ])
