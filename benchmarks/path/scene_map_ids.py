# SPDX-License-Identifier: Apache-2.0
"""Do objects of the map keep their ids? Is a wrong pose noticed? What do a frame and 10,000 frames cost?

    python -m benchmarks.path.scene_map_ids ids --recorded SEQUENCES --out RESULTS [--truth instances]
    python -m benchmarks.path.scene_map_ids drift --paths PATHS --out RESULTS [--scenes 40] [--sensor realsense]
    python -m benchmarks.path.scene_map_ids long --frames 10000 [--nothing]
    python -m benchmarks.path.scene_map_ids report --out RESULTS

ids: sequences of 100 frames in which things are taken, added and pushed (`benchmarks.data.scene_sequences`); each
frame's pixels are looked up in the map as it is after that frame. A true object that shows 300 pixels or more and an id
that has as many match at IoU 0.5. Switches are changes of a true object's id; IDF1 as in tracking (Ristani 2016).
truth puts true things in the place of ours: `instances` all that a frame shows, `joined` ours, of which those of one
object are one, `parted` ours, of which those of several objects are parted.
drift: PATHS of `benchmarks.path.scene_map`; 8 of 16 views are fused, the others shown with a pose that is off by 1 cm
in a random direction and 2 degrees about a random axis, by either alone, and by the noise of a good arm.
"""

from __future__ import annotations

import json
import resource
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import tyro
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from benchmarks.data.scene_sequences import SPLIT, Recorded, read, truer
from dropclip_ros.base.errors import DropclipError
from dropclip_ros.base.files import write_beside
from dropclip_ros.grounding.pipeline import Grounder
from dropclip_ros.mapping.config import MapConfig
from dropclip_ros.mapping.frames import MapFrame
from dropclip_ros.mapping.scene_map import SceneMap
from dropclip_ros.vision.geometry import backproject, transform_points
from training.evaluate.served.pipeline import view_frame
from training.scenes.changing import changing
from training.scenes.description import FIRST_OBJECT_ID
from training.scenes.sensor import SENSORS
from training.scenes.shards import load_scenes

SHOWN = 300  # pixels
EVERY = 2  # row and column of them is looked up
ABOVE = 0.003  # m: what is lower is the table
NEAR = 0.0075  # m: a pixel is of the voxel that is so near
REACH = 1.0  # m from the middle of the map, where it still looks for one
DRIFTS = {
    "1 cm and 2 degrees": (0.01, 2.0),
    "1 cm": (0.01, 0.0),
    "2 degrees": (0.0, 2.0),
    "0.5 mm and 0.1 degrees (no drift)": (0.0005, 0.1),
    "2 mm and 0.3 degrees (no drift)": (0.002, 0.3),
}


