# SPDX-License-Identifier: Apache-2.0
"""Grasp rows, gripper collision, suppression, and the antipodal sampler on ray-cast scenes and real ones."""

import logging

import numpy as np
import open3d as o3d
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.grasping.antipodal import AntipodalConfig, sample_antipodal
from dropclip_ros.grasping.grasps import (
    Grasps,
    colliding,
    fill_down,
    height_above,
    suppress,
    thin_cloud,
)
from dropclip_ros.grasping.grippers import GRIPPERS, ROBOTIQ_2F_140, Gripper
from dropclip_ros.vision.geometry import Intrinsics, backproject, decode_depth

CAMERA = Intrinsics(525.0, 525.0, 319.5, 239.5, 640, 480)


def random_rows(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rotation = Rotation.random(count, rng=rng).as_matrix().reshape(count, 9)
    return np.column_stack(
        [
            rng.random(count),
            0.1 * rng.random(count),
            np.full(count, 0.02),
            0.04 * rng.random(count),
            rotation,
            rng.normal(size=(count, 3)),
            np.arange(count),
        ]
    )


def grasp_at(tip, rotation=None, width=0.06, depth=0.02, score=1.0) -> Grasps:
    rotation = np.eye(3) if rotation is None else rotation
    centre = np.asarray(tip, dtype=float) - depth * rotation[:, 0]
    return Grasps(*(np.array([v]) for v in (score, width, 0.03, depth)), rotation[None], centre[None], np.array([-1]))


def look_down(angle: float = 0.9, distance: float = 0.8) -> np.ndarray:
    """camera_from_table: a camera `distance` from the table's origin, `angle` above the horizon."""
    eye = distance * np.array([0.0, -np.cos(angle), np.sin(angle)])
    forward = -eye / np.linalg.norm(eye)
    right = np.array([1.0, 0.0, 0.0])
    rotation = np.stack([right, np.cross(forward, right), forward])
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation, -rotation @ eye
    return pose


def view(meshes: list, pose: np.ndarray, noise: float = 0.0005):
    """Object points, their mesh's number, and the table's plane, as the camera sees them over the table z = 0."""
    scene = o3d.t.geometry.RaycastingScene()
    ground = o3d.geometry.TriangleMesh.create_box(3, 3, 0.01).translate((-1.5, -1.5, -0.01))
    for mesh in (ground, *meshes):
        scene.add_triangles(o3d.t.geometry.TriangleMesh.from_legacy(mesh))
    rays = scene.create_rays_pinhole(CAMERA.matrix, pose, CAMERA.width, CAMERA.height)
    hit = scene.cast_rays(rays)
    rays, distance = rays.numpy().reshape(-1, 6), hit["t_hit"].numpy().ravel()
    number = hit["geometry_ids"].numpy().ravel()
    seen = np.isfinite(distance)
    distance = distance + np.random.default_rng(0).normal(0, noise, len(distance))
    points = rays[seen, :3] + distance[seen, None] * rays[seen, 3:]
    points = points @ pose[:3, :3].T + pose[:3, 3]
    normal = pose[:3, 2]
    plane = np.array([*normal, -normal @ pose[:3, 3]])
    number = number[seen].astype(int) - 1
    on_table = (number >= 0) & (points @ normal + plane[3] > 0.004)
    return points[on_table], number[on_table], plane


def box(x, y, z, at=(0, 0), yaw=0.0):
    mesh = o3d.geometry.TriangleMesh.create_box(x, y, z).translate((-x / 2, -y / 2, 0))
    return mesh.rotate(Rotation.from_euler("z", yaw).as_matrix(), center=(0, 0, 0)).translate((*at, 0))


def cylinder(radius, height, at=(0, 0)):
    return o3d.geometry.TriangleMesh.create_cylinder(radius, height, 40).translate((*at, height / 2))


def sphere(radius, at=(0, 0)):
    return o3d.geometry.TriangleMesh.create_sphere(radius, 30).translate((*at, radius))


@pytest.fixture(scope="module")
def tabletop():
    """Eight objects that stand apart; all can be grasped but the last, which is too wide."""
    meshes = [
        box(0.06, 0.12, 0.10, (-0.24, 0.0), 0.4),
        box(0.04, 0.04, 0.15, (-0.08, -0.15)),
        cylinder(0.033, 0.12, (0.10, -0.12)),
        sphere(0.035, (0.0, 0.02)),
        cylinder(0.02, 0.10, (0.24, -0.05)),
        box(0.10, 0.05, 0.04, (-0.2, -0.2), -0.5),
        sphere(0.045, (0.15, 0.08)),
        box(0.22, 0.2, 0.06, (-0.05, 0.25)),
    ]
    points, number, plane = view(meshes, look_down())
    return meshes, points, number, plane, sample_antipodal(points, table=plane)


def owner(grasps, points, number):
    """Number of the object nearest to the middle between the fingertips."""
    return number[cKDTree(points).query(grasps.tips() - 0.01 * grasps.approach)[1]]


# --- rows ---------------------------------------------------------------------------------------------------------


def test_rows_survive_a_round_trip():
    rows = random_rows(7)
    np.testing.assert_allclose(Grasps.from_rows(rows).rows(), rows)
    assert len(Grasps.empty()) == 0 and Grasps.empty().rows().shape == (0, 17)


@pytest.mark.parametrize(
    ("column", "value", "fault"),
    [(0, np.nan, "not finite"), (14, np.inf, "not finite"), (1, -0.01, "negative width"), (4, 3.0, "not orthonormal")],
)
def test_a_bad_row_is_named_or_dropped_and_counted(column, value, fault, caplog):
    rows = random_rows(5)
    rows[3, column] = value
    with pytest.raises(DropclipError, match=f"row 3 .*{fault}") as caught:
        Grasps.from_rows(rows)
    assert caught.value.status == Status.BAD_REQUEST
    with caplog.at_level(logging.WARNING):
        kept = Grasps.from_rows(rows, strict=False)
    assert kept.object_id.tolist() == [0, 1, 2, 4]
    assert "1 with" in caplog.text and fault in caplog.text


def test_a_left_handed_rotation_is_refused():
    rows = random_rows(2)
    rows[1, 4:13] = np.diag([1.0, 1.0, -1.0]).ravel()
    with pytest.raises(DropclipError, match="left-handed"):
        Grasps.from_rows(rows)


def test_rows_of_another_length_are_refused():
    with pytest.raises(DropclipError, match=r"\(4, 16\)"):
        Grasps.from_rows(np.zeros((4, 16)))


def test_indexing_keeps_grasps_whole():
    grasps = Grasps.from_rows(random_rows(6))
    assert grasps[np.arange(6) % 2 == 0].object_id.tolist() == [0, 2, 4]
    assert grasps[[5, 1]].object_id.tolist() == [5, 1]
    assert grasps[3].rotation.shape == (1, 3, 3) and len(grasps[:2]) == 2


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**31))
def test_tips_and_poses_move_with_the_grasps(seed):
    grasps = Grasps.from_rows(random_rows(4, seed))
    move = np.eye(4)
    move[:3, :3] = Rotation.random(rng=np.random.default_rng(seed)).as_matrix()
    move[:3, 3] = (0.3, -2.0, 0.7)
    moved = grasps.transformed(move)
    np.testing.assert_allclose(moved.poses(), move @ grasps.poses(), atol=1e-9)
    np.testing.assert_allclose(moved.tips(), grasps.tips() @ move[:3, :3].T + move[:3, 3], atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(grasps.tips() - grasps.translation, axis=1), grasps.depth, atol=1e-9)


