# SPDX-License-Identifier: Apache-2.0
"""A segmented field as a point cloud that `dropclip ground --field` and the grounding node answer from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from dropclip_ros.draw import write_ply
from dropclip_ros.grounding.static_scene import PROBE, StaticScene
from training.ovs3d.render import composite, march
from training.ovs3d.segment import SEEN, Towers
from training.ovs3d.semantic import CHUNK, Segmentation
from training.ovs3d.views import PosedViews
from training.runs.errors import InputError

VOXEL = 0.004  # m between points
STRIDE = 2  # of pixels whose rays are looked along
SHARP = 2.0  # cells by which a ray's light may stray in depth: at edges it comes from two surfaces


@torch.no_grad()
def surface_points(found: Segmentation, views: PosedViews, voxel: float = VOXEL) -> tuple[np.ndarray, np.ndarray]:
    """What the fitted views see of the field inside its box: points (N,3) m and colours (N,3) uint8, one a voxel."""
    field, (width, height) = found.field, views.size
    lattice = np.arange(width * height).reshape(height, width)[::STRIDE, ::STRIDE].ravel()
    points, colors = [], []
    for v in np.flatnonzero(~views.held_out).tolist():
        origins, directions = (part.to(field.bounds) for part in views.rays(v, lattice))
        shown = torch.from_numpy(views.images[v].reshape(-1, 3)[lattice])
        for o, d, c in zip(origins.split(CHUNK), directions.split(CHUNK), shown.split(CHUNK), strict=True):
            samples = march(field, o, d)
            moments = torch.stack([torch.ones_like(samples.distance), samples.distance, samples.distance**2], dim=1)
            opacity, first, second = composite(samples, moments, len(o)).unbind(1)
            middle = first / opacity.clamp(min=1e-6)
            stray = (second / opacity.clamp(min=1e-6) - middle**2).clamp(min=0).sqrt()
            kept = (opacity > SEEN) & (stray < SHARP * field.cell)
            points.append((o + d * middle[:, None])[kept].cpu().numpy())
            colors.append(c[kept.cpu()].numpy())
    points, colors = np.concatenate(points), np.concatenate(colors)
    low, high = field.bounds.cpu().numpy()
    inside = ((points >= low) & (points <= high)).all(1)
    if not inside.any():
        raise InputError("no view sees anything inside the field's box; reconstruct it for longer, or name bounds")
    points, colors = points[inside], colors[inside]
    cells, index, counts = np.unique(np.floor(points / voxel), axis=0, return_inverse=True, return_counts=True)
    sums = np.zeros((len(cells), 6))
    np.add.at(sums, index.ravel(), np.concatenate([points, colors], axis=1))
    means = sums / counts[:, None]
    return means[:, :3].astype(np.float32), means[:, 3:].round().astype(np.uint8)


def export_cloud(
    found: Segmentation, views: PosedViews, out: Path, towers: Towers, voxel: float = VOXEL
) -> StaticScene:
    """Writes OUT.safetensors, which is answered from, and OUT.ply, its score the number of each point's class.

    The world must have z up and its unit be the metre. Calibration is the image tower's: the features imitate its.
    """
    points, colors = surface_points(found, views, voxel)
    features = found.features(torch.from_numpy(points).to(found.field.bounds))
    scores = found.probabilities(features).cpu().numpy()
    probe, config = towers.text.encode([PROBE])[0].cpu().numpy(), towers.image.config
    static = StaticScene(
        points,
        colors,
        features.cpu().numpy(),
        probe,
        tuple(found.phrases),
        scores,
        config.temperature,
        config.null_similarity,
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    static.save(out.with_suffix(".safetensors"))
    write_ply(out.with_suffix(".ply"), points, colors, scores.argmax(1).astype(np.float32))
    return static
