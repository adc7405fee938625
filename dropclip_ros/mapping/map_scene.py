# SPDX-License-Identifier: Apache-2.0
"""The map as `Grounder` takes it: the same questions, answered from all frames, with ids that last and ages."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.grounding.beside import Known
from dropclip_ros.grounding.labels import LabelReader, ReadWord
from dropclip_ros.grounding.pipeline import EncodedScene, Grounder, GroundResult
from dropclip_ros.mapping.scene_map import SceneMap
from dropclip_ros.mapping.views import Keyframe, MapObject
from dropclip_ros.networks.backbone import CLASSES
from dropclip_ros.networks.names import Names, Seen
from dropclip_ros.tabletop.table import Table
from dropclip_ros.vision.clouds import WIDTH, seen_from_above
from dropclip_ros.vision.geometry import Intrinsics, RgbdFrame, invert_pose, transform_points
from dropclip_ros.vision.voxels import voxelize

_OLD = 1.0  # s, from which on an answer says how long ago its object was seen


@dataclass
class MapKnown(Known):
    """What the kept pictures of K objects are called and what is printed on them, once a phrase asks.

    sources: of each object the pictures that show it, as which instance, and how much that weighs.
    """

    sources: Sequence[Sequence[tuple[Keyframe, int, float]]] = ()
    pictured: bool = True

    def look(self, names: Names, rgb: np.ndarray, shown: Callable[[], np.ndarray]) -> Seen:
        """The mean of all pictures of each object, by what they show of it."""
        imagenet = torch.full((len(self.sources), CLASSES), 1 / CLASSES)
        own = torch.zeros(len(self.sources), len(names.bank.bias))
        for k, of_object in enumerate(self.sources):
            if not of_object:
                continue
            seen = []
            for picture, instance, _ in of_object:
                if picture.seen is None:
                    picture.seen = names.look(picture.rgb, picture.shown.astype(np.int64))
                seen.append((picture.seen.imagenet[instance - 1], picture.seen.own[instance - 1]))
            weight = torch.tensor([weight for *_, weight in of_object])
            weight = weight / weight.sum().clamp(min=1e-9)
            imagenet[k] = sum(w * each.cpu() for w, (each, _) in zip(weight, seen, strict=True))
            own[k] = sum(w * each.cpu() for w, (_, each) in zip(weight, seen, strict=True))
        return Seen(imagenet, own)

    def read(self, reader: LabelReader, rgb: np.ndarray, shown: Callable[[], np.ndarray]) -> list[ReadWord]:
        """What all pictures of each object show, each text once."""
        found: dict[tuple[str, int], ReadWord] = {}
        for k, of_object in enumerate(self.sources, start=1):
            for picture, instance, _ in of_object:
                if picture.words is None:
                    picture.words = reader.read(picture.rgb, picture.shown.astype(np.int64))
                for word in picture.words:
                    if word.instance == instance:
                        found.setdefault((word.text, k), replace(word, instance=k))
        return list(found.values())


@dataclass
class MapScene(EncodedScene):
    """The map's objects as an encoded scene: points are the voxels, in the frame of a camera that looks down on them.

    objects: of the instances 1..K; newest: s, the map's; taken: what is no longer there, and since when (s), in the
    order of its instances. eye: camera_from_camera (4,4) of the camera that saw last.
    """

    objects: Sequence[MapObject] = ()
    newest: float = 0.0
    eye: np.ndarray = field(default_factory=lambda: np.eye(4))
    taken: MapScene | None = None
    since: Sequence[float] = ()

    @property
    def seen_from(self) -> np.ndarray:
        return self.eye

    def rows(self, ids: Sequence[int]) -> list[int]:
        """The instances of objects; the negative id of one that is not there (any more)."""
        row = {one.id: k for k, one in enumerate(self.objects, start=1)}
        return [row.get(one, -one) for one in ids]

    def answered(self, result: GroundResult, ask: Callable[[EncodedScene], GroundResult]) -> GroundResult:
        """With ids that last, ages, and what to say of things that were taken."""
        known = {k: one.id for k, one in enumerate(self.objects, start=1)}
        for found in result.objects:
            one = self.objects[found.id - 1]
            found.id, found.age = one.id, max(self.newest - one.last, 0.0)
            found.doubtful = found.doubtful or one.gone > 0
        read = result.interpretation
        read.parts = [replace(part, ids=tuple(known.get(k, 0) for k in part.ids)) for part in read.parts]
        read.question = re.sub(
            r"\(ids [\d, ]+\)",
            lambda ids: re.sub(r"\d+", lambda k: str(known.get(int(k[0]), 0)), ids[0]),
            read.question,
        )
        if result.objects and result.objects[0].age >= _OLD:
            result.message += f"; last seen {result.objects[0].age:.0f} s ago"
        if result.status == Status.NOT_FOUND and self.taken is not None:
            was = ask(self.taken)
            if was.objects:
                k = was.objects[0].id
                ago, one = self.newest - self.since[k - 1], self.taken.objects[k - 1].id
                result.message += f"; one that fits (id {one}) was there until {ago:.0f} s ago and was taken away"
        return result


@dataclass
class _Taken(MapScene):
    """What is no longer there: ids are those of its instances."""

    def answered(self, result: GroundResult, ask: Callable[[EncodedScene], GroundResult]) -> GroundResult:
        return result


Made = TypeVar("Made", bound=MapScene)


def map_scene(scene_map: SceneMap, grounder: Grounder, phrases: Sequence[str] = ()) -> MapScene:
    """The map as it is now, for `Grounder.ground`. phrases: what may be on the table, where that is known: views of
    objects then weigh by their informativeness (eq. 4), else by what they show. EMPTY_SCENE where it holds nothing."""
    text = grounder.text.encode(list(phrases)).float().cpu() if phrases else None
    owners = scene_map.owners()
    objects = [one for one in scene_map.objects.values() if one.views and one.count >= grounder.objects.min_voxels]
    objects.sort(key=lambda one: -one.count)
    if not objects or scene_map.watch.table is None:
        raise DropclipError(
            Status.EMPTY_SCENE,
            f"the map holds no objects after {scene_map.frames} frames, {scene_map.refused} more were refused: "
            "has a camera with a pose looked at something?",
        )
    row = np.zeros(scene_map._next + 1, np.int64)
    row[[one.id for one in objects]] = np.arange(1, len(objects) + 1)
    labels, grid = row[owners], scene_map.grid
    there = labels > 0
    scene = _of_points(MapScene, scene_map, grounder, grid.mean[there], grid.color[there], labels[there], objects, text)
    gone = [each for each in scene_map.gone if each.object.views]
    if gone:
        places, colors = np.concatenate([each.places for each in gone]), np.concatenate([each.colors for each in gone])
        labels = np.repeat(np.arange(1, len(gone) + 1), [len(each.places) for each in gone])
        were = [each.object for each in gone]
        scene.taken = _of_points(_Taken, scene_map, grounder, places, colors, labels, were, text)
        scene.since = [each.since for each in gone]
    return scene


def _of_points(
    kind: type[Made],
    scene_map: SceneMap,
    grounder: Grounder,
    places: np.ndarray,
    colors: np.ndarray,
    labels: np.ndarray,
    objects: Sequence[MapObject],
    text: Tensor | None,
) -> Made:
    """A scene of places (N,3) m in the world, colors (N,3) in [0, 1], each of the object labels (N,) in 1..K."""
    bytes_, plane = np.round(255 * colors).clip(0, 255).astype(np.uint8), scene_map.watch.table
    assert plane is not None  # nothing is fused without a table
    frame, points, pixels = seen_from_above(places, bytes_)
    pose = frame.camera_pose
    assert pose is not None
    normal = pose[:3, :3].T @ plane[:3]
    table = Table(
        np.append(normal, plane[:3] @ pose[:3, 3] + plane[3]), np.zeros(len(points), bool), np.zeros(6), np.eye(2, 1)
    )
    voxels = voxelize(
        transform_points(invert_pose(table.frame), points).astype(np.float32), colors, grounder.config.voxels
    )
    instances = np.zeros(len(voxels), np.int64)
    instances[voxels.point_to_voxel] = labels
    fused = [one.fused(text) for one in objects]

    def naming() -> Tensor:
        if scene_map.config.features == "fused":
            return _of_cloud(grounder, table, points, bytes_, labels)
        return torch.stack([feature for feature, _ in fused]).to(grounder.device)

    sources = [
        [
            (scene_map.keyframes[view.keyframe], view.instance, float(weight))
            for view, weight in zip(one.views, weights, strict=True)
            if view.keyframe in scene_map.keyframes
        ]
        for one, (_, weights) in zip(objects, fused, strict=True)
    ]
    known = MapKnown(sources=sources, pictured=any(sources))
    last = scene_map.last
    eye = np.eye(4) if last is None else invert_pose(pose) @ last.pose
    none = torch.zeros(len(voxels), 0)
    return kind(
        frame, table, points, pixels, bytes_, voxels, none, None, None, instances, naming, {}, "", known,
        objects=objects, newest=scene_map.watch.newest, eye=eye,
    )  # fmt: skip


def _of_cloud(grounder: Grounder, table: Table, points: np.ndarray, colors: np.ndarray, labels: np.ndarray) -> Tensor:
    """Features (K,C) of the fused cloud's instances by the encoder, in one pass; zeros for those too small to show."""
    height = -(-len(points) // WIDTH)
    rgb = np.zeros((height * WIDTH, 3), np.uint8)
    rgb[: len(points)] = colors
    camera = Intrinsics(WIDTH, WIDTH, WIDTH / 2, height / 2, WIDTH, height)
    frame = RgbdFrame(rgb.reshape(height, WIDTH, 3), np.zeros((height, WIDTH), np.float32), camera, picture=False)
    scene = grounder.encode_points(frame, table, points, np.arange(len(points)), labels)
    shown = np.zeros(len(scene.voxels), np.int64)
    shown[scene.voxels.point_to_voxel] = labels
    features = scene.instance_features
    every = features.new_zeros(int(labels.max()), features.shape[1])
    every[np.unique(shown[shown > 0]) - 1] = normalize(features, dim=-1)
    return every
