# SPDX-License-Identifier: Apache-2.0
"""The trials' workcell in Gazebo (Harmonic, Ionic or Jetty, with Jazzy or newer): world, UR5e with Robotiq 2F-140,
RGB-D camera, bridge, MoveIt, grounding, proposals and the matcher: ros2 launch dropclip_ros gazebo_trials.launch.py

The runner goes beside it: dropclip-trials run --running --hold 1.0. `reset_cell` and the truth come from a module of
`training`: start this from the clone, or after `pip install -e .[train]`.

Needs ros_gz (1.0.11 or newer, which bridges the services that create and remove objects: not Humble's),
gz_ros2_control, MoveIt, ur_description and robotiq_description. Not run: there was no Gazebo where this was written.
"""

from launch import LaunchDescription
from launch.actions import ExecuteProcess
from launch_ros.actions import Node

from dropclip_ros.ros.launching.files import LaunchError, declare, distro, flag, include, later, share, told

CAMERA = ("0", "0.45926", "0.74525", "0", "1.0", "-1.570796")  # x y z roll pitch yaw of camera_link, as in the world
OPTICAL = ("0", "0", "0", "-1.570796", "0", "-1.570796")  # of the optical frame in camera_link
SERVICES = ("create@ros_gz_interfaces/srv/SpawnEntity", "remove@ros_gz_interfaces/srv/DeleteEntity")
ARGUMENTS = (
    ("headless", "true", "Without a window, and rendering without a display"),
    ("gz_args", "-r", "Of gz sim, before the world: -r runs at once"),
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
        parameters=[{"use_sim_time": True}],
    )


def simulator(context) -> list:
    if distro() == "humble":
        raise LaunchError("gazebo_trials needs the services of ros_gz 1.0.11 or newer: Jazzy or Kilted, not Humble")
    arguments, config = told(context, ARGUMENTS), share(context) / "config" / "gazebo"
    words = [arguments["gz_args"], *(["-s", "--headless-rendering"] if flag(arguments, "headless") else [])]
    cell = [arguments["python"], "-m", "training.trials.gazebo_cell", "--ros-args", "-p", "use_sim_time:=true"]
    return [
        include("gz_sim.launch.py", "ros_gz_sim", gz_args=" ".join([*words, str(config / "workcell.sdf")])),
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
            parameters=[{"config_file": str(config / "bridge.yaml"), "use_sim_time": True}],
        ),
        static_transform("world", "camera_link", CAMERA),
        static_transform("camera_link", "camera_color_optical_frame", OPTICAL),
        ExecuteProcess(cmd=[*cell, "-p", f"catalogue:={arguments['catalogue']}"], output="screen"),
    ]


def generate_launch_description():
    seen = {"camera": "gazebo", "use_sim_time": "true", "world_frame": "world", "gripper": "robotiq_2f_140"}
    return LaunchDescription(
        [
            *declare(ARGUMENTS),
            later(simulator),
            include("grasping.launch.py", **seen),  # declares proposals, hggd_weights, model, device and rviz as well
            include("moveit.launch.py", **seen, mode="gazebo"),
        ]
    )
