# SPDX-License-Identifier: Apache-2.0
"""Where a depth image shows a gripper, near where TF has it: what is off is the camera's place, or the arm's."""

from dataclasses import dataclass

import numpy as np

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.base.shapes import read_surface
from dropclip_ros.grasping.grippers import Gripper
from dropclip_ros.vision.geometry import Intrinsics, backproject, project, transform_points

_STEP = 0.003  # m, between samples of a surface
_MARGIN = 0.10  # m around where it is expected, in which it is looked for
_STARTS = np.array(np.meshgrid(*[(-0.06, -0.03, 0.0, 0.03, 0.06)] * 2, (-0.03, 0.0, 0.03))).reshape(3, -1).T
_CLOSE = 0.006  # m: a sample of the surface with a point so near is found
_HIDDEN = 0.008  # m behind the nearest sample of its cell of pixels: not seen
_CELL = 4  # pixels


@dataclass(frozen=True)
class Seen:
    """camera_from_seen (4, 4): where the hand's tool frame, or a marker, is seen; the share of its visible surface that
    was found, and the root mean square of what is left, m."""

    pose: np.ndarray
    found: float
    rms: float


def hand_surface(gripper: Gripper, width: float) -> tuple[np.ndarray, np.ndarray]:
    """Points (N, 3) m and unit normals (N, 3) of a gripper's boxes opened by `width` m, in its tool frame."""
    tool_from_tip = gripper.tool_from_tip(np.array([width]))[0]
    points, normals = [], []
    for x0, x1, y0, y1, z in gripper.parts(np.array([width]))[0]:
        sides = [(y0, y1), (-y1, -y0)] if y0 > 0 else [(-y1, y1)]
        for low, high in sides:
            some, out = _box_surface(np.array([x0, low, -z]), np.array([x1, high, z]))
            points.append(some)
            normals.append(out)
    return transform_points(tool_from_tip, np.concatenate(points)), np.concatenate(normals) @ tool_from_tip[:3, :3].T


def mesh_surface(path: str) -> tuple[np.ndarray, np.ndarray]:
    """The same of a mesh file (.stl, .ply, .obj, m) in the frame of the link. BAD_REQUEST where it cannot be read."""
    import open3d

    try:
        mesh = read_surface(path)
    except OSError as error:
        raise DropclipError(Status.BAD_REQUEST, f"{path}: {error.strerror}: expected .stl, .ply or .obj") from error
    if not len(mesh.triangles) or not np.isfinite(np.asarray(mesh.vertices)).all():
        raise DropclipError(Status.BAD_REQUEST, f"{path} holds no mesh: expected .stl, .ply or .obj, in metres")
    mesh.compute_vertex_normals()
    open3d.utility.random.seed(0)
    cloud = mesh.sample_points_uniformly(int(np.clip(mesh.get_surface_area() / _STEP**2, 1000, 50_000)))
    return np.asarray(cloud.points), np.asarray(cloud.normals)


def find_hand(
    surface: tuple[np.ndarray, np.ndarray],
    depth: np.ndarray,
    intrinsics: Intrinsics,
    camera_from_tool: np.ndarray,
) -> Seen:
    """Where `surface` (points and normals in the tool frame) is seen in a depth image (H, W) m, near camera_from_tool.

    Point to plane ICP of what of the surface is visible, from several places around. TARGET_UNSEEN where less than half
    of it is found.
    """
    import open3d

    points = np.asarray(backproject(depth, intrinsics)[0])
    visible = _visible(surface, intrinsics, camera_from_tool)
    if len(visible) < 50:
        raise DropclipError(Status.TARGET_UNSEEN, "by TF the hand is outside the camera's view: move the arm into it")
    low, high = visible.min(axis=0) - _MARGIN, visible.max(axis=0) + _MARGIN
    points = points[((points > low) & (points < high)).all(axis=1)].astype(np.float64)
    if len(points) < 50:
        raise DropclipError(Status.TARGET_UNSEEN, "there is no depth where the hand should be: is it too near?")
    target = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(points)).voxel_down_sample(_STEP / 2)
    target.estimate_normals(open3d.geometry.KDTreeSearchParamHybrid(0.01, 20))
    target.orient_normals_towards_camera_location(np.zeros(3))

    def fitted(source: np.ndarray, start: np.ndarray, *distances: float):
        registration = open3d.pipelines.registration
        cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(source))
        for distance in distances:
            loss = registration.TukeyLoss(distance)
            method = registration.TransformationEstimationPointToPlane(loss)
            rounds = registration.ICPConvergenceCriteria(max_iteration=20)
            start = registration.registration_icp(cloud, target, distance, start, method, rounds).transformation
        return registration.evaluate_registration(cloud, target, _CLOSE, start)

    coarse = visible[:: max(1, len(visible) // 400)]
    starts = [fitted(coarse, _shift(by), 0.04, 0.015) for by in _STARTS]
    best = sorted(starts, key=lambda fit: -fit.fitness)[:3]
    fit = max(
        (fitted(visible, one.transformation, 0.015, _CLOSE) for one in best),
        key=lambda fit: (round(fit.fitness, 2), -fit.inlier_rmse),
    )
    if fit.fitness < 0.5:
        raise DropclipError(
            Status.TARGET_UNSEEN,
            f"only {100 * fit.fitness:.0f} % of the hand's surface are seen within {1000 * _MARGIN:.0f} mm of where TF "
            "has it: is it this gripper, opened so far, in free air?",
        )
    return Seen(fit.transformation @ camera_from_tool, float(fit.fitness), float(fit.inlier_rmse))


def _shift(by: np.ndarray) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, 3] = by
    return pose


def _box_surface(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Samples of a box's six faces, and their normals."""
    points, normals = [], []
    for axis in range(3):
        others = [i for i in range(3) if i != axis]
        grids = [np.linspace(low[i], high[i], max(2, int((high[i] - low[i]) / _STEP) + 1)) for i in others]
        first, second = (grid.ravel() for grid in np.meshgrid(*grids))
        for side, sign in ((low, -1.0), (high, 1.0)):
            face = np.empty((len(first), 3))
            face[:, others[0]], face[:, others[1]], face[:, axis] = first, second, side[axis]
            points.append(face)
            normals.append(np.tile(sign * np.eye(3)[axis], (len(first), 1)))
    return np.concatenate(points), np.concatenate(normals)


def _visible(surface: tuple[np.ndarray, np.ndarray], intrinsics: Intrinsics, camera_from_tool: np.ndarray):
    """The samples (M, 3) that the camera sees where the hand is by TF, in its frame: they face it, nothing of the hand
    is before them, and they are in the image."""
    points = transform_points(camera_from_tool, surface[0])
    facing = (points * (surface[1] @ camera_from_tool[:3, :3].T)).sum(axis=1) < 0
    pixels, z = project(points, intrinsics)
    inside = (z > 0) & (pixels > 0).all(axis=1) & (pixels < (intrinsics.width, intrinsics.height)).all(axis=1)
    cells = np.zeros(len(points), np.int64)
    cells[inside] = (pixels[inside] // _CELL).astype(np.int64) @ (1, intrinsics.width // _CELL + 1)
    nearest = np.full(int(cells.max(initial=0)) + 1, np.inf)
    np.minimum.at(nearest, cells[inside], z[inside])
    return points[inside & facing & (z < nearest[cells] + _HIDDEN)]
