# SPDX-License-Identifier: Apache-2.0
"""Plays trials: lay a scene, ask a phrase, pick what it means, and read from the truth what became of it (4.4)."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from builtin_interfaces.msg import Time
from std_msgs.msg import Header

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.base.ranges import check_fields, ranged
from dropclip_ros.ros.common import (
    DEPTH_TOPIC,
    GRASP_ACTION,
    GRASPS_TOPIC,
    GROUND_SERVICE,
    MATCH_SERVICE,
    PICK_ACTION,
)
from dropclip_ros.ros.grasp_messages import grasp_array_message
from dropclip_ros.ros.messages import cloud_message, cloud_points, depth_image, nanoseconds, time_message
from dropclip_ros.srv import Ground
from dropclip_ros.vision.geometry import transform_points
from training.objects.catalogue import open_catalogue
from training.runs.errors import InputError
from training.trials.client import GROUNDING_NODE, TrialClient
from training.trials.grading import LIFTED, Grounding, Reason, grade_grounding, grasped, lifted, visible, why
from training.trials.presets import PRESETS, Name, Preset
from training.trials.protocol import Asked, Plan, Protocol, ask, plan
from training.trials.results import Result, ResultFile
from training.trials.truth import true_grasps, true_points
from training.workcell.film import write_gif
from training.workcell.topics import LABELS_TOPIC, RESET_SERVICE, WORLD

ATTEMPTS = 10  # scenes laid for a trial, until its phrase can be asked
REPEAT = 1.0  # s, between two times that true grasps are published
AGAIN = (Status.SLIPPED, Status.SCENE_CHANGED)  # after which another look may help
SEVERE = 5  # trials in a row that end in an error: then the run stops


@dataclass(frozen=True)
class Setup:
    """What is tried, and how.

    proposals: antipodal or hggd name the node that runs; true: the runner publishes grasps that are known to hold.
    grounding: model or image name how the grounding node was started; true: masks of the simulator. preset: one of
    PRESETS; attempts: in the place of its own, 0 for that. hold: how long a lifted object must stay up, s; 0 where the
    workcell's own `pick` waits.
    """

    protocol: Protocol = field(default_factory=Protocol)
    proposals: Literal["antipodal", "hggd", "true"] = "antipodal"
    grounding: Literal["model", "image", "true"] = "image"
    preset: Name = "shipped"
    attempts: int = ranged(0, 0, 20)
    hold: float = ranged(1.0, 0)

    def __post_init__(self) -> None:
        check_fields(self, error=InputError)

    @property
    def servers(self) -> tuple[str, ...]:
        """Services and actions that a trial needs."""
        if self.grounding == "true":
            return RESET_SERVICE, PICK_ACTION, MATCH_SERVICE
        return RESET_SERVICE, PICK_ACTION, GRASP_ACTION, GROUND_SERVICE, f"{GROUNDING_NODE}/set_parameters"

    @property
    def how(self) -> Preset:
        """The preset, with the attempts that are made."""
        preset = PRESETS[self.preset]
        return replace(preset, attempts=self.attempts or preset.attempts)


@dataclass
class _Answer:
    """What was said of a phrase: how it ended, grasps, and how well the phrase was grounded."""

    status: Status
    message: str
    header: Header
    candidates: list
    seconds: float
    grounding: Grounding


class Runner:
    def __init__(self, client: TrialClient, setup: Setup) -> None:
        self._client, self._setup = client, setup
        self._catalogue = open_catalogue(setup.protocol.catalogue)

    def run(self, file: ResultFile, trials: int, films: Path | None = None) -> Iterator[Result]:
        """Trials 0 to `trials` of every clutter level that `file` has not, each written there when it ends.

        films: folder for a GIF a trial. Raises what went wrong where SEVERE trials in a row end in an error.
        """
        protocol, failed = self._setup.protocol, 0
        self._client.prepare(self._setup.how, self._setup.grounding != "true")
        if self._setup.proposals == "true":
            self._client.trust_proposals()
        if self._setup.grounding != "true":
            self._client.ground(Ground.Request(query="object"))  # loads the model, which no trial shall wait for
        for number in range(trials):
            for clutter in protocol.clutter:  # level by level, so that a part of a run tells of all of them
                blank = self._blank(clutter, number)
                if blank.key in file.done:
                    continue
                result = self.trial(clutter, number, films)
                file.add(result)
                yield result
                failed = failed + 1 if result.reason == Reason.ERROR.value else 0
                if failed == SEVERE:
                    raise DropclipError(Status[result.status], f"{failed} trials in a row failed; {result.message}")

    def trial(self, clutter: str, number: int, films: Path | None = None) -> Result:
        """One trial. What fails by itself, not by what was tried, is a result with the reason `error`."""
        start, result = time.perf_counter(), self._blank(clutter, number)
        if films:
            self._client.start_film()
        try:
            result = self._play(result)
        except DropclipError as error:
            result = replace(result, status=error.status.name, message=error.message, reason=Reason.ERROR.value)
        if films and self._client.film:
            outcome = "grasped" if result.success else result.reason
            title = f'{outcome}: "{result.phrase}"'
            write_gif(self._client.film, title, films / f"{'-'.join(result.key[:2])}_{clutter}_{number:03d}.gif")
        return replace(result, seconds=time.perf_counter() - start)

    def _blank(self, clutter: str, number: int) -> Result:
        setup, protocol = self._setup, self._setup.protocol
        return Result(
            setup.preset,
            setup.proposals,
            setup.grounding,
            setup.how.attempts,
            protocol.split,
            protocol.wording,
            protocol.seed,
            clutter,
            number,
            protocol.family(number),
        )

    def _play(self, result: Result) -> Result:
        client = self._client
        planned, names, asked, pixels, scenes = self._lay(result.clutter, result.number)
        target_pixels = max((pixels[name] or -1 for name in asked.targets), default=-1)
        result = replace(
            result,
            phrase=asked.phrase,
            targets=" ".join(asked.targets),
            distractors=asked.distractors,
            objects=" ".join(names),
            scene_seed=planned.seed,
            scenes=scenes,
            pixels=target_pixels,
        )
        if self._setup.grounding != "true" and self._setup.how.told:
            kinds = {spec.name: spec.category for spec in self._catalogue.specs}
            meant = {kinds[name] for name in asked.targets}
            client.set_negatives(sorted({kinds[name] for name in names} - meant) or [""])
        before = client.poses(names, client.now())
        with self._proposals(before, asked, names):
            answer = self._ask(asked, names)
        grounding = answer.grounding
        result = replace(
            result,
            share=grounding.share,
            iou=grounding.iou,
            points=grounding.points,
            grounded=grounding.right,
            answered=grounding.answered,
            seconds_to_pose=answer.seconds,
        )
        start = time.perf_counter()
        result, status, message = self._pick(result, answer, asked, names)
        after = client.poses(names, client.now() + int(self._setup.hold * 1e9))
        up, success = lifted(before, after, LIFTED), grasped(before, after, asked.targets)
        return replace(
            result,
            lifted=" ".join(sorted(up)),
            success=success,
            status=status.name,
            reason=why(success, grounding.right, status, up).value,
            message=message,
            seconds_pick=time.perf_counter() - start,
        )

    def _pick(self, result: Result, answer: _Answer, asked: Asked, names: list[str]) -> tuple[Result, Status, str]:
        """Picks by the answer; after a slip, or where the scene has changed, asks again and picks by that. The status
        is the last pick's, or that of an answer without candidates."""
        told: list[str] = []
        for tries in range(1, self._setup.how.attempts + 1):
            status, message, executed = answer.status, answer.message, -1
            if status is Status.OK:
                picked = self._client.pick(answer.header, answer.candidates)
                status, executed = Status(picked.status), int(picked.executed)
                message = "; ".join([picked.message, *picked.reasons])
            told.append(message)
            result = replace(result, candidates=len(answer.candidates), tries=tries, executed=executed)
            if status not in AGAIN or tries == self._setup.how.attempts:
                break
            self._fresh = self._client.now()  # what is older shows the scene before
            with self._proposals(self._client.poses(names, self._fresh), asked, names):
                answer = self._ask(asked, names)
        return result, status, " | ".join(told)

    def _lay(self, clutter: str, number: int) -> tuple[Plan, list[str], Asked, dict[str, int | None], int]:
        """A scene of which the trial's phrase can be asked: objects may fall, and hide behind each other."""
        protocol = self._setup.protocol
        for attempt in range(ATTEMPTS):
            planned = plan(protocol, clutter, number, attempt)
            names = self._client.reset(planned, protocol.split)
            self._fresh = self._client.now()  # what is older shows the scene before
            pixels = self._pixels(names)
            if asked := ask(planned, protocol.wording, self._catalogue, pixels):
                return planned, names, asked, pixels, attempt + 1
        raise DropclipError(
            Status.EMPTY_SCENE,
            f"of {ATTEMPTS} scenes none showed an object that a phrase could mean; does the camera see the table?",
        )

    def _pixels(self, names: list[str]) -> dict[str, int | None]:
        """Pixels of each object that the camera sees; None where the workcell does not say."""
        depth = self._client.newest(DEPTH_TOPIC, self._fresh)
        if not self._client.count_publishers(LABELS_TOPIC):
            return dict.fromkeys(names)
        self._client.newest(LABELS_TOPIC, self._fresh)
        return visible(self._client.labels(nanoseconds(depth.header.stamp)), names)

    @contextmanager
    def _proposals(self, poses: dict[str, np.ndarray], asked: Asked, names: list[str]) -> Iterator[None]:
        """Within, proposals of this scene are there: a node's, or true ones, published again and again.

        True ones are of what the phrase fits, and of what the model takes for that: others would not be matched.
        """
        if self._setup.proposals != "true":
            self._client.newest(GRASPS_TOPIC, self._fresh)
            yield
            return
        wanted = set(asked.targets)
        if self._setup.grounding != "true":
            wanted |= {self._grade(asked, names, Time()).answered} - {""}
        grasps = true_grasps(poses, wanted, self._setup.protocol.catalogue)
        ended = threading.Event()

        def publish() -> None:
            while True:
                header = Header(stamp=time_message(self._client.now()), frame_id=WORLD)
                self._client.propose(grasp_array_message(header, grasps))
                if ended.wait(REPEAT):
                    return

        thread = threading.Thread(target=publish, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _ask(self, asked: Asked, names: list[str]) -> _Answer:
        """Grasps of what the phrase means, from a frame of this scene."""
        if self._setup.grounding == "true":
            return self._ask_truth(asked, names)
        start = time.perf_counter()
        found = self._client.grasp(asked.phrase, self._setup.how.top_k, self._setup.how.literal)
        seconds = time.perf_counter() - start
        stamp = found.header.stamp
        if found.status == Status.OK and nanoseconds(stamp) < self._fresh:
            raise DropclipError(Status.STALE_FRAME, "the grasps are of the scene before: is the camera late?")
        status = Status(found.status)
        return _Answer(
            status, found.message, found.header, list(found.candidates), seconds, self._grade(asked, names, stamp)
        )

    def _grade(self, asked: Asked, names: list[str], stamp: Time) -> Grounding:
        """The same phrase of the same frame, grounded again, for the points that answer it: the action keeps them."""
        request = Ground.Request(query=asked.phrase, literal=self._setup.how.literal, target_frame=WORLD, stamp=stamp)
        found = self._client.ground(request)
        if found.status == Status.STALE_FRAME:  # the frame is gone; the scene is the same
            request.stamp = Time()
            found = self._client.ground(request)
        labels = self._client.labels(nanoseconds(found.header.stamp))
        if found.status != Status.OK:
            return Grounding()
        if labels is None:
            raise DropclipError(Status.NO_FRAME, f"nothing on {LABELS_TOPIC}: grounding cannot be graded without it")
        depth = self._client.newest(DEPTH_TOPIC)
        camera_from_answer = self._client.frames.lookup(
            depth.header.frame_id, found.header.frame_id, found.header.stamp, 2.0
        )
        points = transform_points(camera_from_answer, cloud_points(found.objects[0].cloud))
        return grade_grounding(points, self._client.intrinsics(), labels, depth_image(depth), names, asked.targets)

    def _ask_truth(self, asked: Asked, names: list[str]) -> _Answer:
        """Grasps of the object that the phrase means, all of whose pixels are known."""
        client = self._client
        depth = client.newest(DEPTH_TOPIC, self._fresh)
        labels = client.labels(nanoseconds(depth.header.stamp))
        if labels is None:
            raise DropclipError(Status.NO_FRAME, f"nothing on {LABELS_TOPIC}: there are no true masks")
        shown = visible(labels, names)
        best = max(asked.targets, key=lambda name: shown[name])
        points = true_points(depth_image(depth), client.intrinsics(), labels, names.index(best) + 1)
        cloud = cloud_message(depth.header, points, np.zeros((len(points), 3)), np.ones(len(points)))
        start = time.perf_counter()
        found = client.match(cloud, self._setup.how.top_k)
        return _Answer(
            Status(found.status),
            found.message,
            found.grasps.header,
            list(found.candidates),
            time.perf_counter() - start,
            Grounding(1.0, 1.0, len(points), best),
        )
