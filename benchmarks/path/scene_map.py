# SPDX-License-Identifier: Apache-2.0
"""What more views are worth: held-out scenes seen along an arm's path, fused into a map and asked, beside one view.

    python -m benchmarks.path.scene_map render --out PATHS --split unseen_instance --scenes 100
    python -m benchmarks.path.scene_map run --paths PATHS --split unseen_instance --out RESULTS [--sensor realsense]
    python -m benchmarks.path.scene_map report --out RESULTS

Of 16 views 1, 2, 4, 8 and 16 are taken, evenly spaced along the path, always from the first. Questions are those of
`training.evaluate` about the first view; IoU is counted twice: in the first view's pixels, and in all 5 mm voxels of
objects that any of the 16 views shows ("all round": there one view cannot be right about what it does not see, and
everything that any view shows is asked for). "True instances": true ones of what each view keeps, in the place of ours.
Bounds: "same model", true instances of 8 views, named by the same
model with eq. 5; "fused", the features that the student was taught (`TrueFeatures`), calibrated on PATHS/train.
A scene's answers are a file: what is there is kept, the same command goes on.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

import numpy as np
import torch
import tyro
from scipy.spatial import cKDTree

from benchmarks.data.panoptic import Tally, tally
from benchmarks.data.scene_sequences import truer
from dropclip_ros.base.errors import DropclipError
from dropclip_ros.base.files import write_beside
from dropclip_ros.grounding.pipeline import EncodedScene, Grounder
from dropclip_ros.mapping.config import MapConfig
from dropclip_ros.mapping.frames import MapFrame
from dropclip_ros.mapping.map_scene import MapKnown, MapScene, map_scene
from dropclip_ros.mapping.scene_map import SceneMap
from dropclip_ros.mapping.views import Keyframe, fuse
from dropclip_ros.networks.model_folder import ModelConfig
from dropclip_ros.vision.geometry import backproject, transform_points
from training.evaluate.metrics import RESAMPLES, resampled, summary
from training.evaluate.questions import Question, areas_of, questions
from training.evaluate.served.calibrate import calibrate_method
from training.evaluate.served.pipeline import (
    SeenInstances,
    TrueFeatures,
    encode_with_truth,
    of_encoded,
    true_labels,
    view_frame,
)
from training.evaluate.served.quality import Answers, ask, of_family, refusals
from training.objects.catalogue import PROCEDURAL, open_catalogue
from training.objects.words.phrases import FAMILIES
from training.scenes.description import FIRST_OBJECT_ID
from training.scenes.scene import Scene, View
from training.scenes.sensor import SENSORS, SensorConfig
from training.scenes.shards import load_scenes

VIEWS, COUNTS = 16, (1, 2, 4, 8, 16)
EDGE = 0.005  # m
LEAST = 60  # voxels of an object that is asked for all round
ABOVE = 0.003  # m: what is lower is the table
NEAR = 0.0075  # m: a place is of the voxel that is so near


@dataclass(frozen=True, eq=False)
class Domain:
    """Where answers are counted: places (n,3) m in the world, their true labels (n,), of 256."""

    places: np.ndarray
    labels: np.ndarray

    @classmethod
    def of_view(cls, view: View) -> Domain:
        """All pixels with depth of a view."""
        frame = view_frame(view)
        points, pixels = backproject(frame.depth, frame.intrinsics)
        return cls(transform_points(view.world_from_camera, points), true_labels(view)[pixels])

    @classmethod
    def all_round(cls, views: list[View]) -> Domain:
        """All voxels of objects that some view shows."""
        some = [cls.of_view(view) for view in views]
        places, labels = np.concatenate([of.places for of in some]), np.concatenate([of.labels for of in some])
        objects = labels >= FIRST_OBJECT_ID
        places, labels = places[objects], labels[objects]
        rows = np.column_stack([np.floor(places / EDGE).astype(np.int64), labels])
        first, count = np.unique(rows, axis=0, return_index=True, return_counts=True)[1:]
        order = np.argsort(-count, kind="stable")  # of several labels in a voxel the most common
        best = order[np.unique(rows[first[order], :3], axis=0, return_index=True)[1]]
        return cls(places[first[best]], labels[first[best]])

    def seen_by(self, places: np.ndarray, instances: np.ndarray) -> np.ndarray:
        """Instance (n,) of each place: the nearest's of places (M,3) m with instances (M,), 0 where none is near."""
        distance, index = cKDTree(places).query(self.places, distance_upper_bound=NEAR)
        return np.append(instances, 0)[np.where(np.isfinite(distance), index, len(instances))]


