# SPDX-License-Identifier: Apache-2.0
"""MoveIt 2 for a UR5e with a Robotiq gripper, and the node that serves `pick` by it: an example for a lab to adapt.

With mock hardware (no robot):     ros2 launch dropclip_ros moveit.launch.py mode:=mock
In Gazebo:                         gazebo_trials.launch.py includes this
On the arm: start ur_robot_driver and the gripper's driver with their own controllers, then this (mode:=drivers).

What differs by mode is in config/ur5e/modes.yaml; each value there is an argument too. Before each pick the node
compares where TF has the arm with where this model has it (docs/launch.md). Needs moveit, ur_description and
robotiq_description. Not run with them: there was no MoveIt where this was written.
"""

import tempfile

import yaml
from launch import LaunchDescription
from launch.actions import SetLaunchConfiguration
from launch.substitutions import Command
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterFile, ParameterValue

from dropclip_ros.grasping.grippers import FOLDER
from dropclip_ros.ros.launching.files import (
    CAMERA,
    COMMON,
    LaunchError,
    camera_told,
    declare,
    distro,
    flag,
    later,
    numbers,
    own_node,
    share,
    text,
    told,
)

BY_MODE = (
    (
        "base_xyz",
        "",
        "Of the arm's base in the world, m; '' for the mode's (drivers: 0 0 0, as the driver's TF has it)",
    ),
    ("base_rpy", "", "Its roll, pitch and yaw, rad; '' for the mode's"),
    ("table_centre", "", "Middle of the table's top in the world, m; '' for the mode's"),
    ("arm_controller", "", "Name of the arm's controller; '' for the mode's (drivers: UR's scaled one)"),
    ("gripper_action", "", "Name of the gripper's action; '' for the mode's"),
)
MOVEIT = (
    ("mode", "drivers", "drivers: the arm's own drivers and robot_state_publisher run; mock; or gazebo"),
    ("gripper", "robotiq_2f_140", "robotiq_2f_140 or robotiq_2f_85"),
    ("kinematics", "", "The arm's calibration, .yaml of ur_calibration; '' for ur_description's default"),
    ("group", "ur_manipulator", "Name of the arm's planning group"),
    ("table_size", "1.5 1.1 0.04", "Of the table, m; 0 0 0 for what the camera sees of it"),
    ("gripper_type", "", "gripper_command or parallel_gripper_command; '' for the distro's (Humble: gripper_command)"),
    ("octomap", "true", "Take the camera's depth image as obstacles; needs OpenGL"),
)
ARGUMENTS = COMMON + CAMERA + BY_MODE + MOVEIT
CONTROLLERS = ("joint_state_broadcaster", "arm_controller", "gripper_controller")
PIPELINE = {"planning_pipelines": ["ompl"], "default_planning_pipeline": "ompl"}
REQUESTS = ("ResolveConstraintFrames", "ValidateWorkspaceBounds", "CheckStartStateBounds", "CheckStartStateCollision")
RESPONSES = ("AddTimeOptimalParameterization", "ValidateSolution")
HUMBLE_REQUESTS = (
    "AddTimeOptimalParameterization",
    "ResolveConstraintFrames",
    "FixWorkspaceBounds",
    "FixStartStateBounds",
    "FixStartStateCollision",
    "FixStartStatePathConstraints",
)


def ompl() -> dict:
    """The planner's parameters as this distro's MoveIt reads them: one string each on Humble, then lists."""
    if distro() == "humble":
        adapters = " ".join(f"default_planner_request_adapters/{name}" for name in HUMBLE_REQUESTS)
        own = {"planning_plugin": "ompl_interface/OMPLPlanner", "request_adapters": adapters}
        return PIPELINE | {"ompl": own | {"start_state_max_bounds_error": 0.1}}
    own = {
        "planning_plugins": ["ompl_interface/OMPLPlanner"],
        "request_adapters": [f"default_planning_request_adapters/{name}" for name in REQUESTS],
        "response_adapters": [f"default_planning_response_adapters/{name}" for name in RESPONSES],
    }
    return PIPELINE | {"ompl": own}


def resolved(context, folder) -> dict[str, str]:
    """The arguments, with the mode's and the distro's in place of ''. Raises LaunchError."""
    arguments = told(context, ARGUMENTS)
    modes = yaml.safe_load((folder / "modes.yaml").read_text())
    grippers = yaml.safe_load((folder / "grippers.yaml").read_text())
    for name, known in (("mode", modes), ("gripper", grippers)):
        if arguments[name] not in known:
            raise LaunchError(f"{name} is {arguments[name]!r}: expected one of {', '.join(known)}")
    if arguments["mode"] == "gazebo" and distro() == "humble":
        raise LaunchError("mode:=gazebo needs Jazzy or newer: Humble's descriptions are for Ignition")
    mine = "gripper_command" if distro() == "humble" else "parallel_gripper_command"
    mode = modes[arguments["mode"]] | {"gripper_type": mine}
    return {name: value or mode.get(name, "") for name, value in arguments.items()}


