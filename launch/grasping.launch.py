# SPDX-License-Identifier: Apache-2.0
"""Grounding, grasp proposals and the matcher: ros2 launch dropclip_ros grasping.launch.py camera:=/camera

What proposes grasps is `proposals`: antipodal (needs no weights), hggd (`hggd_weights`), or rows (`rows_folder`).
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.conditions import IfCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import EqualsSubstitution, LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

WORKSPACE = {  # arguments of grounding.launch.py, for every node that looks for the table
    "region.near": ("near", float),
    "region.far": ("far", float),
    "table.mode": ("table", str),
    "table.plane": ("table_plane", list[float]),
    "region.box": ("region", list[float]),
}
STREAMS = ("color/image_raw", "aligned_depth_to_color/image_raw", "color/camera_info")


def text(argument: str) -> ParameterValue:
    """A launch argument as a parameter that is a string, whatever it looks like."""
    return ParameterValue(LaunchConfiguration(argument), value_type=str)


def proposed_by(name: str) -> IfCondition:
    return IfCondition(EqualsSubstitution(LaunchConfiguration("proposals"), name))


def generate_launch_description():  # long: arguments and nodes, listed in order
    share = FindPackageShare("dropclip_ros")
    parameters = LaunchConfiguration("grasping_parameters")
    gripper = {"gripper": text("gripper")}
    streams = [(f"camera/{stream}", [LaunchConfiguration("camera"), f"/{stream}"]) for stream in STREAMS]
    world = {"world_frame": text("world_frame")}
    scene = world | {
        name: ParameterValue(LaunchConfiguration(argument), value_type=kind)
        for name, (argument, kind) in WORKSPACE.items()
    }
    hggd = {"weights": text("hggd_weights"), "device": text("device")}
    return LaunchDescription(
        [
            # declares camera, world_frame, model, device, preset, rviz and what is known of table and region as well
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(PathJoinSubstitution([share, "launch", "grounding.launch.py"]))
            ),
            DeclareLaunchArgument(
                "gripper",
                default_value="robotiq_2f_140",
                description="robotiq_2f_140, robotiq_2f_85, franka_hand, or a profile of yours, .yaml",
            ),
            DeclareLaunchArgument(
                "proposals",
                default_value="antipodal",
                choices=["antipodal", "hggd", "rows"],
                description="What proposes grasps",
            ),
            DeclareLaunchArgument(
                "hggd_weights", default_value="", description="HGGD checkpoint; '' for the one shipped"
            ),
            DeclareLaunchArgument(
                "rows_folder", default_value="", description="Folder of GraspNet rows; '' for the topic grasp_rows"
            ),
            DeclareLaunchArgument(
                "grasping_parameters",
                description="Parameter file of the proposers and the matcher",
                default_value=PathJoinSubstitution([share, "config", LaunchConfiguration("preset"), "grasping.yaml"]),
            ),
            Node(
                package="dropclip_ros",
                executable="proposal_node",
                name="proposal_node",
                output="screen",
                parameters=[parameters, gripper, scene],
                remappings=streams,
                condition=proposed_by("antipodal"),
            ),
            Node(
                package="dropclip_ros",
                executable="hggd_node",
                name="hggd_node",
                output="screen",
                parameters=[parameters, gripper, hggd, scene],
                remappings=streams,
                condition=proposed_by("hggd"),
            ),
            Node(
                package="dropclip_ros",
                executable="grasp_rows_node",
                name="grasp_rows_node",
                output="screen",
                parameters=[parameters, gripper, {"folder": text("rows_folder")}],
                condition=proposed_by("rows"),
            ),
            Node(
                package="dropclip_ros",
                executable="grasp_matcher_node",
                name="grasp_matcher_node",
                output="screen",
                parameters=[parameters, gripper, scene],
                remappings=streams,
            ),
        ]
    )