def render(out: Path, split: str = "unseen_instance", scenes: int = 100, first: int = 0) -> None:
    """Renders scenes `first` to `scenes`."""
    from training.scenes.arm_path import write_path  # OSMesa's LLVM and Triton's do not live in one process

    for i in range(first, scenes):
        write_path(out / split / f"scene_{i:05d}", i, split, VIEWS)


EVERYWHERE = "8 views, wherever above the table"  # else where the first view has found something


def encoded_views(grounder: Grounder, views: list[View]) -> list[EncodedScene | None]:
    """Each view, None where nothing is found on a table."""
    found: list[EncodedScene | None] = []
    for view in views:
        try:
            found.append(grounder.encode(view_frame(view)))
        except DropclipError as error:
            print(f"left out: {error}")
            found.append(None)
    return found


def some_of(count: int) -> list[int]:
    """Which of the views `count` of them are."""
    return np.linspace(0, VIEWS - 1, count).round().astype(int).tolist() if count > 1 else [0]


def fused_map(
    scenes: list[EncodedScene | None],
    count: int,
    config: MapConfig,
    grounder: Grounder,
    views: list[View] | None = None,
) -> SceneMap:
    """The map of `count` of the views. Each picture is looked at once, whatever maps it is in. views: their true
    instances are taken in the place of ours."""
    fused = SceneMap(config)
    for v in some_of(count):
        scene = scenes[v]
        if scene is None:
            continue
        frame = MapFrame.of_encoded(scene, float(v))
        try:
            fused.add(frame if views is None else truer(frame, true_labels(views[v]).astype(np.int64), "instances"))
        except DropclipError as error:
            print(f"not fused: {error}")
            continue
        if views is None and grounder.beside is not None and (picture := fused.keyframes.get(fused.frames - 1)):
            if scene.known.seen is None:
                scene.known.seen = grounder.beside.names.look(scene.frame.rgb, scene.shown())
            picture.seen = scene.known.seen
    return fused


def of_map(scene: MapScene, grounder: Grounder, domain: Domain) -> SeenInstances:
    """The map's objects where the domain has its places."""
    pose = scene.frame.camera_pose
    assert pose is not None
    places = transform_points(pose, scene.points)
    instances = domain.seen_by(places, scene.instances[scene.voxels.point_to_voxel])
    return SeenInstances(
        instances,
        scene.instance_features,
        lambda phrases: grounder.compare(scene, phrases).odds if len(scene.objects) else None,
    )


def same_model(grounder: Grounder, views: list[View], domain: Domain) -> SeenInstances:
    """The bound: true instances, named by the model in all views, fused by what they show (eq. 5)."""
    of_label: dict[int, list[tuple[torch.Tensor, float, Keyframe, int]]] = {}
    for view in views:
        scene = encode_with_truth(grounder, view, instances=True)
        shown, truth = scene.shown(), view.mask.ravel()
        picture = Keyframe(view.rgb, shown.astype(np.uint16))
        for k in range(1, int(scene.instances.max()) + 1):
            pixels = shown.ravel() == k
            if pixels.any():
                label = int(np.bincount(truth[pixels]).argmax())
                of_label.setdefault(label, []).append((scene.instance_features[k - 1], float(pixels.sum()), picture, k))
    labels = sorted(of_label)
    fused = [
        fuse(torch.stack([f for f, *_ in of_label[each]]), torch.tensor([n for _, n, *_ in of_label[each]]))
        for each in labels
    ]
    sources = [
        [(picture, k, float(w)) for (_, _, picture, k), w in zip(of_label[each], weights, strict=True)]
        for each, (_, weights) in zip(labels, fused, strict=True)
    ]
    number = np.zeros(256, np.int64)
    number[labels] = np.arange(1, len(labels) + 1)
    features = torch.stack([feature for feature, _ in fused])
    scene = SimpleNamespace(
        instance_features=features,
        frame=SimpleNamespace(rgb=None, picture=False),
        shown=None,
        known=MapKnown(sources=sources),
    )
    return SeenInstances(number[domain.labels], features, lambda phrases: grounder.compare(scene, phrases).odds)


