# SPDX-License-Identifier: Apache-2.0
"""A UR5e with a parallel gripper for MuJoCo, from published numbers; its shapes are ours.

Kinematics, masses and centres of mass: Universal Robots, "DH parameters for calculations of kinematics and dynamics".
Limits: UR5e user manual 5.8 (joints, speed) and "Max. joint torques". Frames as in ur_description: `base_link` is the
DH base turned by half a turn about z, `tool0` the end of the DH chain, z out of the flange.
"""

from __future__ import annotations

import mujoco
import numpy as np
from scipy.spatial.transform import Rotation

from dropclip_ros.grasping.grippers import Gripper
from training.scenes.grasps.grasp_trials import FINGERS, add_hand

JOINTS = ("shoulder_pan_joint", "shoulder_lift_joint", "elbow_joint", "wrist_1_joint", "wrist_2_joint", "wrist_3_joint")
LINKS = ("shoulder_link", "upper_arm_link", "forearm_link", "wrist_1_link", "wrist_2_link", "wrist_3_link")
A = np.array([0, -0.425, -0.3922, 0, 0, 0])  # m
D = np.array([0.1625, 0, 0, 0.1333, 0.0997, 0.0996])  # m
ALPHA = np.array([np.pi / 2, 0, 0, np.pi / 2, -np.pi / 2, 0])
# The elbow's is half of the manual's, as in ur_description: beyond it the arm meets itself.
LIMITS = np.array([2 * np.pi, 2 * np.pi, np.pi, 2 * np.pi, 2 * np.pi, 2 * np.pi])  # rad, to both sides
MAX_SPEED = np.pi  # rad/s, of all joints
MAX_TORQUE = np.array([150.0, 150.0, 150.0, 28.0, 28.0, 28.0])  # N m
MASS = np.array([3.761, 8.058, 2.846, 1.37, 1.3, 0.365])  # kg
# Centres of mass in the frame at each link's end, m.
CENTRE = np.array(
    [
        [0, -0.02561, 0.00193],
        [0.2125, 0, 0.11336],
        [0.15, 0, 0.0265],
        [0, -0.0018, 0.01634],
        [0, 0.0018, 0.01634],
        [0, 0, -0.001159],
    ]
)
# Capsules (from, to, radius), m, that bound the casings, in the frame before each joint, turned by it, z its axis.
CAPSULES = (
    (((0, 0, 0.13), (0, 0, 0.17), 0.062), ((0, 0, 0.1625), (0, -0.07, 0.1625), 0.060)),
    (
        ((0, 0, 0.10), (0, 0, 0.14), 0.060),
        ((0, 0, 0.138), (-0.425, 0, 0.138), 0.056),
        ((-0.425, 0, 0.10), (-0.425, 0, 0.14), 0.056),
    ),
    (((0, 0, 0.007), (0, 0, 0.04), 0.055), ((0, 0, 0.007), (-0.3922, 0, 0.007), 0.045)),
    (((0, 0, 0.03), (0, 0, 0.0983), 0.047),),
    (((0, 0, 0), (0, 0, 0.0647), 0.047),),
    (((0, 0, 0.04), (0, 0, 0.062), 0.0375),),
)
HOME = np.array([2.36, -2.0, 2.0, -np.pi / 2, -np.pi / 2, 0.0])  # rad; behind its base, out of the camera's view
BASE_HEIGHT = 0.08  # m, of the foot
FINGER_MASS = 0.1  # kg, as in `add_hand`
GRIPPER_MASS = 1.025 - 2 * FINGER_MASS  # kg: of a 2F-140 as its manual says
STIFFNESS = np.array([4000.0, 4000.0, 4000.0, 1500.0, 1000.0, 500.0])  # N m/rad of the position servos
DAMPING = STIFFNESS / 20  # N m s/rad; one time for all joints, so that the arm lags behind on its path, not beside it
FINGER_ARMATURE = 1.0  # kg: of the motor, through its gear
GRIP_STIFFNESS, GRIP_DAMPING = 3000.0, 100.0  # N/m, N s/m
FINGER_SPEED = 0.1  # m/s; the 2F-140's opening changes by 0.03 to 0.25 m/s
GRIP_REACH = 0.05  # m past closed that fingers are sent, so that they press with all force


def dh_matrix(joint: int, angle: float) -> np.ndarray:
    """Transform 4x4 from the frame before `joint` (0 to 5) to the one after it, at `angle` rad."""
    c, s, ca, sa = np.cos(angle), np.sin(angle), np.cos(ALPHA[joint]), np.sin(ALPHA[joint])
    a, d = A[joint], D[joint]
    return np.array([[c, -s * ca, s * sa, a * c], [s, c * ca, -c * sa, a * s], [0, sa, ca, d], [0, 0, 0, 1.0]])