def ids_in(scene_map: SceneMap, frame: MapFrame) -> np.ndarray:
    """The id that the map has for each pixel (h w,) of every `EVERY` row and column of a frame, 0 for none: the nearest
    voxel's, of what is above the table."""
    depth = frame.frame.depth
    found, grid, table = np.zeros(depth.size, np.int64), scene_map.grid, scene_map.watch.table
    if not len(grid) or table is None or not (depth > 0).any():
        return found.reshape(depth.shape)[::EVERY, ::EVERY].ravel()
    points, pixels = backproject(depth, frame.frame.intrinsics)
    some = (pixels // depth.shape[1] % EVERY == 0) & (pixels % EVERY == 0)
    places, pixels = transform_points(frame.pose, points[some]), pixels[some]
    above = places @ table[:3] + table[3] > ABOVE
    places, pixels = places[above], pixels[above]
    far = np.abs(places[:, :2] - grid.mean[:, :2].mean(0)).max(1) > REACH
    distance, row = cKDTree(grid.mean).query(places[~far], distance_upper_bound=NEAR)
    owners = np.append(scene_map.owners(), 0)
    found[pixels[~far]] = owners[np.where(np.isfinite(distance), row, len(grid))]
    return found.reshape(depth.shape)[::EVERY, ::EVERY].ravel()


def matches(labels: np.ndarray, ids: np.ndarray) -> tuple[dict[int, int], set[int], set[int]]:
    """Pairs true label -> id at IoU 0.5; the labels and ids that show enough."""
    table = np.zeros((int(labels.max(initial=0)) + 1, int(ids.max(initial=0)) + 1), np.int64)
    np.add.at(table, (labels, ids), 1)
    of_label, of_id = table.sum(1), table.sum(0)
    true = {int(k) for k in np.flatnonzero(of_label >= SHOWN / EVERY**2) if k >= FIRST_OBJECT_ID}
    said = {int(k) for k in np.flatnonzero(of_id >= SHOWN / EVERY**2) if k > 0}
    iou = table / np.maximum(of_label[:, None] + of_id - table, 1)
    return {label: one for label in true for one in said if iou[label, one] > 0.5}, true, said


def sequence(frames: Iterable[Recorded], truth: str = "none", config: MapConfig | None = None) -> dict:
    """One sequence: counts of matches for IDF1, switches, events and how soon they show, milliseconds of each frame."""
    scene_map = SceneMap(config)
    both: dict[tuple[int, int], int] = defaultdict(int)
    true_count, said_count, last = defaultdict(int), defaultdict(int), {}
    wrong: dict[tuple[int, int], int] = defaultdict(int)  # ids that match nothing, and what most of each is
    switches, ms, events, refused, log = 0, [], [], 0, []
    for k, recorded in enumerate(frames):
        events += [[event.kind, event.frame, event.label] for event in recorded.events]
        seen = truer(recorded.frame, recorded.truth, truth)
        start = time.process_time()
        try:
            added = scene_map.add(seen)
            log.append([k, list(added.new), list(added.moved), list(added.taken)])
        except DropclipError as error:
            refused += 1
            log.append([k, error.message])
        ms.append(1e3 * (time.process_time() - start))
        found = ids_in(scene_map, seen)
        truth_seen = recorded.truth.reshape(seen.frame.depth.shape)[::EVERY, ::EVERY].ravel()
        pairs, true, said = matches(truth_seen, found)
        for label in true:
            true_count[label] += 1
        for one in said:
            said_count[one] += 1
            if one not in pairs.values():
                wrong[one, int(np.bincount(truth_seen[found == one]).argmax())] += 1
        for label, one in pairs.items():
            both[label, one] += 1
            if last.get(label, one) != one:
                switches += 1
                log.append([k, "switch", label, last[label], one])
            last[label] = one
    return {
        "frames": len(ms),
        "both": [[*pair, count] for pair, count in both.items()],
        "wrong": [[*pair, count] for pair, count in wrong.items()],
        "true": dict(true_count),
        "said": dict(said_count),
        "switches": switches,
        "events": events,
        "refused": refused,
        "ms": ms,
        "log": log,
    }


def ids(recorded: Path, out: Path, truth: Literal["none", "instances", "joined", "parted"] = "none") -> None:
    """Sequences that are recorded and not there yet."""
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    out.mkdir(parents=True, exist_ok=True)
    for source in sorted(recorded.glob("*.pickle")):
        path = out / f"sequence_{source.stem}.json"
        if not path.exists():
            found = sequence(read(source), truth)
            with write_beside(path) as part:
                part.write_text(json.dumps(found))
            print(source.stem, f"switches {found['switches']}, IDF1 {idf1([found]):.3f}", flush=True)


def idf1(found: list[dict]) -> float:
    """Share of all true and said objects of all frames that are of one true object and its one id."""
    right = total = 0
    for of in found:
        pairs = {(label, one): count for label, one, count in of["both"]}
        labels, said = sorted({pair[0] for pair in pairs}), sorted({pair[1] for pair in pairs})
        table = np.array([[pairs.get((label, one), 0) for one in said] for label in labels])
        if table.size:
            right += table[linear_sum_assignment(-table)].sum()
        total += sum(of["true"].values()) + sum(of["said"].values())
    return float(2 * right / max(total, 1))


def off(pose: np.ndarray, metres: float, degrees: float, rng: np.random.Generator) -> np.ndarray:
    """A camera's pose (4,4) moved in a random direction, and turned about a random axis through it."""
    wrong = pose.copy()
    direction, axis = rng.normal(size=(2, 3))
    wrong[:3, 3] += metres * direction / np.linalg.norm(direction)
    turn = Rotation.from_rotvec(np.radians(degrees) * axis / np.linalg.norm(axis)).as_matrix()
    wrong[:3, :3] = turn @ wrong[:3, :3]
    return wrong


def drift(
    paths: Path,
    out: Path,
    scenes: int = 40,
    first: int = 0,
    sensor: Literal["none", "kinect", "realsense"] = "realsense",
) -> None:
    """For each scene and kind of drift, whether each of 8 views is refused."""
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    grounder = Grounder.from_pretrained(image=False)
    out.mkdir(parents=True, exist_ok=True)
    for s, scene in enumerate(load_scenes(paths / SPLIT)[first:scenes], start=first):
        path = out / f"drift_{s:03d}.json"
        if path.exists():
            continue
        rng, scene_map, found = np.random.default_rng(s), SceneMap(), defaultdict(list)
        for v in [*range(0, 16, 2), *range(1, 16, 2)]:
            try:
                encoded = grounder.encode(view_frame(scene.view(v, SENSORS[sensor])))
            except DropclipError:
                continue
            if v % 2 == 0:
                scene_map.add(MapFrame.of_encoded(encoded, float(v)))
                continue
            right = encoded.frame.camera_pose
            for name, (metres, degrees) in DRIFTS.items():
                encoded.frame = replace(encoded.frame, camera_pose=off(right, metres, degrees, rng))
                try:
                    scene_map.check(MapFrame.of_encoded(encoded, 100.0))
                    found[name].append(False)
                except DropclipError:
                    found[name].append(True)
            encoded.frame = replace(encoded.frame, camera_pose=right)
        path.write_text(json.dumps(found))
        print(s, {name: float(np.mean(of)) for name, of in found.items()}, flush=True)


def long(frames: int = 10_000, every: int = 500, index: int = 1, nothing: bool = False) -> None:
    """Frames of one small sequence over and over, each time moved a little: memory, voxels and objects. nothing: of the
    table alone, as if nothing were found on it."""
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    grounder, scene_map = Grounder.from_pretrained(image=False), SceneMap()
    seen = []
    for view, _ in changing(index, SPLIT, frames=60, width=320, height=240):
        if nothing:
            bare = np.where(view.mask >= FIRST_OBJECT_ID, 0, view.depth)
            seen.append(MapFrame.of_nothing(replace(view_frame(view), depth=bare), 0.0))
            continue
        seen.append(MapFrame.of_encoded(grounder.encode(view_frame(view)), 0.0))
        _ = seen[-1].scene.instance_features
    rng, refused, start = np.random.default_rng(0), 0, time.process_time()
    for k in range(frames):
        frame = seen[k % len(seen)]
        shift = off(np.eye(4), 0.001, 0.05, rng)
        moved = replace(frame.frame, camera_pose=shift @ frame.pose)
        points = transform_points(shift, frame.points).astype(np.float32)
        try:
            scene_map.add(replace(frame, stamp=k / 10, frame=moved, points=points))
        except DropclipError:
            refused += 1
        if k % every == 0 or k == frames - 1:
            rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            mean = 1e3 * (time.process_time() - start) / (k + 1)
            print(
                f"{k + 1} frames, {refused} refused: {rss:.0f} MiB at most, {len(scene_map.grid)} voxels, "
                f"{len(scene_map.pieces)} pieces, {len(scene_map.objects)} objects, "
                f"{len(scene_map.keyframes)} pictures, {mean:.0f} ms a frame",
                flush=True,
            )


def report(out: Path) -> None:
    """Of all sequences and drifts that are there."""
    found = [json.loads(path.read_text()) for path in sorted(out.glob("sequence_*.json"))]
    if found:
        frames, events = sum(of["frames"] for of in found), [event for of in found for event in of["events"]]
        kinds = {kind: sum(event[0] == kind for event in events) for kind in ("taken", "added", "pushed")}
        ms = np.concatenate([of["ms"] for of in found])
        print(f"{len(found)} sequences, {frames} frames, {kinds}, {sum(of['refused'] for of in found)} refused")
        print(
            f"switches per 100 frames {100 * sum(of['switches'] for of in found) / frames:.2f}, IDF1 {idf1(found):.3f}"
        )
        print(
            f"ms of a core a frame: median {np.median(ms):.0f}, 95 % {np.percentile(ms, 95):.0f}, most {ms.max():.0f}"
        )
    drifts = [json.loads(path.read_text()) for path in sorted(out.glob("drift_*.json"))]
    for name in DRIFTS if drifts else ():
        every = np.concatenate([of[name] for of in drifts if name in of])
        print(f"{name}: {100 * every.mean():.1f} % of {len(every)} frames refused")


if __name__ == "__main__":
    commands = {"ids": ids, "drift": drift, "long": long, "report": report}
    tyro.extras.subcommand_cli_from_dict(commands, description=__doc__)