# --- the gripper --------------------------------------------------------------------------------------------------


def test_gripper_refuses_nonsense():
    with pytest.raises(ValueError, match="max_width"):
        Gripper("none", -1.0, 0.05, 0.02, 0.01, ())


@pytest.mark.parametrize(
    ("point", "hit"),
    [
        ((-0.02, 0.04, 0.0), True),  # in a finger
        ((-0.02, -0.04, 0.0), True),  # in the other
        ((-0.02, 0.0, 0.0), False),  # between them: what is grasped
        ((0.01, 0.04, 0.0), False),  # beyond the tips
        ((-0.02, 0.04, 0.03), False),  # beside a finger
        ((-0.02, 0.06, 0.0), False),  # outside of a finger
        ((-0.10, 0.0, 0.0), True),  # in the body
        ((-0.40, 0.0, 0.0), False),
    ],
)  # behind it
def test_collision_knows_fingers_and_body_from_the_space_between(point, hit):
    grasp = grasp_at((0.1, 0.2, 0.9), Rotation.from_euler("xyz", (0.3, -1.0, 2.0)).as_matrix())
    cloud = grasp.tips() + np.array([point]) @ grasp.rotation[0].T
    assert colliding(grasp, cloud).tolist() == [hit]


def test_nothing_collides_with_an_empty_cloud():
    assert not colliding(Grasps.from_rows(random_rows(3)), np.zeros((0, 3))).any()


