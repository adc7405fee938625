# SPDX-License-Identifier: Apache-2.0
"""Is it worth the way to look again? Trials (A.7) answered from the fixed view, and after the wrist has looked as well.

    python -m benchmarks.path.look_again run --out RESULTS [--trials 17]
    python -m benchmarks.path.look_again report --out RESULTS

Scenes and phrases are those of `dropclip-trials run` with the same seed; all happens in one process, without ROS. First
the fixed camera's frame answers. Then the same frame begins a map, the arm goes to the poses that `mapping.look` names,
at most LOOKS, on paths that were checked; the map answers. Both targets are matched to the same proposals, of
the fixed frame, and picked: the second time in the scene as it was laid. A trial is a file; what is there is kept.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import tyro

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.base.files import write_beside
from dropclip_ros.grasping.antipodal import sample_antipodal
from dropclip_ros.grasping.matching import MatchConfig, Surroundings, match_grasps
from dropclip_ros.grounding.pipeline import EncodedScene, Grounder
from dropclip_ros.mapping.frames import MapFrame
from dropclip_ros.mapping.look import LookConfig, next_view
from dropclip_ros.mapping.map_scene import map_scene
from dropclip_ros.mapping.scene_map import SceneMap
from dropclip_ros.vision.geometry import invert_pose, project, transform_points
from training.evaluate.served.pipeline import view_frame
from training.objects.catalogue import open_catalogue
from training.scenes.description import CLUTTER, FIRST_OBJECT_ID
from training.trials.grading import grade_grounding, grasped, visible
from training.trials.protocol import Asked, Protocol, ask, plan
from training.trials.report import interval
from training.workcell import wrist
from training.workcell.cell import Cell
from training.workcell.pick import candidates_of, pick
from training.workcell.planning import NoPath

LOOKS = 3
THRESHOLD = 0.05  # of scores, as in `dropclip-trials run`: something always answers
TOP = 3
ON = 0.015  # m: a point of the map that lies so near to what the fixed camera sees there is seen by it
ATTEMPTS = 10
RULES = MatchConfig(
    rules=("width", "approach", "table", "target", "others", "collision"),
    rank="score",
    top_k=TOP,
    open_wider=0.02,
    sample_target=True,
)


class Trial:
    """One scene in the cell, its phrase, and what the fixed camera sees of it."""

    def __init__(self, cell: Cell, grounder: Grounder, protocol: Protocol, clutter: str, number: int) -> None:
        self.cell, self.grounder = cell, grounder
        catalogue = open_catalogue(protocol.catalogue)
        for attempt in range(ATTEMPTS):
            planned = plan(protocol, clutter, number, attempt)
            count = len(planned.objects)
            names = list(cell.reset(planned.seed, clutter, protocol.split, count, count, planned.objects))
            self.view = cell.capture()
            self.labels = np.where(self.view.mask >= FIRST_OBJECT_ID, self.view.mask - FIRST_OBJECT_ID + 1, 0)
            asked = ask(planned, protocol.wording, catalogue, visible(self.labels, names))
            if asked:
                break
        else:
            raise RuntimeError("nothing can be asked")
        self.asked: Asked = asked
        kinds = {spec.name: spec.category for spec in catalogue.specs}
        meant = {kinds[name] for name in asked.targets}
        grounder.scene_phrases = tuple(sorted({kinds[name] for name in names} - meant))

    def answer(self, scene: EncodedScene) -> tuple[np.ndarray, float]:
        """Points (N,3) in the world of what a scene takes the phrase for, and its score; none where it refuses."""
        mode = "scene" if self.grounder.scene_phrases else None
        found = self.grounder.ground(scene, self.asked.phrase, mode=mode, threshold=THRESHOLD, literal=True)
        self.found = found
        if not found.objects:
            return np.zeros((0, 3)), 0.0
        pose = scene.frame.camera_pose
        assert pose is not None
        return transform_points(pose, scene.points[found.objects[0].points]), found.objects[0].score

    def graded(self, points: np.ndarray) -> tuple[bool, str]:
        """Whether most of the points (N,3) that the fixed camera sees lie on a target; the object most lie on."""
        view = self.view
        seen = transform_points(invert_pose(view.world_from_camera), points).reshape(-1, 3)
        uv, z = project(seen, view.camera)
        column, row = np.round(uv).astype(np.int64).clip(0, np.array(view.depth.shape[::-1]) - 1).T
        seen = seen[np.abs(view.depth[row, column] - z) < ON]
        targets = self.asked.targets
        grade = grade_grounding(seen, view.camera, self.labels, view.depth, self.cell.names, targets)
        return grade.right, grade.answered

    def looked(self, encoded: EncodedScene) -> tuple[np.ndarray, float, list[str]]:
        """The answer of a map of the fixed frame and what the wrist sees, and from where that looked."""
        cell, looks, said = self.cell, dict(wrist.looks(self.cell.config)), []
        fused, names, seen = SceneMap(), list(looks), [self.view]
        fused.add(MapFrame.of_encoded(encoded, 0.0))
        points, score = self.answer(map_scene(fused, self.grounder))
        while len(said) < LOOKS:
            poses = {k: looks[name][0] for k, name in enumerate(names) if name in looks}
            chosen = next_view(fused, self.found, poses, self.view.camera, LookConfig())
            if chosen is None:
                break
            name = names[chosen[0]]
            try:
                wrist.go(cell, looks.pop(name)[1], seen)
            except NoPath:
                continue
            view = wrist.capture(cell)
            try:
                fused.add(MapFrame.of_encoded(self.grounder.encode(view_frame(view)), float(len(seen))))
            except DropclipError as error:
                print(f"not fused: {error}")
            seen.append(view)
            said.append(name)
            points, score = self.answer(map_scene(fused, self.grounder))
        return points, score, said

    def picked(self, encoded: EncodedScene, target: np.ndarray) -> tuple[bool, str]:
        """Whether a target, and nothing else, was lifted by grasps of the fixed frame matched to points (N,3) in the
        world; what happened."""
        if not len(target):
            return False, "refused"
        cell, view = self.cell, self.view
        here = transform_points(invert_pose(view.world_from_camera), target)
        instances = encoded.instances[encoded.voxels.point_to_voxel]
        gripper, table = cell.config.gripper, encoded.table.plane
        found = sample_antipodal(
            encoded.points, gripper=gripper, table=table, labels=np.where(instances > 0, instances, -1)
        )
        try:
            match = match_grasps(found, here, RULES, gripper, Surroundings(encoded.points, table))
        except DropclipError as error:
            return False, error.status.name
        before = cell.poses()
        grasps = replace(match.grasps, width=match.widths).transformed(view.world_from_camera)
        result = pick(cell, candidates_of(cell, grasps), view)
        return grasped(before, cell.poses(), self.asked.targets), Status(result.status).name


def played(cell: Cell, grounder: Grounder, protocol: Protocol, clutter: str, number: int) -> dict:
    """One trial, both ways."""
    trial = Trial(cell, grounder, protocol, clutter, number)
    laid, start = cell.state(), cell.poses()
    encoded = grounder.encode(view_frame(trial.view))
    result: dict = {"phrase": trial.asked.phrase, "targets": trial.asked.targets, "family": protocol.family(number)}
    points, score = trial.answer(encoded)
    map_points, map_score, said = trial.looked(encoded)
    moved = max(float(np.linalg.norm(cell.poses()[name][:3, 3] - start[name][:3, 3])) for name in cell.names)
    result |= {"looks": said, "moved": moved}
    for name, target, value in (("fixed", points, score), ("looked", map_points, map_score)):
        cell.restore(laid)
        right, answered = trial.graded(target) if len(target) else (False, "")
        lifted, status = trial.picked(encoded, target)
        result[name] = {"grounded": right, "answered": answered, "lifted": lifted, "status": status, "score": value}
    return result


def run(out: Path, trials: int = 17, first: int = 0, seed: int = 0) -> None:
    """Trials `first` to `trials` of each clutter level, those that are not there yet."""
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    grounder, protocol, cell = Grounder.from_pretrained(image=False, labels=False), Protocol(seed=seed), Cell()
    out.mkdir(parents=True, exist_ok=True)
    for number in range(first, trials):
        for clutter in CLUTTER:
            path = out / f"{clutter}_{number:03d}.json"
            if path.exists():
                continue
            result = played(cell, grounder, protocol, clutter, number)
            with write_beside(path) as part:
                part.write_text(json.dumps(result))
            print(path.stem, result, flush=True)
    cell.close()


def report(out: Path) -> None:
    """Grounded and lifted, both ways, and where they differ."""
    found = [json.loads(path.read_text()) for path in sorted(out.glob("*.json"))]
    print(f"{len(found)} trials, {sum(len(of['looks']) for of in found)} looks\n")
    print("| | grounded | lifted |\n| --- | --- | --- |")
    for name in ("fixed", "looked"):
        cells = []
        for what in ("grounded", "lifted"):
            right = sum(of[name][what] for of in found)
            low, high = interval(right, len(found))
            cells.append(f"{right} of {len(found)}, {100 * right / len(found):.0f} % ({low:.0f} to {high:.0f})")
        print(f"| {name} | {' | '.join(cells)} |")
    for what in ("grounded", "lifted"):
        more = sum(of["looked"][what] > of["fixed"][what] for of in found)
        less = sum(of["looked"][what] < of["fixed"][what] for of in found)
        print(f"\n{what} only after looking again: {more}; only from the fixed view: {less}")


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict({"run": run, "report": report}, description=__doc__)