def asked(scene: Scene, domain: Domain, least: int, specs: dict, seed: int) -> dict[str, list[Question]]:
    """Questions about what the domain shows."""
    areas = areas_of(domain.labels.astype(np.int64))
    return {
        which: questions(scene, areas, specs, which, np.random.default_rng([seed, int(scene.name[-5:])]), least=least)
        for which in ("training", "heldout")
    }


def answers_of(
    scene: Scene,
    grounder: Grounder,
    upper: TrueFeatures | None,
    upper_config: ModelConfig,
    specs: dict,
    seed: int,
    sensor: SensorConfig | None = None,
    cloud: bool = False,
) -> dict:
    """All that is measured of one scene: {domain: {method: (answers by kind of phrases, tally)}}."""
    views = [scene.view(v, sensor) for v in range(VIEWS)]
    encoded = encoded_views(grounder, views)
    maps: dict[str, MapScene] = {}
    if encoded[0] is None:
        return {}
    for count in COUNTS:
        maps[f"{count} views"] = map_scene(fused_map(encoded, count, MapConfig(), grounder), grounder)
    if cloud:
        fused = fused_map(encoded, 8, MapConfig(features="fused"), grounder)
        maps["8 views, encoder on the cloud"] = map_scene(fused, grounder)
    maps["8 views, true instances"] = map_scene(fused_map(encoded, 8, MapConfig(), grounder, views), grounder)
    maps[EVERYWHERE] = maps["8 views"]
    first, frame = Domain.of_view(views[0]), view_frame(views[0])
    pixels = backproject(frame.depth, frame.intrinsics)[1]
    stands = np.isin(pixels, encoded[0].pixels)
    above = transform_points(views[0].world_from_camera, backproject(frame.depth, frame.intrinsics)[0])[:, 2] > ABOVE
    result: dict = {}
    for name, domain, least in (("view", first, 300), ("round", Domain.all_round(views), LEAST)):
        put = asked(scene, domain, least, specs, seed)
        methods: dict[str, Callable[[], SeenInstances]] = {
            key: (lambda of=of, domain=domain: of_map(of, grounder, domain)) for key, of in maps.items()
        }
        methods["bound: same model"] = lambda domain=domain: same_model(
            grounder, [views[v] for v in some_of(8)], domain
        )
        if name == "view":
            methods["one view"] = lambda: of_encoded(encoded[0], grounder)
        if name == "view" and upper is not None:
            methods["bound: fused"] = lambda: upper(scene, 0)
        result[name] = {}
        for key, method in methods.items():
            seen = method()
            if len(seen.of_pixel) != len(domain.labels):  # of all pixels of the view
                seen = replace(seen, of_pixel=seen.of_pixel[pixels])
            elif name == "view" and key in maps:  # the table beside an object is near it as well
                there = above if key == EVERYWHERE else stands
                seen = replace(seen, of_pixel=np.where(there, seen.of_pixel, 0))
            config = upper_config if key == "bound: fused" else grounder.config
            found = {which: ask(of, seen, domain.labels, grounder.text, config) for which, of in put.items()}
            result[name][key] = (found, tally(domain.labels.astype(np.int64), seen.of_pixel))
    return result