def test_height_above_the_table_is_that_of_the_lowest_corner():
    down = np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])  # approach -z
    table = np.array([0.0, 0.0, 1.0, 0.0])
    assert height_above(grasp_at((0, 0, 0.02), down), table)[0] == pytest.approx(0.02)
    sideways = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # closing along the table's normal
    low = 0.3 - ROBOTIQ_2F_140.parts(np.array([0.06]))[0, :, 3].max()
    assert height_above(grasp_at((0, 0, 0.3), sideways), table)[0] == pytest.approx(low)


def test_suppression_keeps_the_best_of_each_place_and_knows_the_half_turn():
    turned = np.diag([1.0, -1.0, -1.0])
    rolled = Rotation.from_euler("x", 1.2).as_matrix()
    parts = [
        grasp_at((0, 0, 0), score=0.5),
        grasp_at((0.005, 0, 0), score=0.9),
        grasp_at((0, 0, 0.004), turned, score=0.7),
        grasp_at((0.1, 0, 0), score=0.2),
        grasp_at((0, 0, 0), rolled, score=0.4),
    ]
    grasps = Grasps.from_rows(np.concatenate([part.rows() for part in parts]))
    assert suppress(grasps).tolist() == [1, 4, 3]
    assert suppress(grasps, limit=1).tolist() == [1]


def test_thinning_keeps_one_real_point_for_each_voxel():
    points = np.random.default_rng(0).uniform(-0.05, 0.05, (5000, 3))
    kept = thin_cloud(points, 0.01)
    assert len(kept) == len(np.unique(np.floor(points / 0.01), axis=0)) == len(np.unique(kept))
    assert cKDTree(points[kept]).query(points)[0].max() < 0.01 * np.sqrt(3)


# --- the sampler --------------------------------------------------------------------------------------------------


def test_the_space_below_points_is_filled_down_to_the_table():
    table = np.array([0.0, 0.0, 1.0, -0.1])
    filled = fill_down(np.array([[0.0, 0.0, 0.154], [0.2, 0.0, 0.1]]), table, 0.01)
    column = np.sort(filled[filled[:, 0] < 0.1, 2])
    assert column[0] < 0.111 and column[-1] == 0.154 and np.diff(column).max() < 0.0101
    assert np.count_nonzero(filled[:, 0] > 0.1) == 1
    assert len(fill_down(np.zeros((3, 3)), None, 0.01)) == 1


def test_every_object_that_fits_is_grasped_and_none_that_does_not(tabletop):
    _, points, number, _, grasps = tabletop
    assert set(owner(grasps, points, number)) == set(range(7))
    assert (grasps.width <= ROBOTIQ_2F_140.max_width).all()
    assert (np.diff(grasps.score) <= 0).all() and (grasps.score > 0).all() and (grasps.score <= 1).all()


def test_fingers_keep_clear_of_what_is_seen_and_of_the_table(tabletop):
    _, points, _, plane, grasps = tabletop
    assert not colliding(grasps, points, allowed_points=3).any()  # thinned by another grid than the sampler's
    assert (height_above(grasps, plane) > 0).all()


