# SPDX-License-Identifier: Apache-2.0
"""3D-OVS beside DROP-CLIP and fused patches on the same scenes (table 12's kind, A.6.3), and its own ablations.

Of each scene some views are fitted and some held out. Classes are the categories on the table and the table itself.
Metrics are of a scene's classes: IoU over all held-out pixels (or all points), and the share that is right. Columns of
objects leave the table out, as what DROP-CLIP sees does: pixels of objects, classes of objects.
"""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from scipy.spatial import cKDTree

from dropclip_ros.base.reading import read_json, read_text
from training.evaluate.bench import Bench, classes
from training.evaluate.data.mvtod import MvtodScene
from training.evaluate.methods.methods import Student
from training.evaluate.metrics import summary
from training.evaluate.protocol import FeatureCloud, Prediction
from training.evaluate.questions import categories
from training.evaluate.report import ReportTable
from training.fusion.clouds import Cloud, view_cloud
from training.fusion.fuse import PointFusion, Weighting
from training.ovs3d.config import Ovs3dConfig
from training.ovs3d.fit import mean_psnr, reconstruct
from training.ovs3d.guidance import STAND_IN
from training.ovs3d.layouts import of_scene
from training.ovs3d.learn import RayPool, learn_semantics
from training.ovs3d.segment import Towers, class_map, guide
from training.ovs3d.semantic import Segmentation
from training.ovs3d.views import PosedViews
from training.runs.errors import InputError
from training.runs.files import write_atomically
from training.runs.reading import read_lines
from training.scenes.description import TABLE_ID

TABLE = "tabletop"  # our text tower knows the bare word less well
FULL = "3D-OVS"
VARIANTS: dict[str, dict[str, bool]] = {
    FULL: {},
    "3D-OVS, no selection volume": {"selection": False},
    "3D-OVS, no normalisation": {"normalise": False},
    "3D-OVS, no RDA": {"rda": False},
    "3D-OVS, no FDA": {"fda": False},
}
FUSED, STUDENT = "fused patches (OpenScene's way)", "DROP-CLIP"
PLACES = ("views_objects", "points_objects", "views")
COLUMNS = ("objects mIoU", "objects acc", "3D objects mIoU", "3D objects acc", "with table mIoU", "with table acc")


@dataclass(frozen=True, eq=False)
class Case:
    """A scene with its views at two sizes, its classes (name -> labels; the table last), and the held-out truth.

    numbers: of the scene's views; truth: by held-out view's place among `views` (H,W), class index, -1 elsewhere.
    """

    scene: MvtodScene
    numbers: list[int]
    views: PosedViews
    sharp: PosedViews
    named: dict[str, list[int]]
    truth: dict[int, np.ndarray]

    @classmethod
    def of(cls, scene: MvtodScene, config: Ovs3dConfig) -> Case:
        views = of_scene(scene, config.width or None, config.every, config.hold_out)
        sharp = of_scene(scene, None, config.every, config.hold_out)
        numbers = list(range(0, len(scene), config.every))
        held = {i: scene.view(numbers[i]).mask for i in np.flatnonzero(views.held_out).tolist()}
        named = categories(scene, np.concatenate([mask.ravel() for mask in held.values()])) | {TABLE: [TABLE_ID]}
        of_label = np.full(256, -1)
        for k, labels in enumerate(named.values()):
            of_label[labels] = k
        width, height = views.size
        truth = {i: of_label[shrunk_labels(mask, width, height)] for i, mask in held.items()}
        return cls(scene, numbers, views, sharp, named, truth)

    @property
    def objects(self) -> int:
        """How many classes are objects'; the table comes after these."""
        return len(self.named) - 1


def shrunk_labels(mask: np.ndarray, width: int, height: int) -> np.ndarray:
    """The label (H,W) at the middle of each new pixel."""
    rows = ((np.arange(height) + 0.5) * mask.shape[0] / height).astype(int)
    columns = ((np.arange(width) + 0.5) * mask.shape[1] / width).astype(int)
    return mask[np.ix_(rows, columns)]


