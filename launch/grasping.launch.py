# SPDX-License-Identifier: Apache-2.0
"""Grounding, grasp proposals and the matcher: ros2 launch dropclip_ros grasping.launch.py camera:=/camera"""
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

STREAMS = ("aligned_depth_to_color/image_raw", "color/camera_info")


def generate_launch_description():
    share = FindPackageShare("dropclip_ros")
    parameters = LaunchConfiguration("grasping_parameters")
    gripper = {"gripper": ParameterValue(LaunchConfiguration("gripper"), value_type=str)}
    streams = [(f"camera/{stream}", [LaunchConfiguration("camera"), f"/{stream}"]) for stream in STREAMS]
    world = {"world_frame": ParameterValue(LaunchConfiguration("world_frame"), value_type=str)}
    return LaunchDescription([
        # declares camera, world_frame, model, device and rviz as well
        IncludeLaunchDescription(PythonLaunchDescriptionSource(
            PathJoinSubstitution([share, "launch", "grounding.launch.py"]))),
        DeclareLaunchArgument("gripper", default_value="robotiq_2f_140",
                              description="robotiq_2f_140, robotiq_2f_85, franka_hand, or a profile of yours, .yaml"),
        DeclareLaunchArgument("grasping_parameters", description="Parameter file of the proposal node and the matcher",
                              default_value=PathJoinSubstitution([share, "config", "grasping.yaml"])),
        Node(package="dropclip_ros", executable="proposal_node", name="proposal_node", output="screen",
             parameters=[parameters, gripper], remappings=streams),
        Node(package="dropclip_ros", executable="grasp_matcher_node", name="grasp_matcher_node", output="screen",
             parameters=[parameters, gripper, world], remappings=streams),
    ])
