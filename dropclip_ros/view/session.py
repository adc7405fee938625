# SPDX-License-Identifier: Apache-2.0
"""What the view looks at and asks: one frame at a time, of a recording or of the camera; no browser in it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dropclip_ros.base.arrays import to_numpy
from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.draw.answers import describe, mask_image, picture_of
from dropclip_ros.draw.colours import AMBER, distinct_colours, main_colours
from dropclip_ros.grasping.answers import grasps_of, proposals_of
from dropclip_ros.grasping.grasps import Grasps
from dropclip_ros.grasping.grippers import ROBOTIQ_2F_140, Gripper
from dropclip_ros.grounding.pipeline import EncodedScene, Grounder, GroundResult
from dropclip_ros.mapping.frames import MapFrame
from dropclip_ros.mapping.map_scene import map_scene
from dropclip_ros.mapping.scene_map import SceneMap
from dropclip_ros.vision.geometry import RgbdFrame, backproject, invert_pose, transform_points
from dropclip_ros.vision.recordings import find_recordings, open_recording

CAMERA = "the camera"  # among the recordings, where there is one
_MOST_POINTS = 60_000  # of the surroundings; a browser on a laptop turns as many without a stutter


@dataclass(frozen=True)
class Question:
    """A phrase; threshold in (0, 1), 0 for the model's; negatives typed by hand; canonical: how many of the model's."""

    phrase: str
    threshold: float = 0.0
    negatives: tuple[str, ...] = ()
    canonical: int | None = None


@dataclass(frozen=True, eq=False)
class Answer:
    """What is shown: a line, the picture uint8 (h, w, 3), the result, its grasps, and an sRGB colour of each object."""

    line: str
    picture: np.ndarray
    result: GroundResult | None = None
    grasps: Grasps = field(default_factory=Grasps.empty)
    colours: tuple[tuple[float, float, float], ...] = ()


@dataclass(frozen=True, eq=False)
class Cloud:
    """Points (n, 3) m, z up from the table where it was found, colours (n, 3) uint8."""

    points: np.ndarray
    colours: np.ndarray


class Session:
    """Frames and questions, one at a time whoever asks. Errors are answers: the page stays, whatever was asked.

    folder: where recordings are looked for. live: gives the camera's newest frame, None without a camera. lasting:
    what was looked at since a recording was opened is kept as a scene map, and that is asked; frames need poses.
    """

    def __init__(
        self,
        grounder: Grounder,
        folder: Path,
        live: Callable[[], RgbdFrame] | None = None,
        gripper: Gripper = ROBOTIQ_2F_140,
        lasting: bool = False,
    ) -> None:
        self.map = SceneMap() if lasting else None
        self.grounder, self.folder, self.live, self.gripper = grounder, folder, live, gripper
        self.scene: EncodedScene | None = None
        self.frame: RgbdFrame | None = None
        self.recording, self.count, self.index = "", 0, 0
        self.trouble = ""  # why there is no scene
        self._proposals = Grasps.empty()
        self._lock = threading.RLock()

    def recordings(self) -> list[str]:
        """What can be opened: the camera where there is one, then paths, newest first."""
        return [CAMERA] * (self.live is not None) + [str(path) for path in find_recordings(self.folder)]

    def open(self, recording: str | Path, index: int = 0) -> None:
        """Looks at frame `index` of one of `recordings`; sets `trouble` where that cannot be."""
        if recording == CAMERA and self.live is not None:
            return self.look()
        if self.map is not None and str(recording) != self.recording:
            self.map.clear()

        def read() -> RgbdFrame:
            frames = open_recording(recording)
            self.recording, self.count = str(recording), len(frames)
            self.index = int(np.clip(index, 0, max(len(frames) - 1, 0)))
            return frames[self.index]

        self._look(read)

    def look(self) -> None:
        """Looks at the camera's newest frame; sets `trouble` where there is none."""
        live = self.live
        if live is not None:
            if self.map is not None and self.recording != CAMERA:
                self.map.clear()
            self.recording, self.count, self.index = CAMERA, 1, 0
            self._look(live)

    def _look(self, read: Callable[[], RgbdFrame]) -> None:
        with self._lock:
            self.scene, self.trouble = None, ""
            try:
                self.frame = read()
                scene = self.grounder.encode(self.frame)
                self.scene = scene if self.map is None else self._fused(self.map, scene)
                self._proposals = proposals_of(self.scene, self.gripper)
            except DropclipError as error:
                self.trouble = f"{error.status.name}: {error.message}"

    def _fused(self, scene_map: SceneMap, scene: EncodedScene) -> EncodedScene:
        """The map with a frame more; one may leaf back in a recording, time does not."""
        scene_map.add(MapFrame.of_encoded(scene, max(scene.frame.stamp, scene_map.watch.newest)))
        return map_scene(scene_map, self.grounder)

    def ask(self, question: Question) -> Answer:
        """The answer about the frame that is looked at; a refusal is one, too."""
        with self._lock:
            scene = self.scene
            if scene is None:
                return Answer(self.trouble or "no frame yet: choose a recording", self.plain_picture())
            if not question.phrase.strip():
                return Answer(f"{len(np.unique(scene.instances)) - 1} things on the table", self.plain_picture())
            try:
                others = self._negatives(question)
                mode = "custom" if others else "none"
                result = self.grounder.ground(scene, question.phrase, others, mode, question.threshold)
            except DropclipError as error:
                return Answer(f"{error.status.name}: {error.message}", self.plain_picture())
            grasps, why = grasps_of(scene, result, self._proposals, gripper=self.gripper)
            line = f"{describe(result)}. {result.message}" + (f" No grasp: {why}" if result.objects and why else "")
            picture = picture_of(scene, result, grasps, self.gripper)
            return Answer(line, picture, result, grasps, self._colours(scene, result))

    def _negatives(self, question: Question) -> list[str]:
        known = self.grounder.config.canonical_negatives
        some = known if question.canonical is None else known[: question.canonical]
        return [*some, *question.negatives]

    def plain_picture(self) -> np.ndarray:
        """The frame as the camera sees it, (h, w, 3) uint8; grey without one."""
        return self.frame.rgb if self.frame is not None else np.full((240, 320, 3), 230, np.uint8)

    @staticmethod
    def _colours(scene: EncodedScene, result: GroundResult) -> tuple[tuple[float, float, float], ...]:
        own = [main_colours(scene.frame.rgb, mask_image(scene, found) > 0) for found in result.objects]
        chosen = distinct_colours(len(own), own)
        pairs = zip(result.objects, chosen, strict=True)
        return tuple(AMBER if found.doubtful else (float(r), float(g), float(b)) for found, (r, g, b) in pairs)

    def up(self) -> np.ndarray:
        """page_from_scene (4, 4): z up where a table was found, else the camera looks along the page's y."""
        if self.scene is not None:
            return invert_pose(self.scene.table.frame)
        return np.array([[1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]], float)

    def eye(self) -> np.ndarray:
        """page_from_camera (4, 4) of the frame that is looked at."""
        return self.up() if self.scene is None else self.up() @ self.scene.seen_from

    def surroundings(self) -> Cloud:
        """All that the camera sees, in its colours, thinned."""
        frame = self.frame
        if frame is None:
            return Cloud(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.uint8))
        try:
            points, pixels = backproject(frame.depth, frame.intrinsics, far=self.grounder.workspace.far)
        except DropclipError as error:
            if error.status is not Status.BAD_FRAME:
                raise
            return Cloud(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.uint8))
        step = max(len(points) // _MOST_POINTS, 1)
        moved = np.asarray(transform_points(self.eye(), to_numpy(points)[::step]), np.float32)
        return Cloud(moved, frame.rgb.reshape(-1, 3)[to_numpy(pixels)[::step]])

    def things(self, by: str, answer: Answer) -> Cloud:
        """What stands on the table; by: "camera" colours, "similarity" to the phrase, or "instances"."""
        scene = self.scene
        if scene is None:
            return Cloud(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.uint8))
        colours = scene.colors
        if by == "similarity" and answer.result is not None:
            from matplotlib import colormaps

            colours = np.round(255 * colormaps["turbo"](answer.result.scores)[:, :3]).astype(np.uint8)
        elif by == "instances":
            labels = self.grounder.instances(scene)
            palette = np.vstack([[0.5, 0.5, 0.5], distinct_colours(int(labels.max(initial=0)))])
            colours = np.round(255 * palette[labels]).astype(np.uint8)
        return Cloud(transform_points(self.up(), scene.points).astype(np.float32), colours)