def add_robot(
    spec: mujoco.MjSpec, gripper: Gripper, base: np.ndarray, friction: float, force: float, prefix: str = ""
) -> None:
    """Adds the arm and its gripper; names begin with `prefix`, so that there can be two.

    base: world_from_base_link 4x4, m. gripper: with fingers that slide straight, as `parallel_140`. friction: of the
    pads; force: of each finger, N. Sites base_link, tool0 and gripper_tip show the frames. Actuators take positions:
    those named as JOINTS rad, those named as FINGERS half of the opening, m.
    """
    body = spec.worldbody.add_body(name=f"{prefix}base_link", **_place(base), gravcomp=1)
    body.add_site(name=f"{prefix}base_link")
    dark, light = [0.25, 0.27, 0.3, 1], [0.75, 0.77, 0.8, 1]
    body.add_geom(
        type=mujoco.mjtGeom.mjGEOM_CYLINDER, fromto=[0, 0, 0, 0, 0, BASE_HEIGHT], size=[0.075, 0, 0], rgba=dark
    )
    pose = np.diag([-1.0, -1, 1, 1])  # base_link_from_base
    foot = body
    for joint, (name, link) in enumerate(zip(JOINTS, LINKS, strict=True)):
        body = body.add_body(
            name=prefix + link,
            **_place(pose),
            gravcomp=1,
            mass=MASS[joint],
            explicitinertial=True,
            ipos=(dh_matrix(joint, 0) @ [*CENTRE[joint], 1])[:3],
            inertia=np.full(3, MASS[joint] * 0.05**2),
        )
        limit = LIMITS[joint]
        body.add_joint(
            name=prefix + name,
            type=mujoco.mjtJoint.mjJNT_HINGE,
            axis=[0, 0, 1],
            range=np.degrees([-limit, limit]),  # as specs have angles by default
            limited=mujoco.mjtLimited.mjLIMITED_TRUE,
            armature=0.1,
        )
        for k, (start, end, radius) in enumerate(CAPSULES[joint]):
            body.add_geom(
                type=mujoco.mjtGeom.mjGEOM_CAPSULE,
                fromto=[*start, *end],
                size=[radius, 0, 0],
                mass=0,
                rgba=light if k else [0.35, 0.55, 0.75, 1],
            )
        servo = spec.add_actuator(
            name=prefix + name,
            target=prefix + name,
            trntype=mujoco.mjtTrn.mjTRN_JOINT,
            forcelimited=True,
            forcerange=[-MAX_TORQUE[joint], MAX_TORQUE[joint]],
            biastype=mujoco.mjtBias.mjBIAS_AFFINE,
        )
        servo.gainprm[0] = STIFFNESS[joint]
        servo.biasprm[1:3] = [-STIFFNESS[joint], -DAMPING[joint]]
        pose = dh_matrix(joint, 0)
    spec.add_exclude(bodyname1=foot.name, bodyname2=f"{prefix}{LINKS[0]}")  # MuJoCo leaves out only moving parents
    _add_gripper(spec, body, pose, gripper, friction, force, prefix)


def _add_gripper(
    spec: mujoco.MjSpec,
    wrist: mujoco.MjsBody,
    wrist_from_tool: np.ndarray,
    gripper: Gripper,
    friction: float,
    force: float,
    prefix: str,
) -> None:
    tool = wrist.add_body(name=f"{prefix}tool0", **_place(wrist_from_tool), gravcomp=1)
    tool.add_site(name=f"{prefix}tool0")
    tool_from_tip = gripper.tool_from_tip([gripper.max_width])[0]
    adapter = np.linalg.norm(tool_from_tip[:3, 3]) - gripper.finger_depth - sum(box[0] for box in gripper.body)
    tool.add_geom(
        type=mujoco.mjtGeom.mjGEOM_CYLINDER,
        fromto=[0, 0, 0, 0, 0, adapter],
        size=[0.0375, 0, 0],
        mass=0.1,
        rgba=[0.2, 0.2, 0.22, 1],
    )
    tip = tool.add_body(name=f"{prefix}gripper_tip", **_place(tool_from_tip), gravcomp=1)
    tip.add_site(name=f"{prefix}gripper_tip")
    add_hand(spec, tip, gripper, friction, prefix)
    boxes = list(tip.geoms)
    for box in boxes:
        box.mass, box.rgba = GRIPPER_MASS / len(boxes), [0.3, 0.31, 0.34, 1]
    for name in FINGERS:
        finger = spec.body(prefix + name)
        finger.gravcomp = 1
        spec.joint(prefix + name).armature = FINGER_ARMATURE
        finger.geoms[0].rgba = [0.85, 0.5, 0.15, 1]  # to be seen
        servo = spec.add_actuator(
            name=prefix + name,
            target=prefix + name,
            trntype=mujoco.mjtTrn.mjTRN_JOINT,
            forcelimited=True,
            forcerange=[-force, force],
            biastype=mujoco.mjtBias.mjBIAS_AFFINE,
        )
        servo.gainprm[0], servo.biasprm[1:3] = GRIP_STIFFNESS, [-GRIP_STIFFNESS, -GRIP_DAMPING]


def _place(pose: np.ndarray) -> dict:
    return {"pos": pose[:3, 3], "quat": Rotation.from_matrix(pose[:3, :3]).as_quat(scalar_first=True)}
