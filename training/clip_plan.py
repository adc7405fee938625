# SPDX-License-Identifier: Apache-2.0
"""What `dropclip train` will take on this machine, each stage measured on a little of it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from dropclip_ros.networks.clip import Clip
from dropclip_ros.networks.encoder import MinkUNet14D
from dropclip_ros.networks.image import BATCH, ImageConfig, ImageTower
from training.distill import DistillConfig
from training.fusion.features import ObjectFeatures
from training.objects.catalogue import PROCEDURAL
from training.runs.errors import InputError
from training.scenes.description import SceneConfig

FEW_VIEWS = 4  # of the scene that is timed
FEW_CROPS = 8  # through the tower
VOXELS = 6000  # of a training cloud, about: the paper's hold at most 10,000 points
SEEN = 0.8  # share of a scene's objects that a view shows
CLOUD = 1.2e6  # bytes of a full cloud that is kept
BEST_OF = 2
GB = 1e9


@dataclass(frozen=True)
class Cost:
    """Of a stage: wall-clock hours and bytes on disk."""

    stage: str
    hours: float
    bytes: float


def timed_scenes(config: SceneConfig, scenes: int, workers: int, catalogue: str = PROCEDURAL) -> Cost:
    """Rendering: one scene of a few views, in a process of its own, as its last line times it."""
    few = replace(config, views=min(FEW_VIEWS, config.views))
    with tempfile.TemporaryDirectory() as folder:
        said = ["generate", "--out", folder, "--scenes", "1", "--workers", "1", "--catalogue", catalogue]
        run = subprocess.run(
            [sys.executable, "-m", "training.mvtod", *said, *scene_options(few)],
            capture_output=True,
            text=True,
            check=False,
        )
        if run.returncode:
            raise InputError(f"no scene can be rendered here: {run.stderr.strip().splitlines()[-1]}")
        size = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
    timed = next(line for line in run.stdout.splitlines() if line.startswith("seconds a scene"))
    seconds = {name: float(value) for name, value in re.findall(r"(\w+) ([\d.]+)", timed)}
    views = config.views / few.views
    once = seconds["build"] + seconds["settle"]
    whole = once + (sum(seconds.values()) - once) * views
    return Cost("scenes", scenes * whole / workers / 3600, scenes * size * views)


def scene_options(config: SceneConfig) -> list[str]:
    """As dropclip-mvtod generate takes them."""
    said = []
    for name, value in vars(config).items():
        said += [f"--{name.replace('_', '-')}", *map(str, value if isinstance(value, tuple) else (value,))]
    return said


def timed_features(config: ImageConfig, clip: Clip, device: str, scenes: int, views: int, width: int) -> Cost:
    """The tower over the crops of every view: some, as they are embedded."""
    place = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    extractor = ObjectFeatures(ImageTower(config, Path(), place, clip), amp=place != "cpu")
    count = BATCH if place != "cpu" else FEW_CROPS
    crops = np.zeros((count, extractor.images, extractor.size, extractor.size, 3), np.uint8)
    seconds = _least(lambda: extractor.embed(crops)) / count
    images = scenes * views * SEEN * (SceneConfig.min_objects + SceneConfig.max_objects) / 2
    return Cost("features", images * seconds / 3600, images * (2 * width + 24))


def timed_steps(recipe: DistillConfig, scenes: int, processes: int) -> Cost:
    """The distillation: forward and backward of one cloud, times all of them."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    encoder = MinkUNet14D(recipe.encoder).to(device)
    rng = np.random.default_rng(0)
    flat = np.unique(rng.integers(0, (120, 120, 12), (VOXELS, 3)), axis=0)
    coords = torch.as_tensor(flat, device=device)
    feats = torch.rand(len(coords), 3, device=device)

    def step() -> None:
        encoder(coords, feats).square().mean().backward()
        if device == "cuda":
            torch.cuda.synchronize()

    clouds = sum(recipe.stage_steps(scenes)) * recipe.batch_size
    kept = scenes * CLOUD + 4 * 4 * sum(p.numel() for p in encoder.parameters())
    return Cost("distillation", clouds * _least(step) / processes / 3600, kept)


def _least(call: Callable[[], object]) -> float:
    """Seconds of the quickest of a few calls."""
    times = []
    for _ in range(BEST_OF):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def plan_text(views: int, scenes: int, costs: Sequence[Cost]) -> str:
    """What is said before anything is done."""
    lines = [f"{scenes} training scenes of {views} views; on this machine, measured on a few of them:"]
    lines += [f"  {cost.stage}: about {_duration(cost.hours)}, {cost.bytes / GB:.3g} GB" for cost in costs]
    total = f"  together: about {_duration(sum(cost.hours for cost in costs))}, "
    return "\n".join([*lines, total + f"{sum(cost.bytes for cost in costs) / GB:.3g} GB"])


def _duration(hours: float) -> str:
    if hours < 1:
        return f"{60 * hours:.0f} min" if hours > 1 / 60 else "a minute"
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.0f} days"


def check_disk(wanted: Mapping[Path, Sequence[Cost]]) -> None:
    """InputError where a disk has less room than its stages write; folders on one disk count together."""
    needed: dict[int, list] = {}
    for place, costs in wanted.items():
        there = next(parent for parent in (place, *place.parents) if parent.exists())
        of_disk = needed.setdefault(there.stat().st_dev, [there, 0.0])
        of_disk[1] += sum(cost.bytes for cost in costs)
    for there, size in needed.values():
        free = shutil.disk_usage(there).free
        if size > free:
            raise InputError(
                f"{there} has {free / GB:.3g} GB free and about {size / GB:.3g} GB are needed; choose another disk, "
                "fewer scenes (--count) or fewer views (--scene.views)"
            )
