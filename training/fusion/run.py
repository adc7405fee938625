# SPDX-License-Identifier: Apache-2.0
"""The command `dropclip-fuse`: object features of every view of a data set (section 3.2), and fused (eq. 5).

What costs, the image tower over crops, is done once: features are kept for each view, so that every weighting, prompt
and number of views (eq. 4 and 5, tables 2 and 9, figure 5) is a matter of milliseconds later (`fuse_objects`). A file
is written beside and renamed, so that a killed run goes on where it was; recipe.json refuses another recipe.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import tyro
from tqdm import tqdm

from dropclip_ros.base.files import sha256_of
from dropclip_ros.grounding.pipeline import MODEL_FOLDER
from dropclip_ros.networks.clip import ClipSource
from dropclip_ros.networks.image import BATCH, ImageConfig, ImageTower
from dropclip_ros.networks.model_folder import ADAPTER, IMAGE, load_config
from dropclip_ros.networks.text import TextConfig, TextEncoder
from training.fusion.crops import MIN_PIXELS, shown_objects
from training.fusion.features import ObjectFeatures
from training.fusion.fuse import Weighting
from training.fusion.prompts2d import VisualPrompt
from training.fusion.targets import fuse_views, save_fused
from training.fusion.view_features import ViewFeatures, features_path, save_view_features, view_order
from training.fusion.weights import PromptConfig, ScenePrompts
from training.objects.catalogue import catalogue_of
from training.runs.errors import InputError, in_a_line
from training.runs.files import alone
from training.runs.jobs import explain_disk_errors, locked_folder, run_on_processes, run_on_ray
from training.scenes.scene import Scene
from training.scenes.shards import load_scenes

FUSED = "fused.safetensors"
SCENES_A_JOB = 4  # a worker's batches go across the views and scenes of its job


@dataclass(frozen=True)
class FeatureRecipe:
    """What a folder of features is made of.

    scenes: their folder; tower: the image tower, and the SHA-256 of its weights, where they are a file; prompts: what
    it is shown of an object (several: an ensemble); min_pixels: a smaller visible part is left out; amp: autocast;
    views: how many of each scene's, the first of `view_order`, None: all.
    """

    scenes: str
    tower: ImageConfig
    sha256: str | None
    prompts: tuple[VisualPrompt, ...] = (VisualPrompt(),)
    min_pixels: int = MIN_PIXELS
    amp: bool = False
    views: int | None = None


def embed_scenes(
    scenes: Sequence[Scene],
    extractor: ObjectFeatures,
    batch: int = BATCH,
    readers: int = 1,
    min_pixels: int = MIN_PIXELS,
    views: int | None = None,
) -> Iterator[ViewFeatures]:
    """Features of each scene, in turn; batches of about `batch` images go across views and scenes.

    readers: threads that decode views and cut crops while the tower runs. A view that cannot be read is left out, with
    a warning.
    """
    chosen = [(scene, v) for scene in scenes for v in sorted(view_order(scene)[:views])]
    with ThreadPoolExecutor(readers) as pool:
        cuts = _embedded(_cut_ahead(pool, chosen, extractor, batch // 4 + readers, min_pixels), extractor, batch)
        for scene in scenes:
            yield _of_scene([next(cuts) for _ in view_order(scene)[:views]], extractor.channels)


@dataclass
class _Cut:
    """The objects of a view as the tower is shown them, images (n,k,S,S,3) uint8; shown: their visible pixels."""

    view: int
    shown: dict[int, int]
    images: np.ndarray


def _cut(scene: Scene, v: int, extractor: ObjectFeatures, min_pixels: int) -> _Cut:
    shown, images = {}, np.zeros((0, extractor.images, extractor.size, extractor.size, 3), np.uint8)
    # None where it cannot be read.
    for _, view in scene.views([v], depth=False) if isinstance(scene, Scene) else scene.views([v]):
        shown = shown_objects(view, scene.objects, min_pixels)
        images = extractor.cut(view, list(shown))
    return _Cut(v, shown, images)


def _cut_ahead(
    pool: ThreadPoolExecutor,
    views: Sequence[tuple[Scene, int]],
    extractor: ObjectFeatures,
    ahead: int,
    min_pixels: int,
) -> Iterator[_Cut]:
    """Every view, in turn, while the pool is at work on the next `ahead` of them."""
    coming: deque[Future[_Cut]] = deque()
    for scene, v in views:
        coming.append(pool.submit(_cut, scene, v, extractor, min_pixels))
        if len(coming) > ahead:
            yield coming.popleft().result()
    while coming:
        yield coming.popleft().result()


def _embedded(cuts: Iterator[_Cut], extractor: ObjectFeatures, batch: int) -> Iterator[tuple[_Cut, torch.Tensor]]:
    """Each view's crops with their features (n,C), embedded with those of its neighbours."""
    waiting: list[_Cut] = []

    def embed() -> Iterator[tuple[_Cut, torch.Tensor]]:
        features = extractor.embed(np.concatenate([cut.images for cut in waiting]))
        return zip(waiting, features.split([len(cut.images) for cut in waiting]), strict=True)

    for cut in cuts:
        waiting.append(cut)
        if sum(len(one.images) for one in waiting) * extractor.images >= batch:
            yield from embed()
            waiting = []
    if waiting:
        yield from embed()


