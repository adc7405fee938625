# SPDX-License-Identifier: Apache-2.0
"""Fusion: `python -m benchmarks.training.fusion speed | points | memory`.

speed: views a second of `dropclip-fuse`'s pipeline beside the bare image tower on the same crops, by turns in one
process, and a core's time a view by stage.
points: seconds of the full cloud of a scene and of point-wise fusion, by stage.
memory: peak resident memory of the views of a scene, object-wise and point-wise, each in a process of its own.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import tyro
from safetensors.torch import save_file

from dropclip_ros.grounding.pipeline import MODEL_FOLDER
from dropclip_ros.networks.image import BATCH, ImageConfig, ImageTower, make_vit
from dropclip_ros.networks.model_folder import ADAPTER
from dropclip_ros.networks.text import TextConfig, TextEncoder
from training.fusion.clouds import full_cloud
from training.fusion.crops import shown_objects
from training.fusion.dense import MaskClip
from training.fusion.features import ObjectFeatures
from training.fusion.fuse import PointFusion, Weighting, fuse_objects
from training.fusion.run import embed_scenes, tower_of
from training.fusion.view_features import save_view_features
from training.fusion.weights import ScenePrompts
from training.objects.catalogue import catalogue_of
from training.scenes.scene import Scene
from training.scenes.shards import load_scenes

SCENES = Path("../runs/eval/scenes/unseen_instance")
TOWERS = {"small": None, "base": ImageConfig(size=224, patch_size=16, width=768, layers=12, heads=12, channels=512)}
WEIGHTINGS = [Weighting(visibility, informative) for visibility in (False, True) for informative in (False, True)]


def _tower(name: str) -> ImageTower:
    """small: the shipped one; base: of the shape of ViT-B/16, with random weights."""
    config = TOWERS[name]
    if config is None:
        return ImageTower(*tower_of(MODEL_FOLDER))
    with tempfile.TemporaryDirectory() as folder:
        save_file(make_vit(config).state_dict(), Path(folder) / "vit.safetensors")
        return ImageTower(config, Path(folder) / "vit.safetensors")


def _prompts(scenes: Path) -> ScenePrompts:
    return ScenePrompts(catalogue_of(scenes).specs, TextEncoder(TextConfig(), "cpu", adapter=MODEL_FOLDER / ADAPTER))


class _Stages:
    """Milliseconds of this thread's own time, by stage."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}

    def __call__(self, stage: str, function: Callable, *arguments: Any, **named: Any) -> Any:
        start = time.thread_time()
        result = function(*arguments, **named)
        self.spent[stage] = self.spent.get(stage, 0.0) + 1000 * (time.thread_time() - start)
        return result


def speed(
    scenes: Path = SCENES,
    limit: int = 2,
    views: int | None = None,
    tower: Literal["small", "base"] = "small",
    threads: int = 1,
    readers: int = 1,
    batch: int = BATCH,
    rounds: int = 3,
) -> None:
    """threads: of torch; the readers' are beside them. views: of each scene, None: all."""
    torch.set_num_threads(threads)
    found, extractor = load_scenes(scenes)[:limit], ObjectFeatures(_tower(tower))
    cuts = [(scene, v) for scene in found for v in range(len(scene))[:views]]
    with tempfile.TemporaryDirectory() as folder:
        stages, images = _Stages(), []
        for scene, v in cuts:
            view = stages("decode", scene.view, v, depth=False)
            shown = stages("find", shown_objects, view, scene.objects)
            images.append(stages("cut", extractor.cut, view, list(shown)))
        whole, prompts = np.concatenate(images), _prompts(scenes)
        wall: dict[str, list[float]] = {"bare": [], "pipeline": []}
        for _ in range(rounds):
            start = time.perf_counter()
            for a in range(0, len(whole), batch):
                extractor.embed(whole[a : a + batch])
            wall["bare"].append(time.perf_counter() - start)
            start = time.perf_counter()
            seen = list(embed_scenes(found, extractor, batch, readers, views=views))
            wall["pipeline"].append(time.perf_counter() - start)
        if threads == 1:
            for a in range(0, len(whole), batch):
                stages("tower", extractor.embed, whole[a : a + batch])
        queries = [prompts.of(scene) for scene in found]
        for k, one in enumerate(seen):
            stages("write", save_view_features, Path(folder) / f"{k}.safetensors", one)
            if extractor.channels == len(next(iter(queries[k].values())).positive):
                stages("fuse", fuse_objects, one.features.float(), one.labels, queries[k], one.pixels)
    rates = {name: len(cuts) / np.array(times) for name, times in wall.items()}
    ratio = rates["pipeline"] / rates["bare"]
    print(
        f"{tower} tower, {len(found)} scenes, {len(cuts)} views, {len(whole)} crops, {threads} threads and {readers} "
        f"readers: views a second: bare tower {np.median(rates['bare']):.1f}, "
        f"pipeline {np.median(rates['pipeline']):.1f}; ratio of each round "
        f"{', '.join(f'{one:.2f}' for one in ratio)}"
    )
    each = {stage: spent / len(cuts) for stage, spent in stages.spent.items()}
    print("a core's ms a view: " + ", ".join(f"{stage} {ms:.2f}" for stage, ms in each.items()))
    if "tower" in each:
        share = each["tower"] / sum(each.values())
        print(f"with every core at all of it (--workers): {share:.0%} of the bare tower's speed")


