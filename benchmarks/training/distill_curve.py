# SPDX-License-Identifier: Apache-2.0
"""Quality against latency: networks of several widths and voxel sizes, from scratch, with the same small budget.

    python -m benchmarks.training.distill_curve --bench.scenes SCENES --bench.fused FUSED --bench.held-out SPLITS \\
        --bench.held-out-fused FEATURES --bench.out OUT

What is finished is kept in OUT; a table and a picture come of all. Latency is a forward pass of one thread on held-out
views, kernel maps included, all networks by turns. So few steps say which network learns sooner, not which ends better.
"""

from __future__ import annotations

import copy
import dataclasses
import json
from functools import partial
from pathlib import Path

import numpy as np
import torch
import tyro

from benchmarks.encoder.encoder import by_turns
from dropclip_ros.grounding.pipeline import MODEL_FOLDER
from dropclip_ros.networks.encoder import MinkUNet14D
from dropclip_ros.vision.voxels import voxelize
from training.distill import DistillConfig, distill, read_config
from training.distill.ablate import Bench, changed
from training.distill.data import table_points
from training.distill.judge import Judge, show
from training.distill.recipes import SMALL
from training.fusion.clouds import view_cloud
from training.runs.files import write_atomically

NETWORKS = {  # what is other than in small.yaml; the second name is the group that a line is drawn through
    ("5 mm, a quarter", "width"): {"stem": 24, "planes": (24, 32, 48, 64, 96, 64, 48, 48)},
    ("5 mm, half", "width"): {"stem": 24, "planes": (24, 48, 96, 128, 128, 96, 64, 48)},
    ("5 mm (shipped)", "width"): {},
    ("5 mm, wider", "width"): {"stem": 32, "planes": (32, 64, 128, 256, 256, 192, 128, 96)},
    ("4 mm", "voxels"): {"voxel_size": 0.04},
    ("5 mm (shipped)", "voxels"): {},
    ("7 mm", "voxels"): {"voxel_size": 0.07},
}
MEASURES = ("view cosine", "view objects", "view semantic", "view referring", "view by instances")


def latencies(encoders: dict[str, MinkUNet14D], configs: dict[str, DistillConfig], judge: Judge, views: int) -> dict:
    """Median milliseconds of each network, and voxels."""
    taken: dict[str, list[float]] = {name: [] for name in encoders}
    counts: dict[str, list[int]] = {name: [] for name in encoders}
    fused = {name: copy.deepcopy(encoder).eval().fuse() for name, encoder in encoders.items()}
    with torch.inference_mode():
        for scene in judge.scenes[:views]:
            view = scene.view(0)
            cloud = view_cloud(view, 0)
            calls = {}
            for name, encoder in fused.items():
                voxels = voxelize(table_points(cloud, view.world_from_camera), cloud.colors, configs[name].voxels)
                inputs = torch.from_numpy(voxels.coords), torch.from_numpy(voxels.feats)
                calls[name] = partial(encoder, *inputs)
                counts[name].append(len(voxels))
            for name, milliseconds in by_turns(calls, 3).items():
                taken[name].append(min(milliseconds))
    return {name: {"ms": float(np.median(taken[name])), "voxels": float(np.median(counts[name]))} for name in encoders}


def plot(rows: dict[str, dict[str, float]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    for axes, measure in zip(figure.subplots(1, 2), ("view semantic", "view by instances"), strict=True):
        for group, colour in (("width", "C0"), ("voxels", "C1")):
            of_group = sorted((rows[name]["ms"], rows[name][measure]) for name, of in NETWORKS if of == group)
            axes.plot(*zip(*of_group, strict=True), "o-", color=colour, label=f"by {group}")
        for name, row in rows.items():
            axes.annotate(name, (row["ms"], row[measure]), xytext=(4, 4), textcoords="offset points", fontsize=8)
        axes.set(xlabel="forward pass, ms (one thread)", ylabel=f"{measure.removeprefix('view ')}, %")
        axes.grid(alpha=0.3)
        axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def main(
    bench: Bench,
    steps: int = 150,
    rate: float = 1e-3,
    views: int = 8,
    picture: Path = Path("out/distill_curve.png"),
    model: Path = MODEL_FOLDER,
) -> None:
    """steps, rate: of each training; views: that latency is measured on; model: whose text adapter and image tower."""
    source, words, judges = bench.load(model, kinds=("view",))
    recipe = dataclasses.replace(
        read_config(SMALL), epochs=0, steps=0, partial_steps=steps, partial_base_lr=rate, workers=0
    )
    configs = {name: changed(recipe, changes) for (name, _), changes in NETWORKS.items()}
    encoders, rows = {}, {}
    for name, config in configs.items():
        folder = bench.out / name.replace(" ", "_")
        encoders[name] = distill(source, config, folder, words.rows)
        path = folder / "judged.json"
        if not path.exists():
            judged = [judge(encoders[name], config.voxels) for judge in judges.values()]
            mean = {measure: float(np.mean([one[measure] for one in judged])) for measure in MEASURES}
            with write_atomically(path) as part:
                part.write_text(json.dumps(mean, indent=1))
        rows[name] = json.loads(path.read_text())
        rows[name]["M parameters"] = sum(p.numel() for p in encoders[name].parameters()) / 1e6
        print(show(rows, ("M parameters", *MEASURES), f"{steps} steps"), flush=True)
    for name, found in latencies(encoders, configs, next(iter(judges.values())), views).items():
        rows[name] |= found
    print(show(rows, ("M parameters", "voxels", "ms", *MEASURES), f"{steps} steps"))
    plot(rows, picture)


if __name__ == "__main__":
    tyro.cli(main)
