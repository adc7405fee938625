# SPDX-License-Identifier: Apache-2.0
"""What one frame tells a map: what stands on the table, in the world, as instances; and what its depth shows of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import minimum_filter

from dropclip_ros.base.arrays import to_numpy
from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.grounding.pipeline import EncodedScene
from dropclip_ros.mapping.grid import GONE, HIDDEN, SEEN
from dropclip_ros.tabletop.table import find_table
from dropclip_ros.tabletop.workspace import Workspace
from dropclip_ros.vision.geometry import (
    Intrinsics,
    RgbdFrame,
    backproject,
    invert_pose,
    project,
    transform_points,
)


@dataclass(frozen=True, eq=False)
class MapFrame:
    """One frame of a camera whose pose is known.

    stamp: s. frame: with `camera_pose`, world_from_camera. plane (4,): the table's in the world, n.p + d, None where
    it is not seen. points (N,3) m in the world, colors (N,3) uint8, labels (N,) the instance 1..K of each point, 0 for
    specks. scene: what was encoded, None where nothing stands on the table.
    """

    stamp: float
    frame: RgbdFrame
    plane: np.ndarray | None
    points: np.ndarray
    colors: np.ndarray
    labels: np.ndarray
    scene: EncodedScene | None = None

    @property
    def pose(self) -> np.ndarray:
        """world_from_camera (4,4)."""
        assert self.frame.camera_pose is not None  # `_posed` has seen to it
        return self.frame.camera_pose

    @classmethod
    def of_encoded(cls, scene: EncodedScene, stamp: float | None = None) -> MapFrame:
        """An encoded frame; stamp: its own by default. Raises TF_ERROR where its pose is not known."""
        pose = _posed(scene.frame)
        plane = _in_world(scene.table.plane, pose) if scene.table.seen else None
        points = transform_points(pose, scene.points).astype(np.float32)
        labels = scene.instances[scene.voxels.point_to_voxel]
        return cls(
            scene.frame.stamp if stamp is None else stamp, scene.frame, plane, points, scene.colors, labels, scene
        )

    @classmethod
    def of_nothing(cls, frame: RgbdFrame, stamp: float | None = None, workspace: Workspace = Workspace()) -> MapFrame:
        """A frame in which nothing stands on the table (EMPTY_SCENE). Raises TF_ERROR, BAD_FRAME or NO_TABLE."""
        pose = _posed(frame)
        points, _ = backproject(frame.depth, frame.intrinsics, workspace.near, workspace.far)
        table = find_table(points, workspace.search, pose[2, :3])
        none = np.zeros((0, 3), np.float32)
        return cls(
            frame.stamp if stamp is None else stamp,
            frame,
            _in_world(table.plane, pose),
            none,
            none.astype(np.uint8),
            np.zeros(0, np.int64),
        )


def _posed(frame: RgbdFrame) -> np.ndarray:
    if frame.camera_pose is None:
        raise DropclipError(
            Status.TF_ERROR,
            "the frame comes without its camera's pose, and a map is made of places: expected world_from_camera "
            "(the node's world_frame and TF)",
        )
    return frame.camera_pose


def _in_world(plane: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """A plane (4,) of the camera frame in the world."""
    normal = pose[:3, :3] @ plane[:3]
    return np.append(normal, plane[3] - normal @ pose[:3, 3])


def without_body(frame: RgbdFrame, body: np.ndarray) -> RgbdFrame:
    """The frame without the depth of the robot's own body: `body` (H,W) bool, of the depth's size. BAD_FRAME."""
    if body.shape != frame.depth.shape:
        raise DropclipError(
            Status.BAD_FRAME,
            f"the mask of the robot's body is {body.shape[::-1]} (width, height), the frame "
            f"{frame.depth.shape[::-1]}; expected the same",
        )
    return replace(frame, depth=np.where(body, np.float32(0), frame.depth))


def body_of_spheres(frame: RgbdFrame, centres: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Pixels (H,W) bool that show a robot whose links are spheres: centres (S,3) m in the camera frame, radii (S,) m
    with what they may be off. What is nearer than a sphere's back, within its outline, is the body."""
    points, pixels = backproject(frame.depth, frame.intrinsics, 0.0, np.inf)
    points, body = to_numpy(points), np.zeros(frame.depth.size, bool)
    for centre, radius in zip(np.asarray(centres, float), np.asarray(radii, float), strict=True):
        body[pixels[((points - centre.astype(np.float32)) ** 2).sum(1) <= radius**2]] = True
    return body.reshape(frame.depth.shape)


class Sight:
    """What a depth image says of places in the world.

    slack: m, of depths that are the same; behind: m, from which on what is seen instead is behind; rim: m around.
    """

    def __init__(self, frame: MapFrame, slack: float, behind: float, rim: float) -> None:
        self._camera: Intrinsics = frame.frame.intrinsics
        self._camera_from_world = invert_pose(frame.pose)
        depth = frame.frame.depth
        known = depth > 0
        self._depth = np.where(known, depth, np.nan).astype(np.float32)
        typical = float(np.median(depth[known])) if known.any() else 1.0
        reach = int(np.ceil(rim * self._camera.fx / typical))
        # the nearest around: a place is only seen through where all around it is; unknown depths say nothing
        self._nearest = minimum_filter(np.where(known, depth, np.inf).astype(np.float32), 2 * reach + 1)
        self._slack, self._behind = slack, behind

    def of(self, places: np.ndarray) -> np.ndarray:
        """GONE, HIDDEN or SEEN of each place (M,3) m, world: (M,) int8."""
        said = np.full(len(places), HIDDEN, np.int8)
        if not len(places):
            return said
        pixels, z = project(transform_points(self._camera_from_world, places), self._camera)
        inside = z > 0
        column = np.round(np.where(inside, pixels[:, 0], -1)).astype(np.int64)
        row = np.round(np.where(inside, pixels[:, 1], -1)).astype(np.int64)
        inside &= (column >= 0) & (column < self._camera.width) & (row >= 0) & (row < self._camera.height)
        column, row = np.where(inside, column, 0), np.where(inside, row, 0)
        depth, nearest = self._depth[row, column], self._nearest[row, column]
        said[inside & (np.abs(depth - z) <= self._slack)] = SEEN
        said[inside & ~np.isnan(depth) & (nearest > z + self._behind) & (said != SEEN)] = GONE
        # thin things: the table close behind them is within the slack, but all of it is behind
        said[inside & (depth > z + self._behind) & (nearest > z + self._behind)] = GONE
        return said
