# SPDX-License-Identifier: Apache-2.0
"""The paper's methods and ours behind one protocol (A.4): what each says of the points of a cloud.

Upper bounds are made of all views, and of true masks where they are object-wise; MaskCLIP and the encoder see what the
cloud holds. What goes through `transformers` is in `methods2d.py`, predictions of other systems in `exported.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch.nn.functional import normalize

from dropclip_ros.grounding.pipeline import Grounder
from dropclip_ros.networks.text import TextEncoder
from dropclip_ros.tabletop.table import table_frame
from dropclip_ros.vision.geometry import invert_pose, transform_points
from dropclip_ros.vision.voxels import Voxels, voxelize
from training.evaluate.data.scale import scaled
from training.evaluate.protocol import EveryPoint, FeatureCloud, Method, ScoreCloud
from training.fusion.clouds import Cloud
from training.fusion.dense import sample
from training.fusion.fuse import FusedPoints, PointFusion, Weighting, fuse_objects
from training.fusion.view_features import ViewFeatures, view_order
from training.fusion.weights import PromptConfig, ScenePrompts
from training.scenes.scene import Scene, View

Patches = Callable[[Scene, int, View], torch.Tensor]  # patch features (C,h,w) of a scene's view of that number


def rows_of_labels(labels: np.ndarray, known: Sequence[int]) -> np.ndarray:
    """Place in `known` of the label of each point, (M,); -1 where it is not there."""
    row = np.full(256, -1)
    row[list(known)] = np.arange(len(known))
    return row[labels]


@dataclass
class ObjectWise:
    """Object-level features of true masks, fused over views (eq. 5): DROP-CLIP's upper bound, and OpenMask3D's with
    multi-scale crops, visibility and no informativeness.

    features_of: the object features of a scene's views; views: how many of them, in `view_order`, None: all. fallback:
    whether an object without an informative view has a feature at all (see `fuse_objects`).
    """

    features_of: Callable[[Scene], ViewFeatures]
    prompts: ScenePrompts
    text: TextEncoder
    weighting: Weighting = field(default_factory=Weighting)
    config: PromptConfig = field(default_factory=PromptConfig)
    views: int | None = None
    fallback: bool = True
    uninformative: int = 0  # objects so far that no view showed informatively, of `objects`
    objects: int = 0

    def __call__(self, scene: Scene, cloud: Cloud) -> FeatureCloud:
        seen = self.features_of(scene)
        if self.views is not None:
            seen = seen.of_views(view_order(scene)[: self.views])
        fused = fuse_objects(
            seen.features.float(),
            seen.labels,
            self.prompts.of(scene, self.config),
            seen.pixels,
            self.weighting,
            self.config.operator,
            self.fallback,
        )
        self.uninformative += fused.uninformative
        self.objects += len(fused.labels) if self.fallback else len(fused.labels) + fused.uninformative
        return FeatureCloud(rows_of_labels(cloud.labels, fused.labels), fused.features, self.text)


class PointWise:
    """Patch features, fused point by point over views (eq. 2): OpenScene's upper bound with visibility alone (A.4).

    All `weightings` of a scene, and all `steps` (numbers of views; None: all), come of one pass over its views; a
    method of one of them is `self.method(weighting, views)`. views: how many are used at most, in `view_order`.
    """

    def __init__(
        self,
        patches: Patches,
        prompts: ScenePrompts,
        text: TextEncoder,
        weightings: Sequence[Weighting] = (Weighting(visibility=True, informative=False),),
        steps: Sequence[int] = (),
        views: int | None = None,
    ) -> None:
        self.patches, self.prompts, self.text = patches, prompts, text
        self.weightings, self.steps, self.views = tuple(weightings), set(steps), views
        self.uninformative: Counter[Weighting] = Counter()  # points so far that views show, none informatively
        self.points = 0
        self._of: tuple[str, int] | None = None  # scene and cloud of the results
        self._results: dict[tuple[Weighting, int | None], FusedPoints] = {}

    def method(self, weighting: Weighting, views: int | None = None) -> Method:
        def fused(scene: Scene, cloud: Cloud) -> FeatureCloud:
            if self._of != (scene.name, id(cloud)):
                self._fuse(scene, cloud)
            points = self._results.get((weighting, views)) or self._results[weighting, None]  # a scene may have fewer
            return FeatureCloud(points.row, points.features, self.text)

        return fused

    def _fuse(self, scene: Scene, cloud: Cloud) -> None:
        fusion = PointFusion(cloud, self.prompts.of(scene), self.weightings)
        self._results.clear()
        for count, (v, view) in enumerate(scene.views(view_order(scene)[: self.views]), start=1):
            fusion.add(view, self.patches(scene, v, view))
            if count in self.steps:
                self._results |= {(weighting, count): fusion.result(weighting) for weighting in self.weightings}
        self._results |= {(weighting, None): fusion.result(weighting) for weighting in self.weightings}
        self.uninformative.update({each: self._results[each, None].uninformative for each in self.weightings})
        self.points += len(cloud)
        self._of = (scene.name, id(cloud))


class PatchesOfView:
    """MaskCLIP to 3D: the patch features of the cloud's one view at the pixels of its points (A.4)."""

    def __init__(self, patches: Patches, text: TextEncoder) -> None:
        self.patches, self.text = patches, text

    def __call__(self, scene: Scene, cloud: Cloud) -> FeatureCloud:
        view = scene.view(cloud.views[0])
        height, width = view.mask.shape
        row, column = np.divmod(cloud.pixels, width)
        pixels = torch.from_numpy(np.stack([column, row], axis=1)[None]).float()
        patches = self.patches(scene, cloud.views[0], view)
        features = sample(patches[None], pixels, (height, width))[0]
        return FeatureCloud(np.arange(len(cloud)), normalize(features, dim=-1).cpu(), self.text)