def _of_scene(parts: list[tuple[_Cut, torch.Tensor]], channels: int) -> ViewFeatures:
    rows = [(cut.view, label, area) for cut, _ in parts for label, area in cut.shown.items()]
    features = torch.cat([features for _, features in parts]) if rows else torch.zeros(0, channels)
    return ViewFeatures(features.half(), *torch.tensor(rows, dtype=torch.int64).reshape(-1, 3).unbind(1))


@dataclass(frozen=True)
class _Job:
    scenes: tuple[Scene, ...]
    out: Path
    recipe: FeatureRecipe
    weights: Path
    device: str
    batch: int
    readers: int


@lru_cache(maxsize=1)  # a worker loads its tower once
def _extractor(recipe: FeatureRecipe, weights: Path, device: str) -> ObjectFeatures:
    return ObjectFeatures(ImageTower(recipe.tower, weights, device), recipe.prompts, recipe.amp)


def _written(job: _Job) -> Iterator[Path]:
    """Embeds and writes the scenes of a job; the file of each."""
    extractor = _extractor(job.recipe, job.weights, job.device)
    found = embed_scenes(job.scenes, extractor, job.batch, job.readers, job.recipe.min_pixels, job.recipe.views)
    for scene, seen in zip(job.scenes, found, strict=True):
        path = features_path(job.out, scene.name)
        if not path.exists():  # Ray does again what was done on a machine that it lost
            save_view_features(path, seen)
        yield path


def _run(job: _Job) -> list[Path]:
    torch.set_num_threads(1)  # as many processes as cores
    return list(_written(job))


