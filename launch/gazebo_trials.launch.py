# SPDX-License-Identifier: Apache-2.0
"""The trials' workcell in Gazebo (Harmonic, Ionic or Jetty with its ROS 2): world, UR5e with Robotiq, RGB-D camera,
bridge, MoveIt, grounding, proposals and the matcher: ros2 launch dropclip_ros gazebo_trials.launch.py

The runner goes beside it: dropclip-trials run --running --hold 1.0. `reset_cell` and the truth come from a module of
`training`: start this from the clone, or after `pip install -e .[train]`.

Needs ros_gz, gz_ros2_control, moveit, ur_description and robotiq_description. Not run: there was no Gazebo where this
was written; libsdformat loads the world and the robot, and a recording stand-in for launch has loaded this file.
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node, SetParameter
from launch_ros.substitutions import FindPackageShare

CAMERA = ("0", "0.45926", "0.74525", "0", "1.0", "-1.570796")  # x y z roll pitch yaw of camera_link, as in the world
OPTICAL = ("0", "0", "0", "-1.570796", "0", "-1.570796")  # of the optical frame in camera_link
SERVICES = ("create@ros_gz_interfaces/srv/SpawnEntity", "remove@ros_gz_interfaces/srv/DeleteEntity")
ARGUMENTS = (
    ("gz_args", "-r -s", "Of gz sim, before the world: -r runs at once, -s without a window"),
    ("catalogue", "procedural", "Of the objects: procedural, or a folder with catalogue.json"),
    ("python", "python3", "Interpreter that has mujoco, ompl and this repository"),
)


def static_transform(parent: str, child: str, place: tuple[str, ...]) -> Node:
    names = ("x", "y", "z", "roll", "pitch", "yaw")
    words = [word for name, value in zip(names, place, strict=True) for word in (f"--{name}", value)]
    return Node(
        package="tf2_ros",
        executable="static_transform_publisher",
        output="screen",
        arguments=[*words, "--frame-id", parent, "--child-frame-id", child],
    )


def generate_launch_description():
    share = FindPackageShare("dropclip_ros")
    world = PathJoinSubstitution([share, "config", "gazebo", "workcell.sdf"])

    def include(package, *path: str, **arguments) -> IncludeLaunchDescription:
        return IncludeLaunchDescription(
            PythonLaunchDescriptionSource(PathJoinSubstitution([package, "launch", *path])),
            launch_arguments=list(arguments.items()),
        )

    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value=default, description=text)
                for name, default, text in ARGUMENTS
            ),
            SetParameter("use_sim_time", True),
            include(
                FindPackageShare("ros_gz_sim"), "gz_sim.launch.py", gz_args=[LaunchConfiguration("gz_args"), " ", world]
            ),
            Node(
                package="ros_gz_sim",
                executable="create",
                output="screen",
                arguments=["-world", "workcell", "-topic", "robot_description", "-name", "ur5e"],
            ),
            Node(
                package="ros_gz_bridge",
                executable="parameter_bridge",
                output="screen",
                arguments=[f"/world/workcell/{service}" for service in SERVICES],
                parameters=[{"config_file": PathJoinSubstitution([share, "config", "gazebo", "bridge.yaml"])}],
            ),
            static_transform("world", "camera_link", CAMERA),
            static_transform("camera_link", "camera_color_optical_frame", OPTICAL),
            ExecuteProcess(
                cmd=[
                    LaunchConfiguration("python"),
                    "-m",
                    "training.trials.gazebo_cell",
                    "--ros-args",
                    "-p",
                    "use_sim_time:=true",
                    "-p",
                    ["catalogue:=", LaunchConfiguration("catalogue")],
                ],
                output="screen",
            ),
            include(share, "moveit.launch.py", sim_gazebo="true", use_sim_time="true"),
            # declares proposals, hggd_weights, model, device and rviz as well
            include(share, "grasping.launch.py", gripper="robotiq_2f_140", world_frame="world"),
        ]
    )
