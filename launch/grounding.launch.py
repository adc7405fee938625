# SPDX-License-Identifier: Apache-2.0
"""The grounding node on a camera: ros2 launch dropclip_ros grounding.launch.py camera:=/camera world_frame:=map"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, SetEnvironmentVariable
from launch.conditions import IfCondition
from launch.substitutions import EnvironmentVariable, LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

ARGUMENTS = (
    ("camera", "/camera", "Namespace of the camera's topics"),
    ("world_frame", "", "Frame of the answers, z up; '' for the table's own"),
    ("model", "", "Folder of the model; '' for the one shipped"),
    ("device", "auto", "auto, cpu, cuda or cuda:N"),
    ("preset", ".", "a7: parameter files of the paper's appendix A.7; '.': ours"),
    ("scoring", "instances", "instances, paper, argmax or release, where the parameter file does not say"),
    ("rviz", "false", "Also start RViz: true or false"),
    ("near", "0.1", "Nearer depths are left out, m"),
    ("far", "3.0", "Further depths are left out, m"),
    ("table", "auto", "plane, none (bins, trays), ransac (the paper's), or auto: none where no plane is seen"),
    ("table_plane", "[0.0]", "[a, b, c, d] of the table where it is known, in world_frame; [0.0]: it is looked for"),
    ("region", "[0.0]", "Box to look in, in world_frame: [x, y, z, x, y, z], m; [0.0]: everywhere"),
)
WORKSPACE = {  # of every node that looks for the table: argument and type of a parameter
    "region.near": ("near", float),
    "region.far": ("far", float),
    "table.mode": ("table", str),
    "table.plane": ("table_plane", list[float]),
    "region.box": ("region", list[float]),
}
DDS_PROFILE = "FASTDDS_DEFAULT_PROFILES_FILE"
STREAMS = ("color/image_raw", "aligned_depth_to_color/image_raw", "color/camera_info")


def generate_launch_description():
    share = FindPackageShare("dropclip_ros")
    strings = {
        name: ParameterValue(LaunchConfiguration(name), value_type=str) for name in ("world_frame", "model", "device")
    }
    scoring = {"scoring": ParameterValue(LaunchConfiguration("scoring"), value_type=str)}
    workspace = {
        name: ParameterValue(LaunchConfiguration(argument), value_type=kind)
        for name, (argument, kind) in WORKSPACE.items()
    }
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value=default, description=text)
                for name, default, text in ARGUMENTS
            ),
            SetEnvironmentVariable(
                DDS_PROFILE,
                EnvironmentVariable(  # the camera's process needs it as well
                    DDS_PROFILE, default_value=PathJoinSubstitution([share, "config", "fastdds.xml"])
                ),
            ),
            DeclareLaunchArgument(
                "grounding_parameters",
                description="Parameter file of the grounding node",
                default_value=PathJoinSubstitution([share, "config", LaunchConfiguration("preset"), "grounding.yaml"]),
            ),
            Node(
                package="dropclip_ros",
                executable="grounding_node",
                name="grounding_node",
                output="screen",
                parameters=[scoring, LaunchConfiguration("grounding_parameters"), strings, workspace],
                remappings=[(f"camera/{stream}", [LaunchConfiguration("camera"), f"/{stream}"]) for stream in STREAMS],
            ),
            Node(
                package="rviz2",
                executable="rviz2",
                name="rviz2",
                arguments=["-d", PathJoinSubstitution([share, "config", "dropclip.rviz"])],
                condition=IfCondition(LaunchConfiguration("rviz")),
            ),
        ]
    )