def scored(truth: np.ndarray, answer: np.ndarray, count: int) -> dict[str, object]:
    """IoU of each of `count` classes that is there, and the share that is right, of places (n,); answer -1: none."""
    both = np.bincount((truth * (count + 1) + answer + 1), minlength=count * (count + 1)).reshape(count, count + 1)
    right = np.diag(both[:, 1:])
    union = both.sum(1) + both[:, 1:].sum(0) - right
    there = both.sum(1) > 0
    return {"ious": (right / np.maximum(union, 1))[there].tolist(), "acc": float(right.sum() / max(1, both.sum()))}


def of_pixels(case: Case, said: Mapping[int, np.ndarray]) -> dict[str, dict]:
    """said: of each held-out view the scores (H,W,K) of all classes, or of the objects' alone; NaN: says nothing."""
    found, count = {}, case.objects
    truth = np.concatenate([case.truth[i].ravel() for i in said])
    scores = np.concatenate([maps.reshape(-1, maps.shape[-1]) for maps in said.values()])
    if scores.shape[1] == count + 1:
        asked = truth >= 0
        found["views"] = scored(truth[asked], best(scores[asked]), count + 1)
    asked = (truth >= 0) & (truth < count)
    return found | {"views_objects": scored(truth[asked], best(scores[asked, :count]), count)}


def best(scores: np.ndarray) -> np.ndarray:
    """Class of the best score (n,K), -1 where nothing is said."""
    return np.where(np.isnan(scores).any(1), -1, np.nan_to_num(scores, nan=-2.0).argmax(1))


def of_points(case: Case, said: Prediction, cloud: Cloud) -> dict[str, dict]:
    """Of a cloud of objects; classes in the cloud."""
    ious, _ = classes(said, case.scene, cloud)
    named = list(categories(case.scene, cloud.labels).items())
    scores = torch.cat([said.similarity([name for name, _ in named]), torch.full((1, len(named)), torch.nan)])
    of_label = np.full(256, -1)
    for k, (_, labels) in enumerate(named):
        of_label[labels] = k
    right = best(scores[said.row].numpy()) == of_label[cloud.labels]
    return {"points_objects": {"ious": ious.tolist(), "acc": float(right.mean())}}


def fitted_numbers(case: Case) -> list[int]:
    return [n for n, held in zip(case.numbers, case.views.held_out, strict=True) if not held]


def run_ovs3d(
    case: Case, bench: Bench, towers: Towers, config: Ovs3dConfig, folder: Path, todo: Sequence[str]
) -> Iterator[dict]:
    """A row for each variant `todo`, in turn; reconstruction and patches are shared, and kept in `folder`."""
    if not todo:
        return
    seconds = Stopwatch(folder / "seconds.json")
    with seconds("reconstruct"):
        field = reconstruct(case.views, config, folder)
    held = sorted(case.truth)
    bare = mean_psnr(field, case.views, held)
    with seconds("patches"):
        size, patches = case.views.size[::-1], folder / "patches.safetensors"
        whole = guide(towers, case.sharp, list(case.named), config.semantic, size, patches)
    pool = RayPool(field, case.views, config.semantic.pool, torch.Generator().manual_seed(config.semantic.seed))
    cloud = bench.full(case.scene)
    for name in todo:
        semantic = replace(config.semantic, **VARIANTS[name])
        guidance = replace(whole, normalise=semantic.normalise)
        start = time.perf_counter()
        kept = folder / "semantic" if name == FULL else None
        found = learn_semantics(field, case.views, guidance, list(case.named), semantic, kept, pool)
        learnt = {"semantics": time.perf_counter() - start}
        row = {
            "method": name,
            "psnr": mean_psnr(found.field, case.views, held),
            "psnr_bare": bare,
            "seconds": seconds.known | learnt,
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
        }
        row |= of_pixels(case, {i: class_map(found, case.views, i)[0] for i in held})
        yield row | of_points(case, of_field(found, cloud, towers), cloud)


def _read(path: Path) -> dict[str, float]:
    """Seconds that were kept; none where there are none, or they are damaged."""
    with suppress(OSError, TypeError, ValueError):
        return {name: float(value) for name, value in dict(read_json(path)).items()}
    return {}