def run(
    paths: Path,
    out: Path,
    split: str = "unseen_instance",
    first: int = 0,
    last: int = 100,
    fused: bool = False,
    cloud: bool = False,
    sensor: Literal["none", "kinect", "realsense"] = "realsense",
    seed: int = 0,
) -> None:
    """Answers of scenes `first` to `last`, those that are not there yet. fused: with what the student was taught too;
    cloud: with the encoder on the fused cloud too."""
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    grounder = Grounder.from_pretrained(labels=False)
    catalogue = open_catalogue(PROCEDURAL)
    upper = TrueFeatures.of_model(None, grounder, catalogue.specs) if fused else None
    known = out / "calibration.json"
    out.mkdir(parents=True, exist_ok=True)
    if upper is None:
        known = None
    elif not known.exists():
        config = calibrate_method(upper, grounder.text, grounder.config, load_scenes(paths / "train"), catalogue.specs)
        known.write_text(json.dumps([config.temperature, config.null_similarity]))
    config = grounder.config
    if known is not None:
        temperature, null = json.loads(known.read_text())
        config = replace(config, temperature=temperature, null_similarity=null, threshold=0.5)
    for scene in load_scenes(paths / split)[first:last]:
        path = out / f"{split}_{scene.name}.pickle"
        if not path.exists():
            found = answers_of(scene, grounder, upper, config, catalogue.by_name, seed, SENSORS[sensor], cloud)
            with write_beside(path) as part:
                part.write_bytes(pickle.dumps((found, grounder.config, config)))
            print(scene.name, flush=True)


def report(out: Path, split: str = "unseen_instance") -> None:
    """Tables of all answers that are there: mIoU of both kinds of phrases, refusals, PQ, and how much of the
    gap between one view and the bound is closed."""
    files = [pickle.loads(path.read_bytes()) for path in sorted(out.glob(f"{split}_*.pickle"))]
    for domain in ("view", "round"):
        print(f"\n{domain}, {len(files)} scenes\n")
        heads = "training phrases: mIoU (95 %)", "held-out phrases: mIoU (95 %)", "absent, other refused"
        print("| | " + " | ".join([*heads, "present refused", "PQ", "gap closed"]) + " |")
        print("| --- " * 7 + "|")
        rows: dict[str, list[str]] = {}
        middles: dict[str, np.ndarray] = {}
        for method in files[0][0][domain]:
            of = [(found[domain][method], own, fused) for found, own, fused in files if found]
            config = of[0][2] if method == "bound: fused" else of[0][1]
            total, cells, middle = Tally(), [], np.zeros(1 + RESAMPLES)
            for (_, one), *_ in of:
                total += one
            for which in ("training", "heldout"):
                answers: list[Answers] = [answer[which] for (answer, _), *_ in of]
                ious = [each.ious(each.scores(config), 0.5, config.threshold) for each in answers]
                asked_of = of_family(answers, ious, FAMILIES)
                row, middle = summary(asked_of), middle + _drawn(asked_of) / 2
                cells.append(f"{row['mIoU']:.1f} ({row['low']:.1f} to {row['high']:.1f})")
                if which == "heldout":
                    share = refusals(answers, config, config.threshold)["refused"]
                    cells += [f"{share['absent']:.0f} %, {share['other']:.0f} %", f"{share['present']:.0f} %"]
            rows[method], middles[method] = [*cells, f"{total.scores()['PQ']:.1f}"], middle
        one, bound = middles["1 views"], middles["bound: same model"]
        for method, cells in rows.items():
            closed = 100 * (middles[method] - one) / (bound - one)
            low, high = np.percentile(closed[1:], (2.5, 97.5))
            print(f"| {method} | {' | '.join(cells)} | {closed[0]:.0f} % ({low:.0f} to {high:.0f}) |")


def _drawn(ious: list[np.ndarray]) -> np.ndarray:
    """mIoU of all scenes' questions, and of scenes drawn with replacement: (1 + RESAMPLES,)."""
    sums = np.array([[scene.sum(), len(scene)] for scene in ious])
    total, count = sums[np.vstack([np.arange(len(ious)), resampled(len(ious), 0)])].sum(1).T
    return total / count


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict({"render": render, "run": run, "report": report}, description=__doc__)