def robot(arguments: dict[str, str], gripper: dict, controllers: str, folder) -> tuple[ParameterValue, ParameterValue]:
    """URDF and SRDF, made by xacro: everything that the arguments say of the arm goes into both in the same way."""
    profile = yaml.safe_load((FOLDER / f"{arguments['gripper']}.yaml").read_text())
    words = {
        "gripper": gripper["macro"],
        "base_xyz": " ".join(f"{value:g}" for value in numbers(arguments, "base_xyz", 3)),
        "base_rpy": " ".join(f"{value:g}" for value in numbers(arguments, "base_rpy", 3)),
        "tip_distance": str(profile["tip_distance"][-1][1]),  # open: the matcher's profile says it, once
        "sim_gazebo": str(arguments["mode"] == "gazebo").lower(),
        "mock": str(arguments["mode"] == "mock").lower(),
        "distro": distro() or "jazzy",
    }
    words |= {"kinematics_params": arguments["kinematics"]} if arguments["kinematics"] else {}
    words |= {"controllers": controllers} if controllers else {}
    words |= {"namespace": arguments["namespace"]} if arguments["namespace"] else {}
    urdf = "".join(f" {name}:='{value}'" for name, value in words.items())
    srdf = f" gripper:='{gripper['macro']}' group:='{arguments['group']}'"
    return tuple(
        ParameterValue(Command(f"xacro '{folder / file}'{flags}"), value_type=str)
        for file, flags in (("workcell.urdf.xacro", urdf), ("workcell.srdf.xacro", srdf))
    )


def nodes(context) -> list:
    folder = share(context) / "config" / "ur5e"
    arguments = resolved(context, folder)
    gripper = yaml.safe_load((folder / "grippers.yaml").read_text())[arguments["gripper"]]
    controllers = (
        "" if arguments["mode"] == "drivers" else controllers_file(folder, gripper["joint"], arguments["namespace"])
    )
    urdf, srdf = robot(arguments, gripper, controllers, folder)
    description, clock = {"robot_description": urdf}, {"use_sim_time": flag(arguments, "use_sim_time")}
    settled = [SetLaunchConfiguration(name, arguments[name]) for name in ("group", "arm_controller")]  # for the files
    obstacles = []
    if flag(arguments, "octomap"):
        obstacles = [str(folder / "octomap.yaml"), {"camera": {"image_topic": text(camera_told(context).depth)}}]
    move_group = Node(
        package="moveit_ros_move_group",
        executable="move_group",
        namespace=arguments["namespace"],
        output="screen",
        parameters=[
            description,
            {"robot_description_semantic": srdf},
            ParameterFile(str(folder / "move_group.yaml"), allow_substs=True),
            ompl(),
            *obstacles,
            clock,
        ],
    )
    hardware = [] if not controllers else simulated(arguments, description, clock, controllers)
    return [*settled, *hardware, move_group, pick_node(arguments, gripper)]


def simulated(arguments: dict[str, str], description: dict, clock: dict, controllers: str) -> list[Node]:
    """What the arm's drivers bring along otherwise."""

    def node(package: str, executable: str, **more) -> Node:
        return Node(package=package, executable=executable, namespace=arguments["namespace"], output="screen", **more)

    started = [node("robot_state_publisher", "robot_state_publisher", parameters=[description, clock])]
    if arguments["mode"] == "mock":
        # Humble's takes the description as a parameter; later ones hear it on a topic
        own = [controllers, clock, *([description] if distro() == "humble" else [])]
        started.append(node("controller_manager", "ros2_control_node", parameters=own))
    spawners = [node("controller_manager", "spawner", arguments=[name], parameters=[clock]) for name in CONTROLLERS]
    return [*started, *spawners]


def controllers_file(folder, joint: str, namespace: str) -> str:
    """controllers.yaml for this distro, the gripper's joint and the nodes' namespace, beside the parameter files that
    launch_ros writes."""
    controllers = yaml.safe_load((folder / "controllers.yaml").read_text())
    controllers["gripper_controller"]["ros__parameters"]["joint"] = joint
    if distro() == "humble":  # has no parallel_gripper_action_controller
        kind = {"type": "position_controllers/GripperActionController"}
        controllers["controller_manager"]["ros__parameters"]["gripper_controller"] = kind
    space = f"/{namespace.strip('/')}/" if namespace.strip("/") else ""
    controllers = {space + name: values for name, values in controllers.items()}
    with tempfile.NamedTemporaryFile("w", prefix="dropclip_controllers_", suffix=".yaml", delete=False) as file:
        yaml.safe_dump(controllers, file)
    return file.name


def pick_node(arguments: dict[str, str], gripper: dict) -> Node:
    own = {name: text(arguments[name]) for name in ("group", "gripper", "gripper_action", "gripper_type")}
    own |= {
        "finger_joint": gripper["joint"],
        "finger_closed": gripper["closed"],
        "hand_links": gripper["links"],
        "table": numbers(arguments, "table_size", 3),
        "table_centre": numbers(arguments, "table_centre", 3),
    }
    return own_node("moveit_pick_node", arguments, [own])


def generate_launch_description():
    return LaunchDescription([*declare(ARGUMENTS), later(nodes)])