class Stopwatch:
    """Seconds of stages, by name, kept in a file: a run that goes on loads in no time what once took some."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.known: dict[str, float] = _read(path)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        if stage not in self.known:
            self.known[stage] = time.perf_counter() - start
            with write_atomically(self.path, replace=True) as part:
                part.write_text(json.dumps(self.known))


def of_field(found: Segmentation, cloud: Cloud, towers: Towers) -> FeatureCloud:
    """The field as a method of a cloud: the feature at each point."""
    features = found.features(torch.from_numpy(cloud.points).to(found.field.bounds)).cpu()
    return FeatureCloud(np.arange(len(cloud)), features, towers.text)


def run_fused(case: Case, bench: Bench) -> dict:
    """MaskCLIP's patches of the fitted views, fused point by point; a held-out pixel takes the point nearest to it."""
    start = time.perf_counter()
    cloud, plain = bench.full(case.scene), Weighting(visibility=True, informative=False)
    fusion = PointFusion(cloud, {}, (plain,))
    for v, view in case.scene.views(fitted_numbers(case)):
        fusion.add(view, bench.patches(case.scene, v, view))
    points = fusion.result(plain)
    said = FeatureCloud(points.row, points.features, bench.grounder.text)
    seconds = time.perf_counter() - start
    scores = torch.cat([said.similarity(list(case.named)[:-1]), torch.full((1, case.objects), torch.nan)]).numpy()
    tree = cKDTree(cloud.points)
    maps = {}
    for i in case.truth:
        seen = case.truth[i].ravel()
        pixels = np.flatnonzero((seen >= 0) & (seen < case.objects) & (case.views.depth[i].ravel() > 0))
        origins, directions = (part.numpy() for part in case.views.rays(i, pixels))
        distance = case.views.depth[i].ravel()[pixels] * case.views.along(i)[pixels]
        nearest = tree.query(origins + directions * distance[:, None])[1]
        maps[i] = np.full((*case.truth[i].shape, case.objects), np.nan, np.float32)
        maps[i].reshape(-1, case.objects)[pixels] = scores[said.row[nearest]]
    return {"method": FUSED, "seconds": {"fusion": seconds}} | of_pixels(case, maps) | of_points(case, said, cloud)


def run_student(case: Case, bench: Bench) -> dict:
    """The encoder on each held-out view alone; in 3D on the cloud of all views."""
    student, maps, seconds = Student(bench.grounder), {}, []
    for i in case.truth:
        view = case.scene.view(case.numbers[i])
        cloud = view_cloud(view, case.numbers[i])
        start = time.perf_counter()
        said = student(case.scene, cloud)
        scores = said.similarity(list(case.named)[:-1]).numpy()[said.row]
        seconds.append(time.perf_counter() - start)
        height, width = view.mask.shape
        whole = np.full((height * width, case.objects), np.nan, np.float32)
        whole[cloud.pixels] = scores
        rows = ((np.arange(case.views.size[1]) + 0.5) * height / case.views.size[1]).astype(int)
        columns = ((np.arange(case.views.size[0]) + 0.5) * width / case.views.size[0]).astype(int)
        maps[i] = whole.reshape(height, width, -1)[np.ix_(rows, columns)]
    cloud = bench.full(case.scene)
    points = of_points(case, student(case.scene, cloud), cloud)
    return {"method": STUDENT, "seconds": {"a view": float(np.mean(seconds))}} | of_pixels(case, maps) | points