def points(scenes: Path = SCENES, views: int | None = None, voxel: float = 0.005) -> None:
    """Of the first scene; patch features by the shipped tower."""
    torch.set_num_threads(1)
    scene, stages = load_scenes(scenes)[0], _Stages()
    count = _fuse_points(scene, _prompts(scenes), views, voxel, stages)
    each = ", ".join(f"{stage} {ms / 1000:.2f}" for stage, ms in stages.spent.items())
    print(
        f"{views or len(scene)} views, voxels of {1e3 * voxel:g} mm, {count} points, {len(WEIGHTINGS)} weightings: a "
        f"core's seconds: {each}"
    )


def _fuse_points(scene: Scene, prompts: ScenePrompts, views: int | None, voxel: float, stages: _Stages) -> int:
    numbers = range(len(scene))[:views]
    cloud = stages("cloud", full_cloud, scene, numbers, voxel)
    dense, fusion = MaskClip(_tower("small")), PointFusion(cloud, prompts.of(scene), WEIGHTINGS)
    for v in numbers:
        view = stages("decode", scene.view, v)
        features = stages("patches", dense.embed, view.rgb[None])
        stages("fuse", fusion.add, view, features[0])
    for weighting in WEIGHTINGS:
        stages("result", fusion.result, weighting)
    return len(cloud)


def memory(scenes: Path = SCENES, views: int | None = None) -> None:
    """Beside what is there before: the libraries, the tower, the text encoder and the prompts of the scene."""
    for what, voxel in (("objects", 0.0), ("cloud", 0.002), ("points", 0.005), ("points", 0.002)):
        command = [sys.executable, __file__, "peak", "--what", what, "--scenes", str(scenes), "--voxel", str(voxel)]
        subprocess.run(command + (["--views", str(views)] if views else []), check=True)


def peak(
    what: Literal["objects", "cloud", "points"], scenes: Path = SCENES, voxel: float = 0.002, views: int | None = None
) -> None:
    """One row of `memory`."""
    torch.set_num_threads(1)
    scene, extractor = load_scenes(scenes)[0], ObjectFeatures(_tower("small"))
    if what == "points":
        _prompts(scenes).of(scene)
    before, count = _peak(), 0
    if what == "objects":
        (seen,) = embed_scenes([scene], extractor, views=views)
        text = f"objects: {len(seen)} crops"
    elif what == "cloud":
        text = f"cloud, {1e3 * voxel:g} mm: {len(full_cloud(scene, range(len(scene))[:views], voxel))} points"
    else:
        count = _fuse_points(scene, views, voxel, _Stages())
        text = f"points, {1e3 * voxel:g} mm, {len(WEIGHTINGS)} weightings: {count} points"
    print(f"{views or len(scene)} views, {text}: peak {_peak():.0f} MB, {before:.0f} of them before")


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict({"speed": speed, "points": points, "memory": memory, "peak": peak})
