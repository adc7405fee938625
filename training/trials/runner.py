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
from dropclip_ros.ros.messages import depth_image, nanoseconds, time_message
from dropclip_ros.srv import Ground
from dropclip_ros.vision.geometry import transform_points
from training.objects.catalogue import open_catalogue
from training.runs.errors import InputError
from training.trials.asking import Answer, Asker
from training.trials.clearing import clear, stuck
from training.trials.client import GROUNDING_NODE, TrialClient
from training.trials.grading import LIFTED, Reason, grasped, lifted, visible, why
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
    PRESETS; attempts: in the place of its own, 0 for that; clear: things in the way are put away first. hold: how long
    a lifted object must stay up, s; 0 where the workcell's own `pick` waits.
    """

    protocol: Protocol = field(default_factory=Protocol)
    proposals: Literal["antipodal", "hggd", "true"] = "antipodal"
    grounding: Literal["model", "image", "true"] = "image"
    preset: Name = "shipped"
    attempts: int = ranged(0, 0, 20)
    clear: bool = False
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


class Runner:
    def __init__(self, client: TrialClient, setup: Setup) -> None:
        self._client, self._setup = client, setup
        self._asker = Asker(client, setup.how, setup.grounding == "true")
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
            if self._setup.clear:
                self._client.hear_scenes()
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
            setup.clear,
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
            answer = self._asker.ask(asked, names, self._fresh)
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

    def _pick(self, result: Result, answer: Answer, asked: Asked, names: list[str]) -> tuple[Result, Status, str]:
        """Picks by the answer; after a slip, or where the scene has changed, asks again and picks by that. The status
        is the last pick's, or that of an answer without candidates."""
        told: list[str] = []
        for tries in range(1, self._setup.how.attempts + 1):
            status, message, executed = answer.status, answer.message, -1
            last = tries == self._setup.how.attempts
            if self._setup.clear and not last and stuck(status, answer.candidates):
                put = clear(self._client, answer.header.stamp, answer.points, *self._standing(names))
                if put:
                    status, told = put[0], [*told, message, put[1]]
                    if status is not Status.OK:  # the hand holds it still
                        break
                    answer = self._again(asked, names)
                    continue
            if status is Status.OK:
                picked = self._client.pick(answer.header, answer.candidates)
                status, executed = Status(picked.status), int(picked.executed)
                message = "; ".join([picked.message, *picked.reasons])
            told.append(message)
            result = replace(result, candidates=len(answer.candidates), tries=tries, executed=executed)
            if status not in AGAIN or last:
                break
            answer = self._again(asked, names)
        return result, status, " | ".join(told)

    def _again(self, asked: Asked, names: list[str]) -> Answer:
        """The phrase asked once more, of the scene as it is now."""
        self._fresh = self._client.now()  # what is older shows the scene before
        with self._proposals(self._client.poses(names, self._fresh), asked, names):
            return self._asker.ask(asked, names, self._fresh)

    def _standing(self, names: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Points (N, 3) in the world, m, of all that stands on the table, and whose each is (N,)."""
        client = self._client
        if self._setup.grounding != "true":
            return client.scene()
        depth = client.newest(DEPTH_TOPIC, self._fresh)
        labels, image = client.labels(nanoseconds(depth.header.stamp)), depth_image(depth)
        clouds = [true_points(image, client.intrinsics(), labels, k) for k in range(1, len(names) + 1)]
        owner = np.repeat(np.arange(1, len(names) + 1), [len(cloud) for cloud in clouds])
        return transform_points(client.world_from(depth.header), np.concatenate(clouds)), owner

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
            wanted |= {self._asker.grade(asked, names, Time())[0].answered} - {""}
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
