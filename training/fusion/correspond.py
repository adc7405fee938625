# SPDX-License-Identifier: Apache-2.0
"""Which pixel of which view shows a point (section 3.1, eq. 1): projection, field of view, occlusion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from training.scenes.scene import View

C_THR = 0.01  # m; the paper leaves its c_thr open, this is twice the edge of the encoder's voxels


@dataclass(frozen=True, eq=False)
class Correspondence:
    """Of M points in V views: pixels (V,M,2) float32, u_x and u_y with (0, 0) the middle of the first pixel; inside
    (V,M) bool, the field of view; visible (V,M) bool, inside and not occluded: Lambda of section 3.1."""

    pixels: torch.Tensor
    inside: torch.Tensor
    visible: torch.Tensor


def correspond(
    points: np.ndarray | torch.Tensor, views: Sequence[View], c_thr: float = C_THR, device: str | torch.device = "cpu"
) -> Correspondence:
    """Projects world points (M,3) m into views of one size: u = K T^-1 x (eq. 1), T being world_from_camera.

    A point is visible where it lies before the camera, its pixel in the image, and the depth there, which must be
    known, within c_thr m of its own (|u_z - D| <= c_thr).
    """
    depths = torch.from_numpy(np.stack([view.depth for view in views])).to(device)
    camera_from_world = np.linalg.inv(np.stack([view.world_from_camera for view in views]))
    project = np.stack([view.intrinsics for view in views]) @ camera_from_world[:, :3]
    project = torch.from_numpy(project).to(device)  # float64: 3 m away, float32 moves pixels by thousandths
    x = torch.as_tensor(points, device=device).double()
    u = torch.einsum("vij,mj->vmi", project[:, :, :3], x) + project[:, None, :, 3]
    z = u[..., 2]
    pixels = u[..., :2] / torch.where(z > 0, z, torch.ones_like(z))[..., None]
    count, height, width = depths.shape
    column, row = pixels.round().unbind(-1)
    inside = (z > 0) & (column >= 0) & (column < width) & (row >= 0) & (row < height)
    flat = torch.where(inside, row * width + column, torch.zeros_like(row)).long()
    depth = depths.reshape(count, -1).gather(1, flat)
    visible = inside & (depth > 0) & ((z - depth).abs() <= c_thr)
    return Correspondence(pixels.float(), inside, visible)
