# SPDX-License-Identifier: Apache-2.0
"""From an RGB-D frame and a phrase to the objects that are meant, without ROS.

grounder = Grounder.from_pretrained()
scene = grounder.encode(load_frame("a.png", "b.png", "mm", "k.json"))
for found in grounder.ground(scene, "the red mug").objects:
    print(found.score, found.centre)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, partial, wraps
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from threadpoolctl import ThreadpoolController

from dropclip_ros.base.arrays import Array, as_type, to_numpy
from dropclip_ros.base.devices import enough_memory, finite, usable_device
from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.grounding.beside import Beside, Compared, Known
from dropclip_ros.grounding.instances import (
    ObjectConfig,
    answering_instances,
    instance_labels,
    oriented_box,
    pool_features,
)
from dropclip_ros.grounding.interpretation import (
    Interpretation,
    Judgement,
    instance_scores,
    not_judged,
    read_whole,
    texts_of,
)
from dropclip_ros.grounding.phrases import Judge
from dropclip_ros.grounding.relations import Layout, Viewer
from dropclip_ros.grounding.scoring import (
    PAPER_THRESHOLD,
    SCORINGS,
    beats_negatives,
    point_scores,
    referring_scores,
    semantic_labels,
    similarities,
)
from dropclip_ros.language.parse import as_it_is, read_phrase
from dropclip_ros.language.tree import Node, Phrase, head_of
from dropclip_ros.networks.clip import load_clip
from dropclip_ros.networks.encoder import OFFSET_UNIT, Activations, MinkUNet14D
from dropclip_ros.networks.image import ImageTower
from dropclip_ros.networks.model_folder import ADAPTER, IMAGE, FrameConfig, ModelConfig, load_model
from dropclip_ros.networks.text import TextEncoder, clean_phrase
from dropclip_ros.tabletop.scene import MIN_POINTS, noted, seen, things
from dropclip_ros.tabletop.table import Table
from dropclip_ros.tabletop.workspace import Workspace
from dropclip_ros.vision.geometry import Intrinsics, RgbdFrame, invert_pose, transform_points
from dropclip_ros.vision.voxels import Voxels, voxelize

MODEL_FOLDER = Path(__file__).parents[1] / "model"
NEGATIVE_MODES = ("none", "canonical", "custom", "scene")
RIVAL_LEAD = 5.0  # log-odds, by which a second answer may lag: beyond it confidence says no more
MAX_NEGATIVES = 256


@dataclass
class EncodedScene:
    """One encoded frame: N points above the table (camera frame, m) in M voxels with unit features (M,D).

    These are given in the encoder's part of the text space: in the text space they are features @ basis.T, (M,C).
    """

    frame: RgbdFrame
    table: Table
    points: np.ndarray  # (N,3)
    pixels: np.ndarray  # (N,) flat index into the image
    colors: np.ndarray  # (N,3) uint8
    voxels: Voxels  # centres in the table frame
    features: torch.Tensor
    basis: torch.Tensor | None  # (C,D), orthonormal columns; None where the encoder does not speak the text's language
    middles: np.ndarray | None  # (M,3) m, of each voxel's object, in the table frame, as the encoder sees it
    instances: np.ndarray  # (M,) of each voxel, 1..K, 0 for specks
    naming: Callable[[], torch.Tensor]  # gives `instance_features`
    timing_ms: dict[str, float]
    note: str = ""  # what a user must know about the frame
    known: Known = field(default_factory=Known)  # of its picture, once a phrase has asked

    @cached_property
    def instance_features(self) -> torch.Tensor:
        """(K,C), unit unless the image has its say (`Grounder`); crops are embedded when this is first asked for."""
        return self.naming()

    def image(self, values: np.ndarray, fill: float = 0) -> np.ndarray:
        """Per-point values (N,) as an image (H,W) of the same type; `fill` where there is no point."""
        flat = np.full(self.frame.depth.size, fill, values.dtype)
        flat[self.pixels] = values
        return flat.reshape(self.frame.depth.shape)

    @property
    def seen_from(self) -> np.ndarray:
        """camera_from_eye (4,4) of the camera whose left and right are meant where no viewer is given."""
        return np.eye(4)

    def rows(self, ids: Sequence[int]) -> list[int]:
        """The instances 1..K of ids that were answered."""
        return list(ids)

    def answered(self, result: GroundResult, ask: Callable[[EncodedScene], GroundResult]) -> GroundResult:
        """An answer as this scene gives it; ask: puts the same question to another scene."""
        return result

    def shown(self) -> np.ndarray:
        """Instance of each pixel, (H,W) in 1..K, 0 where none is."""
        return self.image(self.instances[self.voxels.point_to_voxel])


@dataclass
class FoundObject:
    """An object a phrase means: `points` (n,) index the scene's; centre (3,) m and box pose in the camera frame.

    confidence: how often such an answer is right, in [0, 1], -1 where that is not calibrated; doubtful: whether it
    should be confirmed before a hand moves. words_read: what is printed on it that had a say.
    """

    score: float
    points: np.ndarray
    centre: np.ndarray
    size: np.ndarray
    box_pose: np.ndarray
    id: int = 0  # of its instance, from 1; lasts as long as the encoded scene, or as a map holds the object
    label: str = ""  # the phrase's head
    confidence: float = -1.0
    doubtful: bool = False
    words_read: tuple[str, ...] = ()
    age: float = 0.0  # s, since it was last seen


@dataclass
class GroundResult:
    """Answer to one query: the objects, best first, the score (N,) of every point, and how the query was read.

    status: OK; NOT_FOUND; UNSUPPORTED: it says what is not understood; AMBIGUOUS: several objects fit a phrase that
    means one, and `interpretation.question` tells them apart.
    """

    query: str
    status: Status
    message: str
    objects: list[FoundObject]
    scores: np.ndarray
    threshold: float
    timing_ms: dict[str, float] = field(default_factory=dict)
    interpretation: Interpretation = field(default_factory=Interpretation)


@contextmanager
def _timed(timing: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    timing[stage] = 1e3 * (time.perf_counter() - start)


@cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()


def _without_blas_threads(method: Callable) -> Callable:
    """One thread for NumPy's BLAS meanwhile: idle ones spin, which tripled the encoder's time on two cores."""

    @wraps(method)
    def limited(*args, **kwargs):
        with _libraries().limit(limits=1, user_api="blas"):
            return method(*args, **kwargs)

    return limited


def _empty_scene(what: str) -> DropclipError:
    return DropclipError(Status.EMPTY_SCENE, f"{what}: is something on it, within the camera's view and range?")


def _moved(transform: np.ndarray, points: Array) -> Array:
    return as_type(transform_points(transform, points), "float32")


def _check_scoring(scoring: str, negatives: Sequence[str]) -> None:
    """BAD_REQUEST where there is no such scoring, or nothing that it could tell a query from."""
    if scoring not in SCORINGS:
        raise DropclipError(Status.BAD_REQUEST, f"scoring {scoring!r}: expected one of {', '.join(SCORINGS)}")
    if scoring != "instances" and not negatives:
        raise DropclipError(
            Status.BAD_REQUEST,
            f"scoring {scoring} tells the query from negatives (section 3.4) and there are none; give some, or the "
            "canonical ones",
        )


def _is_one(phrase: Phrase) -> bool:
    """Whether a phrase means one thing by its name: "the mug", not "a mug", nor what something is for."""
    return isinstance(phrase.reading, Node) and phrase.reading.number is None


def _message(query: str, objects: list[FoundObject], best: float, threshold: float) -> str:
    """How many were found, whether the best of them is in doubt and what was read on it; or why there are none."""
    if not objects:
        return f"nothing on the table is {query!r}: the best point scores {best:.2f}, the threshold is {threshold:.2f}"
    found = objects[0]
    doubt = f"; in doubt, {100 * found.confidence:.0f} % sure" if found.doubtful else ""
    return f"{len(objects)} found{doubt}" + (f"; read on it: {', '.join(found.words_read)}" if found.words_read else "")


def _warm_frame() -> RgbdFrame:
    """A box on a table, 60 cm below a camera that looks straight down."""
    intrinsics = Intrinsics(300, 300, 159.5, 119.5, 320, 240)
    depth = np.full((240, 320), 0.6, np.float32)
    depth[80:160, 120:200] = 0.5
    return RgbdFrame(np.full((240, 320, 3), 128, np.uint8), depth, intrinsics)


class Grounder:
    """The encoder, the text tower and the calibration of one model folder.

    Frames are worked on where the encoder is: on a GPU depth and colours are uploaded, and what stands on the table
    comes back with its voxels. That has not been run on a GPU yet, on torch's CPU tensors only.

    beside: what has a say beside the encoder, once a phrase asks; None for the encoder alone, as in the paper's tables.
    image: in its place, the tower that looks at the crop of every instance. Cosines of both are averaged by
    `config.image.weight` (figure 20), which the mean of the features does; with a weight of 1 it names alone, and the
    encoder only tells objects apart.
    """

    def __init__(
        self,
        encoder: MinkUNet14D,
        text: TextEncoder,
        config: ModelConfig,
        device: str | torch.device = "cpu",
        workspace: Workspace | None = None,
        objects: ObjectConfig | None = None,
        image: ImageTower | None = None,
        beside: Beside | None = None,
    ) -> None:
        if image is not None:  # mixed cosines have a calibration of their own
            seen = image.config
            config = replace(config, temperature=seen.temperature, null_similarity=seen.null_similarity)
        self.encoder, self.text, self.config, self.device = encoder, text, config, torch.device(device)
        self.uploads = self.device.type != "cpu"  # on the CPU NumPy is quicker than torch
        self.thin_head, self.basis = encoder.thin_head()
        self.image, self.beside = image, beside
        self.workspace = workspace or Workspace()
        self.objects = objects or ObjectConfig()
        self.scene_phrases: tuple[str, ...] = ()  # the negatives of mode "scene"
        self.reader: Callable[[str], Phrase] = partial(read_phrase, multilingual=config.multilingual)

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path | None = None,
        device: str = "auto",
        workspace: Workspace | None = None,
        objects: ObjectConfig | None = None,
        image: bool | Literal["tower"] | None = None,
        labels: bool | None = None,
        measure: bool = True,
    ) -> Grounder:
        """Loads a model folder (the shipped one by default). Raises MODEL_ERROR where it is not whole and true.

        image: whether the frame's picture has its say, by the model's names or, where it has none, by its image tower;
        "tower": by the latter, None: where it has names. A tower that names alone always has. labels: whether what is
        printed on things has, beside names; None: where a reader is installed. measure: of `load_model`.
        """
        place, folder = usable_device(device), Path(path) if path else MODEL_FOLDER
        with enough_memory(place):
            encoder, config = load_model(folder, place, measure=measure)
            named = config.names is not None and image in (None, True)
            seeing = config.image if (image and not named) or not config.encoder_names else None
            clip = load_clip(config.text.source) if seeing and seeing.source else None
            text = TextEncoder(config.text, place, folder / ADAPTER, clip=clip)
            tower = ImageTower(seeing, folder / IMAGE, place, clip) if seeing else None
            beside = Beside.load(folder, config, text, place, labels) if named else None
        if config.encoder_names and text.channels != config.encoder.out_channels:
            raise DropclipError(
                Status.MODEL_ERROR,
                f"{folder}: features have {config.encoder.out_channels} channels and phrases {text.channels}; encoder "
                "and text model must be of one training. Fetch the model again",
            )
        return cls(encoder, text, config, place, workspace, objects, tower, beside)

    def warm_up(self) -> None:
        """Runs each network once, so that the first frame and the first phrase take no longer than the later ones."""
        frame = _warm_frame()
        for phrase in ("teh wram-up", "la taza roja"):  # reads the lists of words, and of other languages
            self.reader(phrase)
        if self.beside is not None and self.beside.reader is not None:
            self.beside.reader.load()
        for _ in range(2):  # the second finds what the first has made
            self.ground(self.encode(frame), "a thing")

    @torch.inference_mode()
    @_without_blas_threads
    def encode(self, frame: RgbdFrame, up: np.ndarray | None = None, last: Table | None = None) -> EncodedScene:
        """Removes the table and encodes what stands on it; one encoding serves any number of queries.

        up: (3,) direction against gravity in the camera frame where it is known; taken from `frame.camera_pose`
        (a z-up world) otherwise. last: the table of an earlier frame of the same camera, which is only searched for
        again where it is no longer there. Raises BAD_FRAME, NO_TABLE, EMPTY_SCENE or MODEL_ERROR.
        """
        timing: dict[str, float] = {}
        with _timed(timing, "backproject"), enough_memory(self.device):
            depth = self._uploaded(frame.depth)
            points, pixels, note = seen(depth, frame.intrinsics, self.workspace, frame.camera_pose)
        with noted(note):
            with _timed(timing, "table"), enough_memory(self.device):
                table, standing = things(points, self.workspace, frame.camera_pose, up, last)
                points, pixels = points[standing], pixels[standing]  # each point contiguous from here on
            scene = self.encode_points(frame, table, points, pixels, timing=timing)
        scene.note = note
        return scene

    def _uploaded(self, array: Array) -> Array:
        """Where frames are worked on."""
        if not self.uploads or isinstance(array, torch.Tensor):
            return array
        return torch.tensor(array, device=self.device)

    @torch.inference_mode()
    @_without_blas_threads
    def encode_points(
        self,
        frame: RgbdFrame,
        table: Table,
        points: Array,
        pixels: Array,
        objects: np.ndarray | None = None,
        timing: dict[str, float] | None = None,
    ) -> EncodedScene:
        """The second half of `encode`: points (N,3) above the table, camera frame, and their flat pixels (N,).

        objects (N,): which object each point shows, 0 for none, where that is known from elsewhere; the instances are
        then these, cut at voxels. Raises EMPTY_SCENE or MODEL_ERROR.
        """
        timing = {} if timing is None else timing
        if len(points) < MIN_POINTS:
            raise _empty_scene(f"only {len(points)} points stand on the table, expected at least {MIN_POINTS}")
        with _timed(timing, "voxels"), enough_memory(self.device):
            points, pixels = self._uploaded(points), self._uploaded(pixels)
            colors = self._uploaded(frame.rgb).reshape(-1, 3)[pixels]
            encoder_from_camera = self._encoder_frame(frame, table, points)
            local = as_type(transform_points(encoder_from_camera, points), "float32")
            voxels = voxelize(local, as_type(colors, "float32") / 255, self.config.voxels)
        with _timed(timing, "encoder"), enough_memory(self.device):
            passed, features, middles = self._features(voxels)
            if self.config.frame != FrameConfig():
                table_from_encoder = invert_pose(table.frame) @ invert_pose(encoder_from_camera)
                voxels = replace(voxels, centers=_moved(table_from_encoder, voxels.centers))
                middles = None if middles is None else _moved(table_from_encoder, middles)
        with _timed(timing, "instances"), enough_memory(self.device):
            if objects is None:
                eye = invert_pose(table.frame)[:3, 3]
                instances = instance_labels(voxels.centers, voxels.feats, features, eye, self.objects, middles)
            # what answers are made of
            points, pixels, colors, voxels = to_numpy(points), to_numpy(pixels), to_numpy(colors), voxels.host()
            middles = None if middles is None else to_numpy(middles)
            if objects is not None:
                shown = np.zeros(len(voxels), np.int64)
                shown[voxels.point_to_voxel] = objects
                instances = np.unique(np.append(0, shown), return_inverse=True)[1][1:]
            if not instances.any():
                raise _empty_scene(f"only specks stand on the table, none of {self.objects.min_voxels} voxels")
            pooled = self._instance_features(passed, features, instances) if self.config.encoder_names else None
        labels = np.zeros(frame.depth.size, np.int64)
        labels[pixels] = instances[voxels.point_to_voxel]

        def naming() -> torch.Tensor:
            if self.image is None:
                assert pooled is not None, "neither the encoder nor an image tower names things"
                return pooled
            weight = self.image.config.weight
            seen = finite(self.image.embed(frame.rgb, labels.reshape(frame.depth.shape)), "the image tower")
            return seen if pooled is None else (1 - weight) * pooled + weight * seen

        basis = self.basis if self.config.encoder_names else None
        return EncodedScene(
            frame, table, points, pixels, colors, voxels, features, basis, middles, instances, naming, timing
        )

    def _encoder_frame(self, frame: RgbdFrame, table: Table, points: Array) -> np.ndarray:
        """encoder_from_camera (4,4): the frame that the encoder was trained in. BAD_REQUEST where it is not known."""
        wanted = self.config.frame
        if wanted.axes == "world" and frame.camera_pose is None:
            raise DropclipError(
                Status.BAD_REQUEST,
                f"{self.config.name} was trained in world axes: expected the camera's pose (--camera-pose, or the "
                "node's world_frame)",
            )
        poses = {"table": invert_pose(table.frame), "camera": np.eye(4), "world": frame.camera_pose}
        axes = poses[wanted.axes]
        assert axes is not None  # of the world; refused above
        if not wanted.centred:
            return axes
        moved = axes.copy()
        moved[:3, 3] = -axes[:3, :3] @ to_numpy(points).mean(0, dtype=np.float64)
        return moved

    def _features(self, voxels: Voxels) -> tuple[Activations, torch.Tensor, Array | None]:
        """What the encoder's pass left, unit features (M,D), and the middles (M,3) m of their objects where the encoder
        has a head for it."""
        coords, feats, centers = (
            torch.as_tensor(of, device=self.device) for of in (voxels.coords, voxels.feats, voxels.centers)
        )
        passed = self.encoder.activations(coords, feats)
        features, middles = finite(F.normalize(self.thin_head(passed.decoded), dim=-1), "the encoder"), None
        if self.encoder.offset is not None:
            middles = centers + OFFSET_UNIT * self.config.voxels.edge * self.encoder.offset(passed.decoded)
            middles = middles if self.uploads else to_numpy(middles)
        return passed, features, middles

    def _instance_features(self, passed: Activations, features: torch.Tensor, instances: np.ndarray) -> torch.Tensor:
        """Unit feature (K,C) of each instance 1..K: by the encoder's head for whole objects, else its voxels' mean."""
        if self.encoder.objects is None:
            return pool_features(features, instances) @ self.basis.T
        owner = torch.as_tensor(instances, device=self.device) - 1
        return self.encoder.object_features(passed, owner, int(instances.max()))

    def _negatives(self, query: str, negatives: Sequence[str], mode: str) -> list[str]:
        """The phrases of a mode, cleaned, without the query itself (a negative equal to it would cancel it)."""
        if mode not in NEGATIVE_MODES:
            raise DropclipError(
                Status.BAD_REQUEST, f"negatives mode {mode!r}: expected one of {', '.join(NEGATIVE_MODES)}"
            )
        phrases = {
            "none": (),
            "canonical": self.config.canonical_negatives,
            "custom": negatives,
            "scene": self.scene_phrases,
        }[mode]
        if len(phrases) > MAX_NEGATIVES:
            raise DropclipError(Status.BAD_REQUEST, f"{len(phrases)} negatives: expected at most {MAX_NEGATIVES}")
        cleaned = dict.fromkeys(clean_phrase(phrase, f"negative {i}") for i, phrase in enumerate(phrases, 1))
        return [phrase for phrase in cleaned if phrase.casefold() != query.casefold()]

    @torch.inference_mode()
    def ground(
        self,
        scene: EncodedScene,
        query: str,
        negatives: Sequence[str] = (),
        mode: str | None = None,
        threshold: float = 0.0,
        scoring: str = "instances",
        *,
        literal: bool = False,
        previous: Sequence[int] = (),
        viewer: np.ndarray | None = None,
    ) -> GroundResult:
        """Objects of the scene that `query` means (section 3.4), or why there are none.

        A phrase that names one thing is compared as a whole; relations, orders, numbers and negations are judged part
        by part. mode: none, canonical, custom (the given negatives) or scene (`scene_phrases`); custom where negatives
        are given and canonical otherwise. threshold in (0, 1), 0 for the model's own. literal: compare as a whole,
        whatever it says. previous: ids of the last answer's objects in this scene. viewer: camera_from_viewer (4,4) of
        a body that looks along its x, z up, whose left and right are meant; None for the camera. scoring:
        "instances", ours, or the paper's for every point of the phrase as a whole (section 3.4): "paper" with a
        threshold (0 for 0.7), "argmax" with none, "release" as its code has it; their answer is one object, all points
        chosen. Raises BAD_REQUEST.
        """

        def ask(of: EncodedScene) -> GroundResult:
            return self._ground(of, query, negatives, mode, threshold, scoring, literal, previous, viewer)

        return scene.answered(ask(scene), ask)

    def _ground(
        self,
        scene: EncodedScene,
        query: str,
        negatives: Sequence[str],
        mode: str | None,
        threshold: float,
        scoring: str,
        literal: bool,
        previous: Sequence[int],
        viewer: np.ndarray | None,
    ) -> GroundResult:
        timing = dict(scene.timing_ms)
        if threshold != 0 and not 0 < threshold < 1:
            message = f"threshold {threshold}: expected a number in (0, 1), or 0 for the default"
            raise DropclipError(Status.BAD_REQUEST, message)
        threshold = threshold or (self.config.threshold if scoring == "instances" else PAPER_THRESHOLD)
        query = clean_phrase(query, "query")
        with _timed(timing, "parse"):
            phrase = as_it_is(query) if literal or scoring != "instances" else self.reader(query)
        others = self._negatives(phrase.text, negatives, mode or ("custom" if negatives else "canonical"))
        _check_scoring(scoring, others)
        if not phrase.whole:
            return self._ground_parts(scene, phrase, others, threshold, scene.rows(previous), viewer, timing)
        if scoring == "instances":
            compared = self.compare(scene, [phrase.text, *others], timing)
        elif scene.basis is None:
            self._look(scene, timing)
        with _timed(timing, "similarity"), enough_memory(self.device):
            if scoring == "instances":
                rho, meant = self._instances_meant(scene, compared, threshold)
            else:
                text = self.text.encode([phrase.text, *others]).to(self.device)
                rho, meant = self._points_meant(scene, text, threshold, scoring)
        with _timed(timing, "objects"):
            objects = [self._found(scene, voxels, rho, head_of(phrase.reading)) for voxels in meant]
            if (beside := self._beside(scene)) and scoring == "instances":
                for found in objects:
                    self._say_how_sure(beside, found, compared)
        scores = rho[scene.voxels.point_to_voxel]
        status = Status.OK if objects else Status.NOT_FOUND
        reading = read_whole(phrase, instance_scores(scene.instances, rho))
        message = ""
        if scoring == "instances" and len(objects) > 1 and _is_one(phrase):
            judged = self._told_apart(scene, phrase, objects, reading, threshold, viewer)
            objects = [found for found in objects if found.id in judged.chosen]
            status, message = judged.status, judged.message if judged.status == Status.AMBIGUOUS else ""
        message = message or _message(query, objects, float(rho.max()), threshold)
        message = f"{message}; {scene.note}" if scene.note else message
        return GroundResult(query, status, message, objects, scores, threshold, timing, reading)

    def _told_apart(
        self,
        scene: EncodedScene,
        phrase: Phrase,
        objects: list[FoundObject],
        reading: Interpretation,
        threshold: float,
        viewer: np.ndarray | None,
    ) -> Judgement:
        """Which of several objects that fit a phrase that means one: by size, or a question back."""
        assert isinstance(phrase.reading, Node)
        scores = np.zeros(int(scene.instances.max(initial=0)))
        scores[[found.id - 1 for found in objects]] = [found.score for found in objects]
        layout, sure = self._layout(scene, viewer), self.config.threshold
        judge = Judge(layout, lambda _: scores, threshold, self.objects.rival, sure=sure)
        return judge.choose(phrase.reading, scores, reading)

    @staticmethod
    def _layout(scene: EncodedScene, viewer: np.ndarray | None) -> Layout:
        """Where the instances are for a viewer: camera_from_viewer (4,4), None for the camera itself."""
        table_from_camera = invert_pose(scene.table.frame)
        seen_by = Viewer.of_camera(table_from_camera @ scene.seen_from)
        if viewer is not None:
            seen_by = Viewer.of_frame(table_from_camera @ viewer)
        return Layout(to_numpy(scene.voxels.centers), scene.instances, seen_by)

    def _ground_parts(
        self,
        scene: EncodedScene,
        phrase: Phrase,
        others: list[str],
        threshold: float,
        previous: Sequence[int],
        viewer: np.ndarray | None,
        timing: dict[str, float],
    ) -> GroundResult:
        """What a phrase of several parts means: names by features, all of them in one batch, the rest by geometry."""
        if phrase.reading is None:
            judged = not_judged(phrase, int(scene.instances.max(initial=0)))
        else:
            scores = self._named_scores(scene, texts_of(phrase.reading), others, timing)
            with _timed(timing, "relations"):
                layout, sure = self._layout(scene, viewer), self.config.threshold
                judge = Judge(layout, scores.__getitem__, threshold, self.objects.rival, previous, sure)
                judged = judge.judge(phrase)
        with _timed(timing, "objects"):
            rho = np.append(0.0, judged.scores)[scene.instances]
            named = zip(judged.chosen, judged.labels, strict=True)
            objects = [self._found(scene, scene.instances == k, rho, label) for k, label in named]
            scores = rho[scene.voxels.point_to_voxel]
        message = f"{judged.message}; {scene.note}" if scene.note else judged.message
        reading = judged.interpretation
        return GroundResult(phrase.said, judged.status, message, objects, scores, threshold, timing, reading)

    def _named_scores(
        self, scene: EncodedScene, texts: list[str], others: list[str], timing: dict[str, float]
    ) -> dict[str, np.ndarray]:
        """The score (K,) of every instance for each text, beside the others."""
        with _timed(timing, "text"), enough_memory(self.device):
            self.text.encode([*texts, *others])  # in one batch; it remembers them
        scores = {}
        for text in texts:
            beside = [other for other in others if other.casefold() != text.casefold()]
            odds = self.compare(scene, [text, *beside], {}).odds
            scores[text] = referring_scores(odds, temperature=1.0, null_similarity=0.0).cpu().numpy()
        return scores

    @torch.inference_mode()
    def compare(self, scene: EncodedScene, phrases: Sequence[str], timing: dict[str, float] | None = None) -> Compared:
        """Log-odds that each phrase means each instance rather than none: by the encoder's cosine (section 3.4) and,
        where names have a say, by what the picture shows and by what is printed on it (figure 20)."""
        timing = {} if timing is None else timing
        with _timed(timing, "text"), enough_memory(self.device):
            text = self.text.encode(phrases).to(self.device)
        self._look(scene, timing)
        cosine = similarities(scene.instance_features, text, self.text.mean_object)
        beside = self._beside(scene)
        if beside is None:
            return Compared((cosine - self.config.null_similarity) / self.config.temperature, {})
        with enough_memory(self.device):
            return beside.compare(cosine, phrases, scene.frame.rgb, scene.shown, scene.known, timing)

    def _look(self, scene: EncodedScene, timing: dict[str, float]) -> None:
        """Has the image tower, where there is one, look at the objects, once a frame."""
        if self.image is not None and "instance_features" not in vars(scene):
            with _timed(timing, "image"), enough_memory(self.device):
                _ = scene.instance_features

    def _beside(self, scene: EncodedScene) -> Beside | None:
        """What has a say beside the encoder, where there are names, and a picture to look at."""
        return self.beside if scene.frame.picture or scene.known.pictured else None

    def _instances_meant(
        self, scene: EncodedScene, compared: Compared, threshold: float
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """Score (M,) of each voxel for the first phrase, and the voxels (M,) bool of each instance that it means."""
        rho = referring_scores(compared.odds, temperature=1.0, null_similarity=0.0).cpu().numpy()
        meant = answering_instances(rho, threshold, self.objects.rival)
        if self._beside(scene):  # scores near 1 no longer tell a rival from what was meant; log-odds do
            lead = (compared.odds[:, 0].max() - compared.odds[:, 0]).cpu().numpy()
            meant = [instance for instance in meant if lead[instance - 1] <= RIVAL_LEAD]
        return np.append(0.0, rho)[scene.instances], [scene.instances == instance for instance in meant]

    def _points_meant(
        self, scene: EncodedScene, text: torch.Tensor, threshold: float, scoring: str
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """The same by the paper's scoring of every point; text (1+K,C): of the query and its negatives."""
        if scene.basis is not None:
            similarity = similarities(scene.features, text @ scene.basis)
        else:  # every point has its object's; specks are at right angles to everything
            each = F.normalize(scene.instance_features, dim=-1)
            similarity = similarities(torch.cat([torch.zeros_like(each[:1]), each])[scene.instances], text)
        rho = point_scores(similarity, self.config.temperature, scoring)
        chosen = (beats_negatives(similarity) if scoring == "argmax" else rho > threshold).cpu().numpy()
        return rho.double().cpu().numpy(), [chosen] if chosen.any() else []

    @staticmethod
    def _say_how_sure(beside: Beside, found: FoundObject, compared: Compared) -> None:
        found.confidence, found.doubtful = beside.confidence(compared.odds[:, 0].cpu().numpy(), found.id)
        found.words_read = tuple(dict.fromkeys(compared.read.get(found.id, ())))

    @staticmethod
    def _found(scene: EncodedScene, voxels: np.ndarray, rho: np.ndarray, label: str = "") -> FoundObject:
        index = np.flatnonzero(voxels[scene.voxels.point_to_voxel])
        points = scene.points[index]
        pose, size = oriented_box(points, scene.table.frame)
        instance = int(np.bincount(scene.instances[voxels]).argmax())
        return FoundObject(float(rho[voxels].mean()), index, points.mean(0), size, pose, instance, label)

    @torch.inference_mode()
    def segment(self, scene: EncodedScene, classes: Sequence[str]) -> np.ndarray:
        """Semantic segmentation (section 3.4): class of each point, (N,) in 1..K, 0 where no class fits."""
        compared = self.compare(scene, [clean_phrase(name, "name of a class") for name in classes])
        labels = semantic_labels(compared.odds, null_similarity=0.0).cpu().numpy()
        return np.append(0, labels)[self.instances(scene)]

    @staticmethod
    def instances(scene: EncodedScene) -> np.ndarray:
        """Instance of each point without any phrase (section 3.4, A.6.2), (N,) in 1..K, largest first, 0 for specks."""
        return scene.instances[scene.voxels.point_to_voxel]
