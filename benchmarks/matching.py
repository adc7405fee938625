# SPDX-License-Identifier: Apache-2.0
"""The matcher's rules on MV-TOD scenes, each on and off: do the grasps it gives hold, on the object that was meant?

    python benchmarks/matching.py --scenes runs/eval/scenes/unseen_instance [--targets 100]

Proposals are the antipodal sampler's on depth with the sensor's noise, targets the points of true masks. A grasp is
free where the gripper touches neither the table nor the surface of any object as it truly is, unseen sides included;
on the target where most of what is truly between the fingers is the target's; and good where it is both and keeps the
target through lifting and shaking in MuJoCo (training/mvtod/grasp_trials.py). Of each row: answered, share of the
targets that got a grasp; top 1, of the targets whose first grasp is so; top 3, of all grasps given; any, of the targets
with a good one among the three, which is the most that a planner can make of them.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tyro

from dropclip_ros.antipodal import AntipodalConfig, sample_antipodal
from dropclip_ros.crop import crop_above
from dropclip_ros.errors import DropclipError
from dropclip_ros.geometry import Intrinsics, backproject
from dropclip_ros.grasps import Grasps, colliding, height_above, points_between
from dropclip_ros.grippers import Gripper, load_gripper
from dropclip_ros.matching import RULES, MatchConfig, Surroundings, match_grasps
from dropclip_ros.table import find_table
from training.mvtod.catalogue import Catalogue, open_catalogue
from training.mvtod.grasp_trials import TrialConfig, Trials
from training.mvtod.scene_grasps import SPACING, surface_points
from training.mvtod.scenes import Scene, View
from training.mvtod.sensor import SensorConfig
from training.mvtod.shards import load_scenes

MIN_PIXELS = 400  # of a target, at 640x480
COLUMNS = (8, 13, 10, 5, 13, 10, 5, 5)  # widths

NEAR = MatchConfig(max_distance=0.1)
BEST = replace(NEAR, rules=tuple(RULES), rank="score")
WAYS = {
    "A.7": MatchConfig(),
    "A.7, opened wider": MatchConfig(open_wider=0.2),
    "A.7, at most 0.1 m": NEAR,
    **{f"  + {rule}": replace(NEAR, rules=(rule,)) for rule in RULES},
    "  + all rules": replace(NEAR, rules=tuple(RULES)),
    "by score and distance": replace(NEAR, rank="score"),
    "by both, all rules": BEST,
    "  opened wider": replace(BEST, open_wider=0.2),
    **{f"  without {rule}": replace(BEST, rules=tuple(r for r in RULES if r != rule)) for rule in RULES},
}


@dataclass
class Truth:
    """A scene as it is: surfaces by label, (n, 3) m in the world; the table's height; what judges grasps."""

    scene: Scene
    catalogue: Catalogue
    gripper: Gripper

    def __post_init__(self) -> None:
        specs = {spec.name: spec for spec in self.catalogue.specs}
        self.placed = {one.label: one for one in self.scene.description.objects}
        self.models = {label: self.catalogue.build(specs[one.name]) for label, one in self.placed.items()}
        self.surfaces = {label: surface_points(one, self.models[label]) for label, one in self.placed.items()}
        self._trials: dict[int, Trials] = {}

    def judge(self, grasps: Grasps, label: int) -> np.ndarray:
        """(N, 3) bool of grasps in the world's frame: free, on the target, good."""
        table = np.array([0.0, 0, 1, -self.scene.description.table.height])
        everything = np.concatenate(list(self.surfaces.values()))
        free = (grasps.width <= self.gripper.max_width) & (height_above(grasps, table, self.gripper) >= 0)
        free &= ~colliding(grasps, everything, self.gripper, SPACING)
        own = points_between(grasps, self.surfaces[label], self.gripper)
        on_target = 2 * own > points_between(grasps, everything, self.gripper)
        good = free & on_target
        good[good] = self._trial(label).hold(grasps[good].transformed(np.linalg.inv(self.placed[label].pose)))
        return np.column_stack([free, on_target, good])

    def _trial(self, label: int) -> Trials:
        if label not in self._trials:
            model, scale = self.models[label], self.placed[label].scale
            model = replace(model, vertices=scale * model.vertices, hull_parts=[scale * h for h in model.hull_parts])
            self._trials[label] = Trials(model, self.gripper, TrialConfig())
        return self._trials[label]


def seen(view: View, gripper: Gripper) -> tuple[Grasps, Surroundings, np.ndarray]:
    """Proposals in the camera's frame, what stands on the table, and the label (n,) of each of its points."""
    matrix, (height, width) = view.intrinsics, view.depth.shape
    camera = Intrinsics(matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2], width, height)
    points, pixels = backproject(view.depth, camera)
    table = find_table(points)
    above = crop_above(points, table)
    proposals = sample_antipodal(points[above], AntipodalConfig(), gripper, table=table.plane)
    return proposals, Surroundings(points[above], table.plane), view.mask.reshape(-1)[pixels[above]]


def main(scenes: Path, targets: int = 100, per_view: int = 3, gripper: str = "robotiq_2f_140", seed: int = 0) -> None:
    """Prints a row for each way to match.

    Args:
        scenes: folder of scenes whose objects are in the catalogue that their recipe names.
        targets: so many, of random views of the scenes in turn.
        per_view: at most so many targets of a view.
        gripper: a name, or the path of a profile.
        seed: of the views and targets.
    """
    hand, rng = load_gripper(gripper), np.random.default_rng(seed)
    recipe = (scenes / "recipe.json").read_text()
    catalogue = open_catalogue(json.loads(recipe)["catalogue"])
    done, judged = 0, {way: [] for way in WAYS}
    for scene in load_scenes(scenes):
        if done >= targets:
            break
        view = scene.view(int(rng.integers(len(scene))), SensorConfig())
        try:
            proposals, surroundings, labels = seen(view, hand)
        except DropclipError:
            continue
        truth, known = Truth(scene, catalogue, hand), {}
        visible = [k for k in truth.placed if np.count_nonzero(view.mask == k) >= MIN_PIXELS and (labels == k).any()]
        for label in rng.permutation(visible)[: min(per_view, targets - done)]:
            done += 1
            for way, config in WAYS.items():
                try:
                    match = match_grasps(proposals, surroundings.points[labels == label], config, hand, surroundings)
                    chosen = list(zip(match.indices.tolist(), match.widths.tolist(), strict=True))
                except DropclipError:
                    chosen = []
                for i, width in chosen:
                    if (label, i, width) not in known:
                        grasp = replace(proposals[i], width=[width]).transformed(view.world_from_camera)
                        known[label, i, width] = truth.judge(grasp, label)[0]
                judged[way].append(np.array([known[(label, *one)] for one in chosen], bool).reshape(-1, 3))
    print(f"{done} targets; shares in %")
    print(f"{'':24}answered | top 1: free  on target  good | top 3: free  on target  good |  any")
    for way, answers in judged.items():
        first = np.sum([a[:1].sum(axis=0) for a in answers], axis=0) / done
        shares = 100 * np.array([np.mean([len(a) > 0 for a in answers]), *first, *np.concatenate(answers).mean(axis=0),
                                 np.mean([a[:, 2].any() for a in answers])])  # fmt: skip
        print(f"{way:24}" + " ".join(f"{share:{size}.0f}" for share, size in zip(shares, COLUMNS, strict=True)))


if __name__ == "__main__":
    tyro.cli(main)
