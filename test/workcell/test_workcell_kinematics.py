# SPDX-License-Identifier: Apache-2.0
"""The UR5e: its kinematics and limits against published numbers, and MuJoCo's arm against its kinematics."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from dropclip_ros.grasping.grippers import GRIPPERS

mujoco = pytest.importorskip("mujoco", reason="mujoco is not installed (extra train)")
pytest.importorskip("ur_analytic_ik", reason="ur_analytic_ik is not installed (extra sim)")

from training.workcell.kinematics import BASE, forward, inverse, nearest_turn, within_limits  # noqa: E402
from training.workcell.robot import JOINTS, LIMITS, LINKS, MAX_SPEED, MAX_TORQUE, add_robot, dh_matrix  # noqa: E402

angles = st.lists(st.floats(-np.pi, np.pi), min_size=6, max_size=6).map(np.array)


@settings(max_examples=50, deadline=None)
@given(angles)
def test_forward_kinematics_is_the_product_of_the_published_dh_matrices(joints):
    product = BASE
    for joint, angle in enumerate(joints):
        product = product @ dh_matrix(joint, angle)
    np.testing.assert_allclose(forward(joints), product, atol=1e-9)


@settings(max_examples=100, deadline=None)
@given(angles)
def test_inverse_kinematics_brings_the_tool_to_its_pose_and_misses_no_configuration(joints):
    singular = min(abs(np.sin(joints[2])), abs(np.sin(joints[4]))) < 0.05
    solutions = inverse(forward(joints))
    for solution in solutions:
        np.testing.assert_allclose(forward(solution), forward(joints), atol=1e-5)
    wrist = np.hypot(*(BASE @ forward(joints))[:2, 3])
    if not singular and wrist > 0.3:
        apart = np.abs((solutions - joints + np.pi) % (2 * np.pi) - np.pi).max(axis=1)
        assert apart.min() < 1e-4


def test_no_inverse_kinematics_out_of_reach():
    pose = np.eye(4)
    pose[0, 3] = 1.5
    assert inverse(pose).shape == (0, 6)


@given(angles, angles)
def test_the_nearest_turn_is_the_same_angle_within_limits(joints, near):
    turned = nearest_turn(joints, 1.9 * near)
    np.testing.assert_allclose(np.cos(turned), np.cos(joints), atol=1e-9)
    assert within_limits(turned)
    assert (np.abs(turned - 1.9 * near) <= np.abs(joints - 1.9 * near) + 1e-9).all()


def test_kinematics_and_limits_are_those_of_ur_description(shared_data):
    folder = Path(shared_data) / "robots" / "ur_description" / "config" / "ur5e"
    if not folder.is_dir():
        pytest.skip(f"ur_description is not at {folder}")

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_constructor("!degrees", lambda loader, node: np.radians(float(loader.construct_scalar(node))))
    offsets = yaml.load((folder / "default_kinematics.yaml").read_text(), Loader)["kinematics"]
    limits = yaml.load((folder / "joint_limits.yaml").read_text(), Loader)["joint_limits"]
    assert [limits[name]["max_position"] for name in JOINTS] == pytest.approx(LIMITS)
    assert [limits[name]["max_velocity"] for name in JOINTS] == pytest.approx([MAX_SPEED] * 6)
    assert [limits[name]["max_effort"] for name in JOINTS] == pytest.approx(MAX_TORQUE)
    joints = np.array([0.4, -1.3, 1.1, -0.7, -1.2, 2.2])
    pose = np.diag([-1.0, -1, 1, 1])  # base_link to base_link_inertia; wrist_3_link to tool0 is the identity
    for angle, name in zip(joints, ("shoulder", "upper_arm", "forearm", "wrist_1", "wrist_2", "wrist_3"), strict=True):
        at = offsets[name]
        origin, turn = np.eye(4), np.eye(4)
        origin[:3, :3] = Rotation.from_euler("xyz", [at["roll"], at["pitch"], at["yaw"]]).as_matrix()
        origin[:3, 3] = at["x"], at["y"], at["z"]
        turn[:3, :3] = Rotation.from_euler("z", angle).as_matrix()
        pose = pose @ origin @ turn
    np.testing.assert_allclose(forward(joints), pose, atol=1e-6)


def test_two_arms_of_the_simulator_stand_as_their_kinematics_say():
    spec, bases, gripper = mujoco.MjSpec(), {}, GRIPPERS["parallel_140"]
    for prefix, x, turn in (("", -0.5, 0.0), ("second_", 0.5, np.pi)):
        base = np.eye(4)
        base[:3, :3], base[0, 3] = Rotation.from_euler("z", turn).as_matrix(), x
        add_robot(spec, gripper, base, 0.8, 30.0, prefix)
        bases[prefix] = base
    model = spec.compile()
    data, joints = mujoco.MjData(model), np.array([0.3, -1.5, 1.7, -1.9, -1.4, 0.8])
    for prefix in bases:
        for name, angle in zip(JOINTS, joints, strict=True):
            data.joint(prefix + name).qpos[0] = angle
    mujoco.mj_kinematics(model, data)
    for prefix, base in bases.items():
        tool = base @ forward(joints)
        np.testing.assert_allclose(data.site(prefix + "tool0").xpos, tool[:3, 3], atol=1e-9)
        tip = tool @ gripper.tool_from_tip([0.14])[0]
        np.testing.assert_allclose(data.site(prefix + "gripper_tip").xpos, tip[:3, 3], atol=1e-9)
        np.testing.assert_allclose(data.site(prefix + "gripper_tip").xmat.reshape(3, 3), tip[:3, :3], atol=1e-9)


def test_the_arm_weighs_what_its_maker_says():
    spec = mujoco.MjSpec()
    add_robot(spec, GRIPPERS["parallel_140"], np.eye(4), 0.8, 30.0)
    model = spec.compile()
    assert sum(model.body(link).mass[0] for link in LINKS) == pytest.approx(17.7, abs=0.05)  # without its foot
