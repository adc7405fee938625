# SPDX-License-Identifier: Apache-2.0
"""Grounding, grasp proposals and the matcher: ros2 launch dropclip_ros grasping.launch.py camera:=realsense

What proposes grasps is `proposals`: antipodal (needs no weights), hggd (`hggd_weights`), or rows (`rows_folder`).
docs/launch.md has all arguments.
"""

from launch import LaunchDescription

from dropclip_ros.ros.launching.files import (
    COMMON,
    WORKSPACE,
    LaunchError,
    camera_told,
    declare,
    flag,
    grounding_parameters,
    include,
    later,
    own_node,
    share,
    strings,
    text,
    together,
    told,
    workspace,
)

GRASPING = (
    ("gripper", "robotiq_2f_140", "robotiq_2f_140, robotiq_2f_85, franka_hand, or a profile of yours, .yaml"),
    ("proposals", "antipodal", "What proposes grasps: antipodal, hggd or rows"),
    ("hggd_weights", "", "HGGD checkpoint; '' for the one shipped"),
    ("rows_folder", "", "Folder of GraspNet rows; '' for the topic grasp_rows"),
    ("grasping_parameters", "", "Parameter file of the proposers and the matcher; '' for the one shipped"),
)
OF_GROUNDING = tuple(  # declared by grounding.launch.py
    (name, "", "")
    for name in (
        "world_frame",
        "table_frame",
        "model",
        "device",
        "preset",
        "scoring",
        "reader_url",
        "reader_model",
        "grounding_parameters",
        "one_process",
    )
)


def nodes(context) -> list:
    arguments, camera = told(context, COMMON + GRASPING + WORKSPACE + OF_GROUNDING), camera_told(context)
    shared = [
        arguments["grasping_parameters"] or str(share(context) / "config" / arguments["preset"] / "grasping.yaml"),
        strings(arguments, "gripper"),
    ]

    scene = strings(arguments, "world_frame") | workspace(arguments)
    weights = {"weights": text(arguments["hggd_weights"])} | strings(arguments, "device")
    proposers = {
        "antipodal": ("proposal_node", [*shared, scene], camera),
        "hggd": ("hggd_node", [*shared, weights, scene], camera),
        "rows": ("grasp_rows_node", [*shared, {"folder": text(arguments["rows_folder"])}], None),
    }
    if arguments["proposals"] not in proposers:
        raise LaunchError(f"proposals is {arguments['proposals']!r}: expected one of {', '.join(proposers)}")
    started = [proposers[arguments["proposals"]], ("grasp_matcher_node", [*shared, scene], camera)]
    if flag(arguments, "one_process"):
        grounding = ("grounding_node", grounding_parameters(context, arguments))
        return [together([grounding, *((name, parameters) for name, parameters, _ in started)], arguments, camera)]
    return [own_node(name, arguments, parameters, heard) for name, parameters, heard in started]


def generate_launch_description():
    # the other file declares camera, namespace, world_frame, model, device, rviz and more
    return LaunchDescription([include("grounding.launch.py"), *declare(GRASPING), later(nodes)])
