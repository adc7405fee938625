# SPDX-License-Identifier: Apache-2.0
"""The matcher's rules on MV-TOD scenes, each on and off: do the grasps it gives hold, on the object that was meant?

    python -m benchmarks.path.matching --scenes runs/eval/scenes/unseen_instance [--targets 100] [--astray 0.015]

Proposals are the antipodal sampler's on depth with the sensor's noise, targets the points of true masks. A grasp is
free where the gripper touches neither the table nor the surface of any object as it truly is, unseen sides included;
on the target where the target and no other object is truly between the fingers; and good where it is both and keeps it
through lifting and shaking in MuJoCo (training/hggd/judge.py). Of each row: answered, share of the
targets that got a grasp; top 1, of the targets whose first grasp is so; top 3, of all grasps given; any, of the targets
with a good one among the three, which is the most that a planner can make of them.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import tyro

from dropclip_ros.base.errors import DropclipError
from dropclip_ros.grasping.antipodal import AntipodalConfig, sample_antipodal
from dropclip_ros.grasping.grasps import Grasps
from dropclip_ros.grasping.grippers import Gripper, load_gripper
from dropclip_ros.grasping.matching import RULES, MatchConfig, Surroundings, match_grasps
from dropclip_ros.tabletop.scene import look
from dropclip_ros.tabletop.workspace import Workspace
from training.hggd.judge import COLLIDES, Judge
from training.objects.catalogue import catalogue_of
from training.scenes.grasps.grasp_trials import TrialConfig
from training.scenes.scene import View
from training.scenes.sensor import SensorConfig
from training.scenes.shards import load_scenes

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
    "    and sampled on targets": replace(BEST, open_wider=0.2, sample_target=True),
    **{f"  without {rule}": replace(BEST, rules=tuple(r for r in RULES if r != rule)) for rule in RULES},
}


def seen(view: View, gripper: Gripper) -> tuple[Grasps, Surroundings, np.ndarray]:
    """Proposals in the camera's frame, what stands on the table, and the label (n,) of each of its points."""
    top = look(view.depth, view.camera, Workspace(table="plane"))
    points, plane = top.points[top.standing], top.table.plane
    proposals = sample_antipodal(points, AntipodalConfig(), gripper, table=plane)
    return proposals, Surroundings(points, plane), view.mask.reshape(-1)[top.pixels[top.standing]]


def main(
    scenes: Path,
    targets: int = 100,
    per_view: int = 3,
    gripper: str = "robotiq_2f_140",
    astray: float = 0.0,
    seed: int = 0,
) -> None:
    """Prints a row for each way to match.

    Args:
        scenes: folder of scenes whose objects are in the catalogue that their recipe names.
        targets: so many, of random views of the scenes in turn.
        per_view: at most so many targets of a view.
        gripper: a name, or the path of a profile.
        astray: deviation, m, along each axis, of proposals from where the sampler put them: its own are checked against
            what is seen, as not every proposer's are.
        seed: of the views, the targets and what goes astray.
    """
    hand, rng = load_gripper(gripper), np.random.default_rng(seed)
    catalogue = catalogue_of(scenes)
    done, judged = 0, {way: [] for way in WAYS}
    for scene in load_scenes(scenes):
        if done >= targets:
            break
        view = scene.view(int(rng.integers(len(scene))), SensorConfig())
        try:
            proposals, surroundings, labels = seen(view, hand)
        except DropclipError:
            continue
        proposals = replace(proposals, translation=proposals.translation + rng.normal(0, astray, (len(proposals), 3)))
        judge, known = Judge(scene, catalogue, hand, TrialConfig()), {}
        visible = [k for k in scene.objects if np.count_nonzero(view.mask == k) >= MIN_PIXELS and (labels == k).any()]
        for label in rng.permutation(visible)[: min(per_view, targets - done)]:
            done += 1
            for way, config in WAYS.items():
                try:
                    match = match_grasps(proposals, surroundings.points[labels == label], config, hand, surroundings)
                    chosen = replace(match.grasps, width=match.widths)
                except DropclipError:
                    chosen = Grasps.empty()
                keys = [(label, row.tobytes()) for row in chosen.rows()]
                for i, key in enumerate(keys):
                    if key not in known:
                        verdict = judge(chosen[i : i + 1].transformed(view.world_from_camera))
                        free, own = verdict.what != COLLIDES, verdict.label == label
                        known[key] = *free, *own, *(verdict.good & own)
                judged[way].append(np.array([known[key] for key in keys], bool).reshape(-1, 3))
    print_shares(judged, done)


def print_shares(judged: dict[str, list[np.ndarray]], done: int) -> None:
    """The table. judged: by way, of each target that was answered: of its grasps (n,3) free, on target, good."""
    print(f"{done} targets; shares in %")
    print(f"{'':24}answered | top 1: free  on target  good | top 3: free  on target  good |  any")
    for way, answers in judged.items():
        first = np.sum([a[:1].sum(axis=0) for a in answers], axis=0) / done
        shares = 100 * np.array(
            [
                np.mean([len(a) > 0 for a in answers]),
                *first,
                *np.concatenate(answers).mean(axis=0),
                np.mean([a[:, 2].any() for a in answers]),
            ]
        )
        print(f"{way:24}" + " ".join(f"{share:{size}.0f}" for share, size in zip(shares, COLUMNS, strict=True)))


if __name__ == "__main__":
    tyro.cli(main)