def evaluate(
    bench: Bench, config: Ovs3dConfig, out: Path, towers: Towers, variants: Sequence[str] = tuple(VARIANTS)
) -> ReportTable:
    """Runs what OUT/ovs3d.jsonl does not hold yet, scene by scene, and makes the table of all that it holds.

    variants: of 3D-OVS. Fields, patches and what the whole method learnt are kept in OUT/ovs3d/SCENE. InputError where
    no view is held out.
    """
    if not config.hold_out:
        raise InputError("hold_out 0: expected 2 or above, as methods are judged on held-out views")
    path, rows = out / "ovs3d.jsonl", []
    out.mkdir(parents=True, exist_ok=True)
    for scene in bench.test:
        known = [row for row in read_rows(path, config) if row["scene"] == scene.name]
        todo = [name for name in (*variants, FUSED, STUDENT) if name not in {row["method"] for row in known}]
        rows += known
        if not todo:
            continue
        case = Case.of(scene, config)
        folder = out / "ovs3d" / scene.name
        coming = chain(
            (run(case, bench) for name, run in ((STUDENT, run_student), (FUSED, run_fused)) if name in todo),
            run_ovs3d(case, bench, towers, config, folder, [name for name in todo if name in VARIANTS]),
        )
        for row in coming:
            rows.append({"scene": scene.name, "config": plain(config)} | row)
            append(path, rows[-1])
            print(told(rows[-1]), flush=True)
    return table_of(rows, (*variants, FUSED, STUDENT), bench, config)


def told(row: Mapping) -> str:
    """A line about a scene and a method."""
    found = {place: row[place] for place in PLACES if place in row}
    marks = (f"{place} mIoU {100 * np.mean(of['ious']):.1f} acc {100 * of['acc']:.1f}" for place, of in found.items())
    return f"{row['scene']} {row['method']}: {', '.join(marks)}"


def append(path: Path, row: Mapping) -> None:
    """Adds a line, after the one that a killed run may not have finished."""
    text = read_text(path) if path.exists() else ""
    with path.open("a", encoding="utf-8") as file:
        file.write("\n" * (not text.endswith("\n") and bool(text)) + json.dumps(row) + "\n")


def plain(config: Ovs3dConfig) -> dict:
    return json.loads(json.dumps(asdict(config)))


def read_rows(path: Path, config: Ovs3dConfig) -> list[dict]:
    """The rows of this configuration; a last line that was not finished is none."""
    return [row for row in read_lines(path) if row.get("config") == plain(config)]


def table_of(rows: Sequence[Mapping], methods: Sequence[str], bench: Bench, config: Ovs3dConfig) -> ReportTable:
    """A row for each method: means over scenes, those of IoU over their classes."""
    found = []
    for name in methods:
        of_method = [row for row in rows if row["method"] == name]
        if not of_method:
            continue
        row: dict[str, object] = {"method": name, "scenes": len(of_method)}
        for place, miou, acc in zip(PLACES, COLUMNS[::2], COLUMNS[1::2], strict=True):
            if place in of_method[0]:
                of_classes = summary([np.array(one[place]["ious"]) for one in of_method])
                row |= {miou: of_classes["mIoU"], f"{miou} low": of_classes["low"], f"{miou} high": of_classes["high"]}
                row[acc] = 100 * float(np.mean([one[place]["acc"] for one in of_method]))
        stages = {stage: np.mean([one["seconds"][stage] for one in of_method]) for stage in of_method[0]["seconds"]}
        row["inference"] = ", ".join(f"{stage} {value:.3g} s" for stage, value in stages.items())
        if "psnr" in of_method[0]:
            row["PSNR"] = float(np.mean([one["psnr"] for one in of_method]))
            row["PSNR bare"] = float(np.mean([one["psnr_bare"] for one in of_method]))
            row["GB"] = max(one["peak_mb"] for one in of_method) / 1e3
        found.append(row)
    semantic = config.semantic
    notes = [
        f"Classes: the categories on the table, and {TABLE!r}; objects: pixels and classes of objects alone.",
        f"Every {config.every}. view at {config.width} pixels, each {config.hold_out}. of these held out; patches of "
        f"{', '.join(f'{side:.3g}' for side in semantic.sides)} of the image's height; FDA compares "
        f"{semantic.dino or STAND_IN}.",
        f"{FUSED}: of the same fitted views. {STUDENT}: each held-out view by itself; in 3D the cloud of all views.",
        "GB: the most that the process had held by then.",
    ]
    columns = (*COLUMNS, "PSNR", "PSNR bare", "GB")
    return ReportTable("ovs3d", "3D-OVS: one field a scene", columns, found, bench.about(), notes)
