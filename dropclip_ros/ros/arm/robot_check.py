# SPDX-License-Identifier: Apache-2.0
"""Before an arm moves: does the planner's model of the robot agree with TF, and the candidates' with the gripper?

The camera's grasps come through TF, the planner moves a model. Where the two disagree on where the base, the flange or
the tips are, every grasp is off by as much, and nothing else notices.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.grasping.grippers import Gripper, load_gripper
from dropclip_ros.msg import GraspCandidate
from dropclip_ros.ros.common import Setting, Settings
from dropclip_ros.ros.messages import pose_matrix

SETTINGS = (
    Setting(
        "checked_links",
        ["base_link", "tool0"],
        "Links that must be where the planner's model has them, by TF; [''] for none",
        read_only=True,
    ),
    Setting("max_mismatch", 0.005, "How far apart TF and the model may have a link, m", 0.0001, 0.1),
    Setting("max_mismatch_angle", 0.02, "How far they may have it turned, rad", 0.001, 0.5),
    Setting(
        "gripper", "robotiq_2f_140", "The gripper: a name, or the path of a profile, .yaml; that of the matcher too"
    ),
)


def check_robot(
    settings: Settings | Mapping,
    frame: str,
    in_tf: Callable[[str], np.ndarray],
    in_model: Callable[[Sequence[str]], Mapping[str, np.ndarray]],
    candidates: Sequence[GraspCandidate],
) -> None:
    """Raises ROBOT_MISMATCH where two models of the world differ. The arm must stand still.

    frame: the planner's; in_tf, in_model: frame_from_link (4, 4) of a link by TF, and of links by the planner's model
    of the robot as it is now; candidates: their tool and tips are compared with the parameter `gripper`.
    """
    links = [name for name in settings["checked_links"] if name]
    model = in_model(links) if links else {}
    for link in links:
        compare(link, frame, in_tf(link), model[link], settings["max_mismatch"], settings["max_mismatch_angle"])
    gripper = load_gripper(settings["gripper"])
    for candidate in candidates:
        compare_tool(candidate, gripper, settings["max_mismatch"], settings["max_mismatch_angle"])


def compare(link: str, frame: str, seen: np.ndarray, model: np.ndarray, limit: float, angle: float) -> None:
    """Raises ROBOT_MISMATCH where frame_from_link (4, 4) by TF and by the model differ by more than m or rad given."""
    apart = float(np.linalg.norm(seen[:3, 3] - model[:3, 3]))
    turned = turn_between(seen, model)
    if apart <= limit and turned <= angle:
        return
    raise DropclipError(
        Status.ROBOT_MISMATCH,
        f"{link} is {1e3 * apart:.1f} mm and {np.degrees(turned):.1f} degrees away from where the planner's model "
        f"has it: by TF at {_shown(seen)} m in {frame}, in the model at {_shown(model)}; at most {1e3 * limit:g} mm "
        f"and {np.degrees(angle):.1f} degrees are allowed. Give moveit.launch.py the base_xyz and base_rpy that TF "
        "has, and the arm's own calibration (kinematics)",
    )


def compare_tool(candidate: GraspCandidate, gripper: Gripper, limit: float, angle: float) -> None:
    """Raises ROBOT_MISMATCH where a candidate's tool pose and tips are not as this gripper is mounted.

    The tips may be anywhere between open and closed: they advance on arcs, and a candidate does not say how far.
    """
    try:
        tool = pose_matrix(candidate.tool.position, candidate.tool.orientation)
        tip = pose_matrix(candidate.grasp.tip.position, candidate.grasp.tip.orientation)
    except ValueError as error:
        raise DropclipError(Status.BAD_REQUEST, f"a candidate's tool or tip is no pose: {error}") from error
    found = np.linalg.inv(tool) @ tip
    widths = np.array([0.0, gripper.max_width])
    expected = gripper.tool_from_tip(widths)
    near, far = sorted(expected[:, :3, 3] @ np.array(gripper.approach))
    along = float(found[:3, 3] @ np.array(gripper.approach))
    beside = float(np.linalg.norm(found[:3, 3] - along * np.array(gripper.approach)))
    turned = turn_between(found, expected[0])
    if near - limit <= along <= far + limit and beside <= limit and turned <= angle:
        return
    raise DropclipError(
        Status.ROBOT_MISMATCH,
        f"a candidate has the tips {1e3 * along:.0f} mm ahead of the tool and {1e3 * beside:.0f} mm beside, turned by "
        f"{np.degrees(turned):.0f} degrees from how {gripper.name} is mounted, whose tips are {1e3 * near:.0f} to "
        f"{1e3 * far:.0f} mm ahead: matcher and arm must have the same parameter gripper",
    )


def turn_between(one: np.ndarray, other: np.ndarray) -> float:
    """The angle between two rotations (of 4x4 or 3x3 matrices), rad."""
    between = one[:3, :3].T @ other[:3, :3]
    skew = between - between.T
    sine = np.linalg.norm([skew[2, 1], skew[0, 2], skew[1, 0]]) / 2
    return float(np.arctan2(sine, (np.trace(between) - 1) / 2))


def _shown(pose: np.ndarray) -> str:
    return "(" + " ".join(f"{value:.3f}" for value in pose[:3, 3]) + ")"
