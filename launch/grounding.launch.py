# SPDX-License-Identifier: Apache-2.0
"""The grounding node on a camera: ros2 launch dropclip_ros grounding.launch.py camera:=realsense world_frame:=map

docs/launch.md has all arguments.
"""

from launch import LaunchDescription
from launch_ros.actions import Node

from dropclip_ros.ros.launching.files import (
    CAMERA,
    COMMON,
    WORKSPACE,
    camera_told,
    dds_environment,
    declare,
    flag,
    grounding_parameters,
    later,
    own_node,
    share,
    told,
)

GROUNDING = (
    ("world_frame", "", "Frame of the answers, z up; '' for the table's own"),
    ("table_frame", "", "Name of the table's own frame; '' for dropclip_table, after the namespace where there is one"),
    ("model", "", "Folder of the model; '' for the one shipped"),
    ("device", "auto", "auto, cpu, cuda or cuda:N"),
    ("preset", ".", "a7: parameter files of the paper's appendix A.7; '.': ours"),
    ("scoring", "instances", "instances, paper, argmax or release, where the parameter file does not say"),
    ("reader_url", "", "An OpenAI-compatible endpoint that reads phrases of several parts; '' for the grammar"),
    ("reader_model", "", "The model's name there"),
    ("grounding_parameters", "", "Parameter file of the grounding node; '' for the one shipped"),
    ("one_process", "false", "grasping.launch.py: all its nodes in one process: true or false"),
    ("rviz", "false", "Also start RViz: true or false"),
    ("rviz_frame", "", "RViz's fixed frame, there before the first question; '' for world_frame, else camera_link"),
)


def nodes(context) -> list:
    arguments, folder = told(context, COMMON + GROUNDING + WORKSPACE), share(context) / "config"
    started = [*dds_environment(context)]
    if not flag(arguments, "one_process"):
        parameters = grounding_parameters(context, arguments)
        started.append(own_node("grounding_node", arguments, parameters, camera_told(context)))
    if flag(arguments, "rviz"):
        rviz = Node(
            package="rviz2",
            executable="rviz2",
            name="rviz2",
            namespace=arguments["namespace"],
            arguments=["-d", str(folder / "dropclip.rviz"), *fixed_frame(arguments)],
            parameters=[{"use_sim_time": flag(arguments, "use_sim_time")}],
        )
        started.append(rviz)
    return started


def fixed_frame(arguments) -> list[str]:
    """RViz's option for a frame that TF has already: the table's own comes with the first answer."""
    frame = arguments["rviz_frame"] or arguments["world_frame"]
    return ["-f", frame] if frame else []


def generate_launch_description():
    return LaunchDescription([*declare(COMMON + CAMERA + GROUNDING + WORKSPACE), later(nodes)])