def extract(
    scenes: Sequence[Scene],
    out: Path,
    recipe: FeatureRecipe,
    weights: Path,
    device: str = "cpu",
    batch: int = BATCH,
    workers: int = 1,
    readers: int = 1,
    ray: str | None = None,
) -> None:
    """Writes the features of scenes into the folder `out`; those that are there are kept. Arguments as in `fuse`.

    Raises InputError, and DropclipError where the tower cannot be had.
    """
    counts = {"batch": batch, "workers": workers, "readers": readers, "views": recipe.views}
    if small := [f"{name} {count}" for name, count in counts.items() if count is not None and count < 1]:
        raise InputError(f"{', '.join(small)}: expected at least 1")
    if doubled := len(scenes) - len({scene.name for scene in scenes}):
        raise InputError(f"{doubled} scenes have the name of another; give each a folder of its own")

    def whole() -> str:
        return f"{sum(features_path(out, scene.name).exists() for scene in scenes)} of {len(scenes)} scenes"

    with locked_folder(out, recipe, "features"), explain_disk_errors(out, whole):
        todo = [scene for scene in scenes if not features_path(out, scene.name).exists()]
        alone = workers == 1 and ray is None
        size = max(1, len(todo) if alone else min(SCENES_A_JOB, len(todo) // workers))
        jobs = [
            _Job(tuple(todo[a : a + size]), out, recipe, weights, device, batch, readers)
            for a in range(0, len(todo), size)
        ]
        if alone:
            run = ([path] for job in jobs for path in _written(job))
        elif ray is None:
            run = run_on_processes(workers, _run, jobs)
        else:
            run = run_on_ray(ray, _run, jobs, lambda paths: paths, gpus=int(device.startswith("cuda")))
        with tqdm(total=len(todo), desc="features", unit="scene") as bar:
            for paths in run:
                bar.update(len(paths))


def tower_of(model: Path) -> tuple[ImageConfig, Path]:
    """The image tower of a model folder, without what only scoring needs, and where the weights of a "vit" are."""
    served = ("weight", "crop", "background", "temperature", "null_similarity")
    unscored = {name: getattr(ImageConfig, name) for name in served}
    return replace(load_config(model).image or ImageConfig(), **unscored), model / IMAGE


def open_clip_tower(tower: str, pretrained: str | None) -> ImageConfig:
    """A model of open_clip as features name it: from any working directory, with the digest of a local file."""
    source = ClipSource(tower, pretrained).settled
    return ImageConfig(model=source.model, pretrained=source.pretrained, sha256=source.sha256)


def digest(config: ImageConfig, weights: Path) -> str | None:
    """SHA-256 of a tower's weights, where they are a file."""
    return sha256_of(weights) if config.source is None else config.source.settled.sha256


def text_of(model: Path, config: ImageConfig, device: str) -> TextEncoder:
    """The text tower in whose space the features of an image tower are: its own, or that of the model folder."""
    if config.source is not None:
        return TextEncoder(TextConfig(config.model, config.pretrained, config.sha256), device)
    return TextEncoder(load_config(model).text, device, model / ADAPTER)


@alone
def fuse(  # long: a command, whose options each have a line of help
    scenes: Path,
    out: Path,
    model: Path = MODEL_FOLDER,
    tower: str | None = None,
    pretrained: str | None = None,
    prompts: tuple[Literal["crop", "crop-mask", "mask-out", "mask-gray", "mask-blur"], ...] = ("crop-mask",),
    background: Literal["black", "gray", "white", "mean"] = "gray",
    crops: int = 1,
    ratio: float = 0.1,
    min_pixels: int = MIN_PIXELS,
    amp: bool = False,
    views: int | None = None,
    device: str = "cuda" if torch.cuda.is_available() else "cpu",
    batch: int = BATCH,
    workers: int = 1,
    readers: int = 2,
    ray: str | None = None,
    fused: bool = True,
    weighting: Weighting = Weighting(),
    phrases: PromptConfig = PromptConfig(),
) -> None:
    """Embeds the objects of every view of SCENES, a file a scene, and fuses them by object (eq. 5): fused.safetensors,
    as dropclip-distill takes it. Scenes already in OUT are kept: the same command goes on.

    Args:
        scenes: folder of scenes or shards.
        out: folder of the features.
        model: folder with an image tower.
        tower: instead, a model of open_clip.
        pretrained: its tag, or a file.
        prompts: how an object is shown (table 8); several are an ensemble.
        background: of crop-mask and mask-out.
        crops: scales of crop and crop-mask.
        ratio: by how much of its side each scale is larger than the one before.
        min_pixels: a smaller visible part is left out.
        amp: bf16 on the CPU, fp16 on a GPU.
        views: of each scene, in a seeded order; all by default.
        device: cpu, cuda, cuda:1 ...
        batch: images through the tower at once, about.
        workers: processes, of one thread each; 1: this process, with all threads of torch.
        readers: threads of each that decode and cut while its tower runs.
        ray: address of a Ray cluster, or "local"; OUT and SCENES must then be folders that all its machines share.
        fused: whether they are fused too, and not left as the views have them.
        weighting: of the views (table 2).
        phrases: of the scenes' catalogue, that informativeness is told by (table 9).
    """
    config, weights = tower_of(model)
    if tower is not None:
        config = open_clip_tower(tower, pretrained)
    shown = tuple(
        VisualPrompt(kind, background, crops if kind.startswith("crop") else 1, ratio)
        for kind in dict.fromkeys(prompts)
    )
    recipe = FeatureRecipe(str(scenes.resolve()), config, digest(config, weights), shown, min_pixels, amp, views)
    start, found = time.perf_counter(), load_scenes(scenes)
    extract(found, out, recipe, weights.resolve(), device, batch, workers, readers, ray)
    print(f"features of {len(found)} scenes in {out}, {time.perf_counter() - start:.0f} s")
    if fused:
        asked = ScenePrompts(catalogue_of(scenes).specs, text_of(model, config, device))
        of_objects = fuse_views(out, found, asked, weighting, phrases)
        save_fused(out / FUSED, found, of_objects, config)
        print(f"{out / FUSED}: {sum(len(scene.labels) for scene in of_objects)} objects, fused over their views")


def main() -> None:
    with in_a_line("dropclip-fuse", ValueError):
        tyro.cli(fuse, prog="dropclip-fuse", description=__doc__)


if __name__ == "__main__":
    from training.fusion import run  # Ray's workers look for what they are to do in the module of this name

    run.main()
