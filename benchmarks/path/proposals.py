# SPDX-License-Identifier: Apache-2.0
"""Grasp proposals side by side on single views of held-out scenes: are the first 1, 10, 50 of them grasps?

    dropclip-mvtod grasps --scenes SCENES --in-place --no-physical      # true ones, for the last row
    python -m benchmarks.path.proposals --scenes SCENES --model runs/hggd/model/hggd.pt [--count 20]

A proposal counts that collides with neither the table nor the true meshes, has one object between its fingers, and
holds it in a trial in MuJoCo: lifted and shaken (`training.hggd.judge`). All methods get the same frames, depth as a
camera gives it. precision: share of the first k that count, of those there are; a view without proposals counts 0.
covered: share of the objects that the view shows which one of the first 50 holds. Intervals: bootstrap over views.
"""

import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tyro

from dropclip_ros.base.errors import DropclipError
from dropclip_ros.grasping.antipodal import AntipodalConfig, sample_antipodal
from dropclip_ros.grasping.grasps import Grasps
from dropclip_ros.grasping.grippers import GRIPPERS, Gripper
from dropclip_ros.grasping.hggd.detector import Hggd
from dropclip_ros.tabletop.scene import look
from dropclip_ros.vision.geometry import RgbdFrame
from training.evaluate.served.pipeline import drawn_views, view_frame
from training.hggd.data import camera_grasps, with_grasps
from training.hggd.judge import VERDICTS, Judge
from training.objects.catalogue import PROCEDURAL, open_catalogue
from training.scenes.description import FIRST_OBJECT_ID
from training.scenes.grasps.grasp_trials import TrialConfig
from training.scenes.sensor import SENSORS
from training.scenes.shards import load_scenes

FIRST = (1, 10, 50)
SHOWN = 200  # pixels of 640x480 that show an object, at least, for it to count as shown

Proposer = Callable[[RgbdFrame], Grasps]


def antipodal(gripper: Gripper) -> Proposer:
    """As proposal_node has it."""

    def propose(frame: RgbdFrame) -> Grasps:
        top = look(frame.depth, frame.intrinsics)
        return sample_antipodal(top.points[top.standing], AntipodalConfig(), gripper, table=top.table.plane)

    return propose


def hggd(model: Path, gripper: Gripper) -> Proposer:
    """As hggd_node has it."""
    detector = Hggd.load(model, "cpu")

    def propose(frame: RgbdFrame) -> Grasps:
        table = look(frame.depth, frame.intrinsics).table.plane
        return detector.detect(frame.rgb, frame.depth, frame.intrinsics, gripper=gripper, table=table)

    return propose


def judged(name: str, grasps: Grasps, pose: np.ndarray, judge: Judge, shown: set[int], seconds: float) -> dict:
    """What there is to count of a method's proposals for one view."""
    verdicts = judge(grasps[: FIRST[-1]].transformed(pose))
    held = set(verdicts.label[verdicts.good].tolist()) & shown
    return {
        "method": name,
        "proposals": len(grasps),
        "ms": 1e3 * seconds,
        **{f"top {k}": float(verdicts.good[:k].mean()) if len(grasps) else 0.0 for k in FIRST},
        "covered": len(held) / max(len(shown), 1),
        "verdicts": verdicts.what.tolist(),
    }


def interval(values: np.ndarray) -> str:
    """Mean of one value a view, with a 95 % interval."""
    draws = np.random.default_rng(0).choice(values, (2000, len(values))).mean(axis=1)
    low, high = np.quantile(draws, [0.025, 0.975])
    return f"{values.mean():.2f} [{low:.2f}, {high:.2f}]"


def main(
    scenes: Path,
    model: Path | None = None,
    count: int = 20,
    seed: int = 0,
    sensor: str = "kinect",
    gripper: str = "robotiq_2f_140",
    catalogue: str = PROCEDURAL,
    truth: bool = True,
    out: Path | None = None,
) -> None:
    """Prints a table. out: JSON lines, one for each method and view."""
    hand = GRIPPERS[gripper]
    methods = {"antipodal": antipodal(hand)} | ({"hggd": hggd(model, hand)} if model else {})
    found = load_scenes(scenes)
    found = (with_grasps(found) if truth else found)[:count]
    rows = []
    for _, scene, v in drawn_views(found, seed):
        view = scene.view(v, SENSORS[sensor])
        frame = view_frame(view)
        labels, pixels = np.unique(view.mask[view.mask >= FIRST_OBJECT_ID], return_counts=True)
        shown = set(labels[pixels >= SHOWN].tolist())
        judge = Judge(scene, open_catalogue(catalogue), hand, TrialConfig())
        for name, propose in methods.items():
            start = time.thread_time()
            try:
                grasps = propose(frame)
            except DropclipError as error:
                print(f"{scene.name}, view {v}, {name}: {error}")
                grasps = Grasps.empty()
            seconds = time.thread_time() - start
            rows.append(judged(name, grasps, view.world_from_camera, judge, shown, seconds))
        if truth:
            grasps = camera_grasps(scene, v)
            grasps = grasps[np.random.default_rng(seed).permutation(len(grasps))]
            rows.append(judged("true meshes", grasps, view.world_from_camera, judge, shown, 0.0))
        if out is not None:
            out.write_text("".join(json.dumps(row) + "\n" for row in rows))
    print(f"{len(found)} views of {scenes}, {sensor} depth, {gripper}")
    print(f"| proposals | {' | '.join(f'top {k}' for k in FIRST)} | covered | a view | ms |\n|{' --- |' * 7}")
    for name in dict.fromkeys(row["method"] for row in rows):
        own = [row for row in rows if row["method"] == name]
        cells = [interval(np.array([row[key] for row in own])) for key in (*(f"top {k}" for k in FIRST), "covered")]
        numbers = [np.mean([row["proposals"] for row in own]), np.median([row["ms"] for row in own])]
        print(f"| {name} | {' | '.join(cells)} | {numbers[0]:.0f} | {numbers[1]:.0f} |")
    for name in dict.fromkeys(row["method"] for row in rows):
        counts = Counter(what for row in rows if row["method"] == name for what in row["verdicts"])
        total = max(sum(counts.values()), 1)
        print(f"{name}: " + ", ".join(f"{text} {counts[i] / total:.1%}" for i, text in enumerate(VERDICTS)))


if __name__ == "__main__":
    tyro.cli(main)