EVERY_POINT = "every point answers"


def every_point(_: Scene, cloud: Cloud) -> EveryPoint:
    """What point-wise rows are to be held against: every point answers every phrase."""
    return EveryPoint(np.zeros(len(cloud), np.int64))


class Student:
    """DROP-CLIP: our encoder on the cloud, of one view or of all (section 3.3); a row is a voxel.

    scale: by how much the cloud is enlarged first (A.6 sweeps it for foreign data sets).
    """

    def __init__(self, grounder: Grounder, scale: float = 1.0) -> None:
        self.grounder, self.scale = grounder, scale

    @torch.inference_mode()
    def __call__(self, scene: Scene, cloud: Cloud) -> FeatureCloud:
        voxels, device = self.voxels(scene, cloud), self.grounder.device
        features = self.grounder.encoder(
            torch.from_numpy(voxels.coords).to(device), torch.from_numpy(voxels.feats).to(device)
        )
        return FeatureCloud(voxels.point_to_voxel, normalize(features, dim=-1).cpu(), self.grounder.text)

    def voxels(self, scene: Scene, cloud: Cloud) -> Voxels:
        """The cloud as the encoder sees it: in the table's frame, x along the image's right where it is of one view."""
        points = cloud.points
        if len(cloud.views) == 1:
            world_from_camera = scene.view(cloud.views[0]).world_from_camera
            world_from_table = world_from_camera @ table_frame(world_from_camera[2])
            points = transform_points(invert_pose(world_from_table), points)
        return voxelize(scaled(points.astype(np.float32), self.scale), cloud.colors, self.grounder.config.voxels)


class InstanceMethod:
    """Our encoder as the package uses it: instances by `Grounder`, a pooled feature each, true table (section 3.4)."""

    def __init__(self, grounder: Grounder) -> None:
        self.grounder = grounder

    def __call__(self, scene: Scene, cloud: Cloud) -> FeatureCloud:
        from training.evaluate.served.pipeline import encode_with_truth

        encoded = encode_with_truth(self.grounder, scene.view(cloud.views[0]), instances=False)
        row = encoded.image(self.grounder.instances(encoded)).ravel()[cloud.pixels] - 1
        return FeatureCloud(row, encoded.instance_features.cpu(), self.grounder.text)


class Ensemble:
    """The mean of two methods' similarities at each point (figure 20)."""

    def __init__(self, first: Method, second: Method) -> None:
        self.methods = first, second

    def __call__(self, scene: Scene, cloud: Cloud) -> ScoreCloud:
        both = [method(scene, cloud) for method in self.methods]

        def mean(phrases: Sequence[str]) -> torch.Tensor:
            return sum(torch.cat([one.similarity(phrases), torch.zeros(1, len(phrases))])[one.row] for one in both) / 2

        return ScoreCloud(np.arange(len(cloud)), mean)
