# SPDX-License-Identifier: Apache-2.0
"""Phrases with relations about generated scenes: parses, answers with true instances and names, and the whole path.

    python -m training.mvtod generate --out SCENES --split unseen_instance --scenes 100 --views 3
    python -m benchmarks.path.relations --scenes SCENES [--limit 100] [--no-path]

Queries come from `training.scenes.relation_queries`, in held-out wordings, about one view of each scene; their truth is
that of the meshes. Parse: the whole tree. Answer: exactly the objects that are meant. Whole path: IoU of pixels, an
answer that there is nothing counts 0 (absent ones: the share that is answered NOT_FOUND), beside "class": the same
objects asked for by their name alone, all that are called so being right.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import tyro

from benchmarks.path.read_phrases import plain
from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.grounding.phrases import Judge
from dropclip_ros.grounding.pipeline import Grounder, GroundResult
from dropclip_ros.grounding.relations import Layout, Viewer
from dropclip_ros.language.parse import read_phrase
from dropclip_ros.language.tree import to_dict
from dropclip_ros.language.words import singular
from dropclip_ros.vision.geometry import backproject, transform_points
from training.evaluate.questions import MIN_VISIBLE, areas_of
from training.evaluate.served.pipeline import drawn_views, true_labels, view_frame
from training.objects.catalogue import matches
from training.objects.procedural.objects import build, catalogue
from training.objects.spec import ObjectSpec
from training.scenes.description import FIRST_OBJECT_ID
from training.scenes.relation_queries import KINDS, RelationQuery, relation_queries, solids
from training.scenes.scene import Scene, View
from training.scenes.shards import load_scenes

EDGE = 0.005  # m of voxels


def true_layout(view: View, labels: list[int]) -> Layout:
    """What the view shows of its objects, in the world's axes, instances in the order of `labels`."""
    frame, of_pixel = view_frame(view), true_labels(view)
    points, pixels = backproject(frame.depth, frame.intrinsics)
    number = np.zeros(256, np.int64)
    number[labels] = np.arange(1, len(labels) + 1)
    owner = number[of_pixel[pixels]]
    points, owner = transform_points(view.world_from_camera, points[owner > 0]), owner[owner > 0]
    first = np.unique(np.column_stack([np.floor(points / EDGE), owner]), axis=0, return_index=True)[1]
    return Layout(points[first], owner[first], Viewer.of_camera(view.world_from_camera))


def true_score(specs: list[ObjectSpec], text: str) -> np.ndarray:
    """As a model would score that knows all names."""
    *before, last = text.split()
    wordings = {text, " ".join([*before, singular(last)])}
    return np.array([0.95 if any(matches(spec, wording) for wording in wordings) else 0.02 for spec in specs])


def iou(result: GroundResult, scene, query: RelationQuery, of_pixel: np.ndarray) -> float:
    """Of the answered pixels with those that are meant; for absent things whether nothing was answered."""
    if not query.labels:
        return float(result.status == Status.NOT_FOUND)
    answered = np.zeros(of_pixel.size, bool)
    for found in result.objects:
        answered[scene.pixels[found.points]] = True
    meant = np.isin(of_pixel, query.labels)
    return float((answered & meant).sum() / max((answered | meant).sum(), 1))


def asked_of(
    scene: Scene, v: int, rng: np.random.Generator, specs: dict
) -> tuple[View, list[int], list[RelationQuery]]:
    """A view, the labels of what it shows enough of, and the queries about it."""
    view = scene.view(v)
    areas = areas_of(np.where(np.isin(view.mask.ravel(), [0, 1]), 0, view.mask.ravel()))
    seen = [label for label in scene.objects if label >= FIRST_OBJECT_ID and areas[label] > 0]
    labels = [label for label in seen if areas[label] >= MIN_VISIBLE]
    if len(labels) < len(seen):  # a sliver could be meant as well
        return view, labels, []
    models = {o.name: build(specs[o.name]) for o in scene.description.objects}
    there = solids(scene.description, models, view.world_from_camera)
    return view, labels, relation_queries([there[label] for label in labels], rng)


def main(scenes: Path, limit: int | None = None, path: bool = True, failures: bool = False, seed: int = 0) -> None:
    """Prints a row for each kind: queries, parses right, answers right, mIoU of the whole path."""
    specs, grounder = {spec.name: spec for spec in catalogue()}, Grounder.from_pretrained() if path else None
    rows, of_class = defaultdict(list), []
    for s, scene, v in drawn_views(load_scenes(scenes)[:limit], seed):
        view, labels, queries = asked_of(scene, v, np.random.default_rng([seed, s]), specs)
        layout, of_pixel = true_layout(view, labels), true_labels(view)
        known = [specs[scene.objects[label]["name"]] for label in labels]
        encoded = _encoded(grounder, view)
        for query in queries:
            read = read_phrase(query.phrase)
            parsed = read.reading is not None and plain(to_dict(read.reading)) == plain(to_dict(query.reading))
            answered: list[int] | None = None
            if read.reading is not None and not read.whole:
                judged = Judge(layout, lambda text, known=known: true_score(known, text), 0.5, 0.5).judge(read)
                answered = sorted(labels[k - 1] for k in judged.chosen)
            right = answered == sorted(query.labels)
            found = np.nan
            if path:
                found = iou(grounder.ground(encoded, query.phrase), encoded, query, of_pixel) if encoded else 0.0
            rows[query.kind].append((parsed, right, found))
            if failures and not (parsed and right):
                print(
                    f"{scene.name} {v} {query.kind} {query.phrase!r}: {read.reading and to_dict(read.reading)}, "
                    f"meant {query.labels}, answered {answered}"
                )
        if path:
            of_class += _class_ious(grounder, encoded, scene, labels, of_pixel, known)
    print(f"{'kind':10} queries  parse right  answer right  whole path mIoU")
    every = [row for kind in KINDS for row in rows[kind]]
    present = [row for kind in KINDS if kind != "absent" for row in rows[kind]]
    for name, of_kind in (*rows.items(), ("all", every), ("present", present)):
        parsed, right, found = 100 * np.mean(of_kind, axis=0)
        print(f"{name:10} {len(of_kind):7}  {parsed:9.1f} %  {right:10.1f} %  {found:10.1f}")
    if path:
        print(f"{'class':10} {len(of_class):7}  {100 * np.mean(of_class):40.1f}")


def _encoded(grounder: Grounder | None, view: View):
    try:
        return grounder.encode(view_frame(view)) if grounder else None
    except DropclipError:
        return None


def _class_ious(
    grounder: Grounder, encoded, scene: Scene, labels: list[int], of_pixel: np.ndarray, known: list
) -> list[float]:
    """IoU of each object's name alone."""
    found = []
    for spec in known:
        name = scene.objects[labels[known.index(spec)]]["category"]
        meant = tuple(label for label, other in zip(labels, known, strict=True) if matches(other, name))
        query = RelationQuery(name, "class", None, meant)
        found.append(iou(grounder.ground(encoded, name), encoded, query, of_pixel) if encoded else 0.0)
    return found


if __name__ == "__main__":
    tyro.cli(main)
