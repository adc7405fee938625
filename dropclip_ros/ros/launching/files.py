# SPDX-License-Identifier: Apache-2.0
"""What the launch files share: arguments, the camera, and the environment that nodes need.

Only names that launch and launch_ros have on Humble, Jazzy and Kilted are used (test/launch_names.yaml).
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from launch import LaunchContext
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction, SetEnvironmentVariable
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from dropclip_ros.ros.launching.cameras import CameraTopics, camera_topics
from dropclip_ros.ros.launching.environment import dds_profile

Argument = tuple[str, str, str]  # name, default, description
Told = Mapping[str, str]  # arguments by name, as they were given

COMMON: tuple[Argument, ...] = (
    ("namespace", "", "Of the nodes, their services and topics"),
    ("use_sim_time", "false", "Go by the clock of a simulator or a bag"),
)
CAMERA: tuple[Argument, ...] = (
    ("camera", "realsense", "A file of config/cameras: realsense, zed, zed5, orbbec, azure_kinect, gazebo, topics"),
    ("camera_prefix", "", "What the camera's topics begin with; '' for the preset's (/camera/camera)"),
    ("color_topic", "", "Whole name of the colour image's topic; '' for the preset's"),
    ("depth_topic", "", "Whole name of the depth image's, registered to the colour; '' for the preset's"),
    ("info_topic", "", "Whole name of the colour's CameraInfo; '' for the preset's"),
    ("points_topic", "", "Whole name of the point cloud's, for transport:=points; '' for the preset's"),
    ("depth_unit", "", "Of 16UC1 depth: mm or 0.1mm; '' for the preset's"),
    ("reliable", "", "Ask the camera for reliable delivery: true or false; '' for the preset's"),
    ("transport", "raw", "raw, compressed (IMAGE/compressed, DEPTH/compressedDepth), or points: a PointCloud2 alone"),
)
WORKSPACE: tuple[Argument, ...] = (
    ("near", "0.1", "Nearer depths are left out, m"),
    ("far", "3.0", "Further depths are left out, m"),
    ("table", "auto", "plane, none (bins, trays), ransac (the paper's), or auto: none where no plane is seen"),
    ("table_height", "", "z of the table in world_frame, m, where it is known; '' where it is not"),
    ("table_plane", "[0.0]", "[a, b, c, d] of the table where it is known, in world_frame; [0.0]: it is looked for"),
    ("region", "[0.0]", "Box to look in, in world_frame: [x, y, z, x, y, z], m; [0.0]: everywhere"),
)


class LaunchError(RuntimeError):
    """An argument that cannot be taken, in one sentence."""


def distro() -> str:
    """humble, jazzy, kilted, ...: what this machine's ROS says it is."""
    return os.environ.get("ROS_DISTRO", "")


def declare(arguments: Iterable[Argument]) -> list[DeclareLaunchArgument]:
    return [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, default, description in arguments
    ]


def told(context: LaunchContext, arguments: Iterable[Argument]) -> dict[str, str]:
    """What the arguments were given as, or their defaults."""
    return {name: LaunchConfiguration(name).perform(context) for name, _, _ in arguments}


def later(function) -> OpaqueFunction:
    """Calls function(context) for more actions once the arguments are known."""
    return OpaqueFunction(function=function)


def share(context: LaunchContext, package: str = "dropclip_ros") -> Path:
    return Path(FindPackageShare(package).perform(context))


def camera_told(context: LaunchContext) -> CameraTopics:
    """The camera of the arguments CAMERA. Raises LaunchError."""
    try:
        return camera_topics(share(context) / "config" / "cameras", told(context, CAMERA))
    except ValueError as error:
        raise LaunchError(str(error)) from None


def flag(arguments: Told, name: str) -> bool:
    """A true or false argument. Raises LaunchError."""
    if arguments[name].lower() not in ("true", "false"):
        raise LaunchError(f"{name} is {arguments[name]!r}: expected true or false")
    return arguments[name].lower() == "true"


def numbers(arguments: Told, name: str, *counts: int) -> list[float]:
    """An argument of as many numbers as one of `counts`, as "1 2 3" or "[1, 2, 3]". Raises LaunchError."""
    try:
        found = [float(word) for word in arguments[name].strip("[] ").replace(",", " ").split()]
    except ValueError:
        found = []
    if len(found) not in counts:
        raise LaunchError(f"{name} is {arguments[name]!r}: expected {' or '.join(map(str, counts))} numbers")
    return found


def workspace(arguments: Told) -> dict:
    """The arguments WORKSPACE as parameters of the nodes that look for the table. Raises LaunchError."""
    height = {"table.height": numbers(arguments, "table_height", 1)[0]} if arguments["table_height"] else {}
    return height | {
        "region.near": numbers(arguments, "near", 1)[0],
        "region.far": numbers(arguments, "far", 1)[0],
        "table.mode": text(arguments["table"]),
        "table.plane": numbers(arguments, "table_plane", 1, 4),
        "region.box": numbers(arguments, "region", 1, 6),
    }


def text(value: str) -> ParameterValue:
    """A parameter that is a string, whatever it looks like."""
    return ParameterValue(value, value_type=str)


def strings(arguments: Told, *names: str) -> dict[str, ParameterValue]:
    """Arguments as parameters of the same names that are strings."""
    return {name: text(arguments[name]) for name in names}


def own_node(executable: str, common: Told, parameters: Sequence, camera: CameraTopics | None = None) -> Node:
    """One of our nodes, under its own name; common: the arguments COMMON; camera: what it listens to."""
    own: dict = {"use_sim_time": flag(common, "use_sim_time")}
    if camera:
        own |= strings(vars(camera), "depth_unit", "transport") | {"reliable": camera.reliable}
    return Node(
        package="dropclip_ros",
        executable=executable,
        name=executable,
        namespace=common["namespace"],
        output="screen",
        parameters=[*parameters, own],
        remappings=camera.remappings() if camera else [],
    )


def grounding_parameters(context: LaunchContext, arguments: Told) -> list:
    """Of the grounding node, from its launch arguments."""
    return [
        strings(arguments, "scoring", "reader_url", "reader_model"),
        arguments["grounding_parameters"] or str(share(context) / "config" / arguments["preset"] / "grounding.yaml"),
        strings(arguments, "world_frame", "table_frame", "model", "device") | workspace(arguments),
    ]


def together(nodes: Sequence[tuple[str, Sequence]], common: Told, camera: CameraTopics) -> Node:
    """Our nodes, each with its parameters, in one process. A parameter that two have is the same for both."""
    own = strings(vars(camera), "depth_unit", "transport") | {"reliable": camera.reliable}
    return Node(
        package="dropclip_ros",
        executable="together",
        namespace=common["namespace"],
        output="screen",
        arguments=[name for name, _ in nodes],
        parameters=[
            *(one for _, parameters in nodes for one in parameters),
            own | {"use_sim_time": flag(common, "use_sim_time")},
        ],
        remappings=camera.remappings(),
    )


def include(file: str, package: str = "dropclip_ros", **arguments) -> IncludeLaunchDescription:
    """Another launch file, told so."""
    path = PathJoinSubstitution([FindPackageShare(package), "launch", file])
    return IncludeLaunchDescription(PythonLaunchDescriptionSource(path), launch_arguments=list(arguments.items()))


def dds_environment(context: LaunchContext) -> list[SetEnvironmentVariable]:
    """Fast DDS with room for images, unless the environment names a profile; the camera's process needs it as well."""
    chosen = dds_profile(os.environ, share(context) / "config")
    return [SetEnvironmentVariable(name, file) for name, file in chosen.items()]
