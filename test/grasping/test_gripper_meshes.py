# SPDX-License-Identifier: Apache-2.0
"""The profile of the 2F-140 beside the collision meshes of its ROS description, where those are."""

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dropclip_ros.grasping.grippers import GRIPPERS, ROBOTIQ_2F_140

MESHES = Path(__file__).parents[3] / "shared/data/robots/robotiq_picknik/robotiq_description/meshes/collision/2f_140"
PAD = np.array([[x, y, z] for x in (-0.0135, 0.0135) for y in (-0.0325, 0.0325) for z in (-0.00375, 0.00375)])
BENT = np.pi / 2 + 0.725  # rad, of the knuckles where the hand is open


def place(xyz, rpy=(0.0, 0.0, 0.0), turn: float = 0.0) -> np.ndarray:
    """A joint's frame in its parent's, turned about x."""
    pose = np.eye(4)
    pose[:3, :3] = (Rotation.from_euler("xyz", rpy) * Rotation.from_rotvec([turn, 0, 0])).as_matrix()
    pose[:3, 3] = xyz
    return pose


def links(q: float) -> dict[str, np.ndarray]:
    """base_from_link (4, 4) of the left side at a finger joint's angle, rad: the joint origins of the description."""
    knuckle = place((0, -0.030601, 0.054905), (BENT, 0, 0), -q)
    finger = knuckle @ place((0, 0.01821998610742, 0.0260018192872234))
    inner = finger @ place((0, 0.0817554015893473, -0.0282203446692936), (-0.725, 0, 0), q)
    return {
        "outer_knuckle": knuckle,
        "outer_finger": finger,
        "inner_finger": inner,
        "inner_knuckle": place((0, -0.0127, 0.06142), (BENT, 0, 0), -q),
        "pad": inner @ place((0, 0.0457554015893473, -0.0272203446692936)),
    }


def surface(q: float) -> tuple[np.ndarray, float]:
    """Points (N, 3) of the left side without the fingers' last 60 mm, behind the tips and from the middle; opening."""
    trimesh = pytest.importorskip("trimesh")
    poses, clouds = links(q), []
    for name in ("outer_knuckle", "outer_finger", "inner_finger", "inner_knuckle"):
        mesh = trimesh.load(MESHES / f"robotiq_2f_140_{name}.stl").convex_hull
        points = np.concatenate([mesh.vertices, trimesh.sample.sample_surface(mesh, 2000, seed=0)[0]])
        clouds.append(points @ poses[name][:3, :3].T + poses[name][:3, 3])
    pad = PAD @ poses["pad"][:3, :3].T + poses["pad"][:3, 3]
    found = np.concatenate(clouds)
    return np.stack([pad[:, 2].max() - found[:, 2], -found[:, 1], np.abs(found[:, 0])], axis=1), -2 * pad[:, 1].max()


@pytest.mark.parametrize("q", [0.0, 0.1, 0.2, 0.35, 0.5, 0.6, 0.69])
@pytest.mark.skipif(not MESHES.is_dir(), reason="the collision meshes of the 2F-140 are not here")
def test_linkage_and_knuckles_lie_in_the_profiles_boxes_at_every_opening(q):
    points, opening = surface(q)
    # the stroke is the manufacturer's, 140 mm; the description's pads are thicker than those
    opening *= ROBOTIQ_2F_140.max_width / surface(0.0)[1]
    parts = ROBOTIQ_2F_140.parts(np.array([max(opening, 0.0)]))[0]
    for x0, x1, _, y1, z1 in parts[1:3]:
        inside = (-points[:, 0] >= x0) & (-points[:, 0] < x1)
        assert points[inside, 1].max() <= y1 + 0.002, opening
        assert points[inside, 2].max() <= z1 + 0.002
    assert points[:, 0].max() < ROBOTIQ_2F_140.finger_depth + sum(box[0] for box in ROBOTIQ_2F_140.body)


def test_a_linkage_narrows_as_the_hand_closes():
    for name in ("robotiq_2f_140", "parallel_140"):
        parts = GRIPPERS[name].parts(np.array([0.14, 0.07, 0.0]))[:, 1:]
        assert (np.diff(parts[:, 0, 3]) < 0).all() and (np.diff(parts[:, 2, 3]) == 0).all()
