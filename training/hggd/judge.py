# SPDX-License-Identifier: Apache-2.0
"""Whether proposals are grasps, by what the camera did not see: the true meshes of the scene and a trial in MuJoCo."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dropclip_ros.grasping.grasps import Grasps, Gripper, height_above
from training.objects.catalogue import Catalogue
from training.scenes.grasps.grasp_trials import TrialConfig, Trials, colliding_in_turns
from training.scenes.grasps.scene_grasps import resized, surface_points
from training.scenes.scene import Scene

FREE, COLLIDES, NOTHING, SEVERAL, LOST = range(5)
VERDICTS = ("good", "collides", "nothing between the fingers", "several objects between them", "lost in the trial")


@dataclass(frozen=True)
class Verdicts:
    """Of N grasps: `what` (N,), an index of VERDICTS, FREE being good; `label` (N,) of the object held, 0 for none."""

    what: np.ndarray
    label: np.ndarray

    @property
    def good(self) -> np.ndarray:
        return self.what == FREE


class Judge:
    """Of one scene. trial: how grasps are tried; `friction`, `force` and so on of the hand."""

    def __init__(self, scene: Scene, catalogue: Catalogue, gripper: Gripper, trial: TrialConfig) -> None:
        specs = {spec.name: spec for spec in catalogue.specs}
        self._placed = {one.label: one for one in scene.description.objects}
        self._models = {
            label: resized(catalogue.build(specs[one.name]), one.scale) for label, one in self._placed.items()
        }
        self._gripper, self._trial, self._trials = gripper, trial, {}
        clouds = [
            surface_points(replace(one, scale=1.0), self._models[label]).astype(np.float32)
            for label, one in self._placed.items()
        ]
        self._cloud = np.concatenate(clouds)
        self._owner = np.repeat(list(self._placed), [len(cloud) for cloud in clouds])
        self._table = np.array([0.0, 0, 1, -scene.description.table.height])

    def __call__(self, grasps: Grasps) -> Verdicts:
        """Grasps in the world's frame. One is good that touches neither table nor objects before it closes, has one
        object between its fingers, and holds that while the hand is lifted and shaken."""
        what, label = np.full(len(grasps), FREE), self._between(grasps)
        what[label == 0] = NOTHING
        what[label < 0] = SEVERAL
        free = height_above(grasps, self._table, self._gripper) > 0
        free[free] = ~colliding_in_turns(grasps[free], self._cloud, self._gripper)
        what[~free] = COLLIDES
        for i in np.flatnonzero(what == FREE):
            own = grasps[i].transformed(np.linalg.inv(self._placed[label[i]].pose))
            if not self._trials_of(label[i]).hold(own)[0]:
                what[i] = LOST
        return Verdicts(what, np.maximum(label, 0))

    def _between(self, grasps: Grasps) -> np.ndarray:
        """Labels (N,) of what lies between the fingers: 0 where nothing does, -1 where several objects do."""
        found, gripper = np.zeros(len(grasps), int), self._gripper
        tips, turns = grasps.tips(), np.swapaxes(grasps.rotation, 1, 2)
        for i, width in enumerate(grasps.width):
            x, y, z = turns[i] @ (self._cloud - tips[i]).T
            inside = (x < 0) & (x > -gripper.finger_depth) & (np.abs(y) < width / 2)
            owners = np.unique(self._owner[inside & (np.abs(z) < gripper.finger_width / 2)])
            found[i] = 0 if not len(owners) else owners[0] if len(owners) == 1 else -1
        return found

    def _trials_of(self, label: int) -> Trials:
        if label not in self._trials:
            self._trials[label] = Trials(self._models[label], self._gripper, self._trial)
        return self._trials[label]
