# SPDX-License-Identifier: Apache-2.0
"""How much of each object a view shows: its pixels over those it would have with nothing in front."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import open3d as o3d

from training.objects.spec import ObjectModel
from training.scenes.description import SceneDescription
from training.scenes.scene import View

RAYS = 1600  # for each object and view, about


class Visibility:
    """Casts rays at each object of a scene alone. models: of the objects, by name."""

    def __init__(self, description: SceneDescription, models: Mapping[str, ObjectModel]) -> None:
        self._objects: dict[int, tuple[np.ndarray, o3d.t.geometry.RaycastingScene]] = {}
        for placed in description.objects:
            model, pose = models[placed.name], placed.pose
            vertices = (placed.scale * model.vertices) @ pose[:3, :3].T + pose[:3, 3]
            alone = o3d.t.geometry.RaycastingScene()
            alone.add_triangles(vertices.astype(np.float32), model.faces.astype(np.uint32))
            self._objects[placed.label] = (vertices, alone)

    def of(self, view: View) -> dict[int, float]:
        """Visible fraction, in [0, 1], of each object that lies at least partly within the image."""
        fractions = {}
        for label in self._objects:
            rows, columns = self._cast(view, label, RAYS)
            if len(rows):
                fractions[label] = float((view.mask[rows, columns] == label).mean())
        return fractions

    def silhouette(self, view: View, label: int) -> np.ndarray:
        """Where the object would be seen (H,W) with nothing in front."""
        found = np.zeros(view.mask.shape, bool)
        found[self._cast(view, label)] = True
        return found

    def _cast(self, view: View, label: int, rays: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns of the pixels, or of about `rays` of them, that the object covers."""
        vertices, alone = self._objects[label]
        none = np.zeros((2, 0), int)
        rotation, eye = view.world_from_camera[:3, :3], view.world_from_camera[:3, 3]
        local = (vertices - eye) @ rotation
        if local[:, 2].min() <= 0:  # it reaches behind the camera: no box to search
            return tuple(none)
        pixels = local @ view.intrinsics.T
        pixels = pixels[:, :2] / pixels[:, 2:]
        height, width = view.mask.shape
        low = np.clip(np.floor(pixels.min(0)), 0, (width, height)).astype(int)
        high = np.clip(np.ceil(pixels.max(0)) + 1, 0, (width, height)).astype(int)
        if (high <= low).any():
            return tuple(none)
        step = max(1, int(np.sqrt(np.prod(high - low) / rays))) if rays else 1
        rows, columns = np.mgrid[low[1] : high[1] : step, low[0] : high[0] : step].reshape(2, -1)
        directions = np.column_stack([columns, rows, np.ones(len(rows))]) @ np.linalg.inv(view.intrinsics).T
        lines = np.column_stack([np.broadcast_to(eye, directions.shape), directions @ rotation.T]).astype(np.float32)
        hit = np.isfinite(alone.cast_rays(lines, nthreads=1)["t_hit"].numpy())
        return rows[hit], columns[hit]