def test_the_best_grasps_close_on_opposite_faces_of_the_true_shapes(tabletop):
    """Seen from the fingers, 5 mm of slack for the unseen back, the mesh lies between them and faces each of them."""
    meshes, points, number, _, grasps = tabletop
    pose, owners = look_down(), owner(grasps, points, number)
    for i in range(7):
        scene = o3d.t.geometry.RaycastingScene()
        scene.add_triangles(o3d.t.geometry.TriangleMesh.from_legacy(meshes[i]))
        best = grasps[int(np.flatnonzero(owners == i)[0])].transformed(np.linalg.inv(pose))
        middle, axis = best.tips()[0] - 0.005 * best.approach[0], best.rotation[0, :, 1]
        start = best.width[0] / 2 + 0.005
        starts = np.array([[*(middle + s * start * axis), *(-s * axis)] for s in (1, -1)], dtype=np.float32)
        hit = scene.cast_rays(o3d.core.Tensor(starts))
        assert (hit["t_hit"].numpy() < start).all(), f"object {i}: a finger closes on nothing"
        facing = np.abs((hit["primitive_normals"].numpy() * axis).sum(axis=1))
        assert (facing > np.cos(np.arctan(0.5)) - 0.05).all(), f"object {i}: contacts slip {facing}"


def test_the_sampler_is_deterministic_and_the_seed_matters(tabletop):
    _, points, _, plane, grasps = tabletop
    np.testing.assert_array_equal(sample_antipodal(points, table=plane).rows(), grasps.rows())
    assert not np.array_equal(sample_antipodal(points, AntipodalConfig(seed=1), table=plane).rows(), grasps.rows())


def test_labels_part_objects_that_touch():
    points, number, plane = view([box(0.06, 0.1, 0.1, (-0.03, 0)), box(0.06, 0.1, 0.1, (0.03, 0))], look_down())
    grasps = sample_antipodal(points, table=plane, labels=number + 10)
    assert set(grasps.object_id) == {10, 11}


def test_obstacles_are_avoided():
    points, _, plane = view([box(0.06, 0.12, 0.08)], look_down())
    free = sample_antipodal(points, table=plane)
    tip_side = free[0].tips()[0] + free.rotation[0, :, 1] * (free.width[0] / 2 + 0.008) - 0.01 * free.approach[0]
    again = sample_antipodal(points, table=plane, obstacles=tip_side[None])
    assert len(free) and not colliding(again, tip_side[None]).any()
    assert colliding(free[0], tip_side[None]).all()


def test_a_smaller_gripper_leaves_what_is_too_wide():
    points, _, plane = view([box(0.11, 0.11, 0.08)], look_down())
    assert len(sample_antipodal(points, table=plane)) > 0
    assert len(sample_antipodal(points, gripper=GRIPPERS["robotiq_2f_85"], table=plane)) == 0


def test_without_a_table_the_view_stands_for_down(tabletop):
    points = tabletop[1][tabletop[2] == 2]
    grasps = sample_antipodal(points)
    assert len(grasps) and (grasps.approach @ points.mean(axis=0) > 0).all()


@pytest.mark.parametrize("points", [np.zeros((0, 3)), np.full((100, 3), np.nan), np.ones((3, 3))])
def test_nothing_to_grasp_gives_no_grasps(points):
    assert len(sample_antipodal(points)) == 0


def test_config_names_what_is_wrong():
    with pytest.raises(ValueError, match="friction"):
        AntipodalConfig(friction=0)
    with pytest.raises(ValueError, match="reaches"):
        AntipodalConfig(reaches=())


def test_real_boxes_and_cups_are_grasped(shared_data):
    from PIL import Image

    depth = decode_depth(np.array(Image.open(shared_data / "osd/learn6_depth.png")), "mm")
    labels = np.array(Image.open(shared_data / "osd/learn6_label.png")).ravel()
    points, pixels = backproject(depth, CAMERA)
    labels = labels[pixels].astype(int)
    table = points[labels == 1].astype(float)
    normal = np.linalg.svd(table - table.mean(axis=0), full_matrices=False)[2][2]
    normal *= -np.sign(normal @ table.mean(axis=0))
    plane = np.array([*normal, -normal @ table.mean(axis=0)])
    objects = labels > 1
    grasps = sample_antipodal(points[objects], table=plane)
    assert set(owner(grasps, points[objects], labels[objects])) == set(labels[objects])
    assert grasps.score[0] > 0.6
