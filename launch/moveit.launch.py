# SPDX-License-Identifier: Apache-2.0
"""MoveIt 2 for a UR5e with a Robotiq 2F-140, and the node that serves `pick` by it: an example for a lab to adapt.

With mock hardware (no robot):     ros2 launch dropclip_ros moveit.launch.py mock:=true
In Gazebo:                         gazebo_trials.launch.py includes this
On the arm: start ur_robot_driver and the gripper's driver with their own controllers, then this with drivers:=true, and
set the controllers' names in config/ur5e/moveit_controllers.yaml.

Needs moveit, moveit_configs_utils, ur_description and robotiq_description. Not run: there was no MoveIt where this was
written; a recording stand-in for launch has loaded it.
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument
from launch.conditions import IfCondition, UnlessCondition
from launch.substitutions import Command, LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterFile, ParameterValue
from launch_ros.substitutions import FindPackageShare

ARGUMENTS = (
    ("mock", "false", "Mock hardware in place of an arm"),
    ("sim_gazebo", "false", "The arm is in Gazebo"),
    ("drivers", "false", "The arm's own drivers run, with robot_state_publisher: start none here"),
    ("use_sim_time", "false", "Gazebo's clock"),
)
CONTROLLERS = ("joint_state_broadcaster", "arm_controller", "gripper_controller")
OMPL = {
    "planning_pipelines": ["ompl"],
    "default_planning_pipeline": "ompl",
    "ompl.planning_plugins": ["ompl_interface/OMPLPlanner"],
    "ompl.request_adapters": [
        "default_planning_request_adapters/ResolveConstraintFrames",
        "default_planning_request_adapters/ValidateWorkspaceBounds",
        "default_planning_request_adapters/CheckStartStateBounds",
        "default_planning_request_adapters/CheckStartStateCollision",
    ],
    "ompl.response_adapters": [
        "default_planning_response_adapters/AddTimeOptimalParameterization",
        "default_planning_response_adapters/ValidateSolution",
    ],
}
OCTOMAP = {"octomap_frame": "world", "octomap_resolution": 0.01, "max_range": 2.0}


def generate_launch_description():  # long: arguments and nodes, listed in order
    folder = PathJoinSubstitution([FindPackageShare("dropclip_ros"), "config", "ur5e"])

    def path(name: str) -> PathJoinSubstitution:
        return PathJoinSubstitution([folder, name])

    def yaml(name: str) -> ParameterFile:
        return ParameterFile(path(name), allow_substs=True)

    flags = [word for name in ("mock", "sim_gazebo") for word in (f" {name}:=", LaunchConfiguration(name))]
    urdf = ParameterValue(Command(["xacro ", path("workcell.urdf.xacro"), *flags]), value_type=str)
    srdf = ParameterValue(Command(["xacro ", path("workcell.srdf.xacro")]), value_type=str)
    description = {"robot_description": urdf}
    clock = {"use_sim_time": ParameterValue(LaunchConfiguration("use_sim_time"), value_type=bool)}
    mocked = IfCondition(LaunchConfiguration("mock"))
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value=default, description=text)
                for name, default, text in ARGUMENTS
            ),
            Node(
                package="robot_state_publisher",
                executable="robot_state_publisher",
                output="screen",
                parameters=[description, clock],
                condition=UnlessCondition(LaunchConfiguration("drivers")),
            ),
            Node(
                package="controller_manager",
                executable="ros2_control_node",
                output="screen",
                parameters=[yaml("controllers.yaml"), clock],
                condition=mocked,
            ),
            Node(
                package="controller_manager",
                executable="spawner",
                output="screen",
                arguments=list(CONTROLLERS),
                condition=UnlessCondition(LaunchConfiguration("drivers")),
            ),
            Node(
                package="moveit_ros_move_group",
                executable="move_group",
                output="screen",
                parameters=[
                    description,
                    {"robot_description_semantic": srdf},
                    yaml("move_group.yaml"),
                    OMPL,
                    OCTOMAP,
                    clock,
                ],
            ),
            Node(
                package="dropclip_ros",
                executable="moveit_pick_node",
                name="moveit_pick_node",
                output="screen",
                parameters=[clock],
            ),
        ]
    )
