# SPDX-License-Identifier: Apache-2.0
"""docs/augmentations.png: what each augmentation makes of one scene.

python -m training.distill.pictures --scenes runs/eval/scenes/unseen_instance --number 1 --views 40
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import tyro
from matplotlib.figure import Figure

from dropclip_ros.vision.voxels import voxelize
from training.distill import augment
from training.distill.config import AugmentConfig, DistillConfig
from training.distill.data import table_points, voxel_labels
from training.fusion.clouds import full_cloud, view_cloud
from training.scenes.shards import load_scenes

Cloud = tuple[np.ndarray, np.ndarray, np.ndarray]  # points m, colours, labels
SEED, COLUMNS = 7, 4


def draw(
    scenes: Path, out: Path = Path("docs/augmentations.png"), number: int = 0, v: int = 0, views: int = 73
) -> None:
    """Draws scene `number` seen from the side of view `v`, its full cloud made of the first `views` views."""
    config, scene = DistillConfig(), load_scenes(scenes)[number]
    view = scene.view(v)
    clouds = full_cloud(scene, range(min(views, len(scene)))), view_cloud(view, v)
    full, partial = (_voxels(cloud, view.world_from_camera, config) for cloud in clouds)
    panels = {"full cloud (stage 1)": full, "one view (stage 2)": partial}
    panels |= {name: change(full, np.random.default_rng(SEED)) for name, change in changes(config).items()}
    rows = -(-len(panels) // COLUMNS)
    figure = Figure(figsize=(14, 2.6 * rows), layout="constrained")
    ahead, up = np.array([0.0, -0.6, 0.8]), np.array([0.0, 0.8, 0.6])  # of an eye that looks down from the front
    half = 1.15 * np.abs(np.stack([full[0][:, 0], full[0] @ up], axis=1)).max(axis=0) + 0.02
    for axes, (name, (points, colors, _)) in zip(figure.subplots(rows, COLUMNS).flat, panels.items(), strict=False):
        order = np.argsort(points @ ahead)  # what is nearer is drawn later
        axes.scatter(points[order, 0], points[order] @ up, s=2, c=colors[order].clip(0, 1), linewidths=0)
        axes.set_title(name, fontsize=9)
        axes.set(xlim=(-half[0], half[0]), ylim=(-half[1], half[1]), aspect="equal", xticks=[], yticks=[])
    figure.savefig(out, dpi=110)
    print(out)


def changes(config: DistillConfig) -> dict[str, Callable[[Cloud, np.random.Generator], Cloud]]:
    """Each augmentation by its title; strengths at the paper's upper end, and stronger where that would not show."""
    a: AugmentConfig = config.augment
    unit, turn = config.world_scale, np.full(3, a.rotate_max_x)

    def space(change):
        return lambda cloud, rng: (change(cloud[0], rng), *cloud[1:])

    def color(change):
        return lambda cloud, rng: (cloud[0], change(cloud[1], rng), cloud[2])

    def keep(which):
        def change(cloud, rng):
            kept = which(cloud, rng)
            return tuple(part[kept] for part in cloud)

        return change

    granularity, magnitude = a.elastic_distortion_granularity_max, a.elastic_distortion_magnitude_max
    counts, sizes = (a.n_blob_max, a.n_blob_max), (a.blob_size_max, a.blob_size_max)
    return {
        "elastic distortion": space(lambda p, rng: augment.elastic(p, granularity / unit, magnitude / unit, rng)),
        "rotation, 0.1309 rad an axis": space(lambda p, rng: augment.rotate(p, turn, turn, True, rng)),
        "flip": space(lambda p, rng: augment.flip(p, 1, rng)),
        "shift": space(lambda p, rng: augment.shift(p, a.shift_max / unit, rng)),
        "blob removal": keep(lambda c, rng: augment.keep_without_blobs(c[0], c[2], counts, sizes, rng)),
        "colour translation (x 10)": color(lambda c, rng: augment.translate_color(c, 10 * a.color_trans_ratio, rng)),
        "colour jitter (x 2)": color(lambda c, rng: augment.jitter_color(c, 2 * a.color_jitter_std, rng)),
        "chromatic auto-contrast": color(augment.auto_contrast),
        "hue and saturation (x 5)": color(
            lambda c, rng: augment.hue_saturation(c, 5 * a.hue_max, 5 * a.saturation_max, rng)
        ),
        "scale (ours)": space(lambda p, rng: augment.scale(p, 0.16, rng)),
        "depth noise (ours, x 3)": space(lambda p, rng: augment.noise(p, 0.006, rng)),
        "thinning (ours)": keep(lambda c, rng: augment.keep_thinned(len(c[0]), rng)),
        "lost base (ours)": keep(lambda c, rng: augment.keep_above_base(c[0][:, 2] - c[0][:, 2].min(), 0.02, rng)),
        "exposure (ours)": color(lambda c, rng: augment.exposure(c, 0.2, 0.06, rng)),
    }


def _voxels(cloud, pose: np.ndarray, config: DistillConfig) -> Cloud:
    """Centres about their middle, colours and labels of the training voxels, in the table's frame."""
    voxels = voxelize(table_points(cloud, pose), cloud.colors, config.voxels)
    return (
        voxels.centers - voxels.centers.mean(axis=0),
        voxels.feats,
        voxel_labels(voxels.point_to_voxel, cloud.labels, len(voxels)),
    )


if __name__ == "__main__":
    tyro.cli(draw)
