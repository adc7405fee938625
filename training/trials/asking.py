# SPDX-License-Identifier: Apache-2.0
"""Asks for the grasps of a trial's phrase, and grades from the truth what was found."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from builtin_interfaces.msg import Time
from std_msgs.msg import Header

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.client import THAT_ONE
from dropclip_ros.msg import FoundObject
from dropclip_ros.ros.common import DEPTH_TOPIC
from dropclip_ros.ros.messages import cloud_message, cloud_points, depth_image, nanoseconds
from dropclip_ros.srv import Ground
from dropclip_ros.vision.geometry import transform_points
from training.trials.client import TrialClient
from training.trials.grading import Grounding, grade_grounding, visible
from training.trials.presets import Preset
from training.trials.protocol import Asked
from training.trials.truth import true_points
from training.workcell.topics import LABELS_TOPIC, WORLD


@dataclass
class Answer:
    """What was said of a phrase: how it ended, grasps, and how well the phrase was grounded."""

    status: Status
    message: str
    header: Header
    candidates: list
    seconds: float
    grounding: Grounding
    points: np.ndarray  # (N, 3) m in the world, of what was found


class Asker:
    """truth: the simulator's masks stand in for the grounding node."""

    def __init__(self, client: TrialClient, how: Preset, truth: bool) -> None:
        self._client, self._how, self._truth = client, how, truth

    def ask(self, asked: Asked, names: list[str], fresh: int) -> Answer:
        """Grasps of what the phrase means, from a frame of this scene: not older than `fresh`, ns.

        Where several fit and the preset has replies, the question back is answered as whoever said the phrase would:
        by pointing at the one that was meant, if it is among them.
        """
        if self._truth:
            return self._ask_truth(asked, names, fresh)
        start = time.perf_counter()
        found, previous = self._client.grasp(asked.phrase, self._how.top_k, self._how.literal), []
        if found.status == Status.AMBIGUOUS and self._how.replies:
            previous = self._pointed_at(asked, names, found.header.stamp)
            if previous:
                found = self._client.grasp(THAT_ONE, self._how.top_k, previous=previous)
        seconds = time.perf_counter() - start
        stamp = found.header.stamp
        if found.status == Status.OK and nanoseconds(stamp) < fresh:
            raise DropclipError(Status.STALE_FRAME, "the grasps are of the scene before: is the camera late?")
        grounding, points = self.grade(asked, names, stamp, previous)
        status = Status(found.status)
        return Answer(status, found.message, found.header, list(found.candidates), seconds, grounding, points)

    def grade(
        self, asked: Asked, names: list[str], stamp: Time, previous: list[int] | None = None
    ) -> tuple[Grounding, np.ndarray]:
        """The same phrase of the same frame, grounded again, for the points (N, 3) that answer it, in the world: the
        action keeps them. previous: the object that was pointed at."""
        found = self._ground(asked, stamp, previous or [])
        if found.status != Status.OK:
            return Grounding(), np.zeros((0, 3))
        return self._graded(asked, names, found, found.objects[0])

    def _ground(self, asked: Asked, stamp: Time, previous: list[int]) -> Ground.Response:
        query, literal = (THAT_ONE, False) if previous else (asked.phrase, self._how.literal)
        request = Ground.Request(query=query, literal=literal, previous=previous, target_frame=WORLD, stamp=stamp)
        found = self._client.ground(request)
        if found.status == Status.STALE_FRAME:  # the frame is gone; the scene is the same
            request.stamp = Time()
            found = self._client.ground(request)
        return found

    def _graded(
        self, asked: Asked, names: list[str], found: Ground.Response, one: FoundObject
    ) -> tuple[Grounding, np.ndarray]:
        labels = self._client.labels(nanoseconds(found.header.stamp))
        if labels is None:
            raise DropclipError(Status.NO_FRAME, f"nothing on {LABELS_TOPIC}: grounding cannot be graded without it")
        depth = self._client.newest(DEPTH_TOPIC)
        camera_from_answer = self._client.frames.lookup(
            depth.header.frame_id, found.header.frame_id, found.header.stamp, 2.0
        )
        points = cloud_points(one.cloud)
        seen, camera = transform_points(camera_from_answer, points), self._client.intrinsics()
        return grade_grounding(seen, camera, labels, depth_image(depth), names, asked.targets), points

    def _pointed_at(self, asked: Asked, names: list[str], stamp: Time) -> list[int]:
        """The id of the one that was meant among those that fit; none where it is not among them."""
        found = self._ground(asked, stamp, [])
        of = {one.id: self._graded(asked, names, found, one)[0] for one in found.objects}
        return [id for id, grounding in of.items() if grounding.right][:1]

    def _ask_truth(self, asked: Asked, names: list[str], fresh: int) -> Answer:
        """Grasps of the object that the phrase means, all of whose pixels are known."""
        client = self._client
        depth = client.newest(DEPTH_TOPIC, fresh)
        labels = client.labels(nanoseconds(depth.header.stamp))
        if labels is None:
            raise DropclipError(Status.NO_FRAME, f"nothing on {LABELS_TOPIC}: there are no true masks")
        shown = visible(labels, names)
        best = max(asked.targets, key=lambda name: shown[name])
        points = true_points(depth_image(depth), client.intrinsics(), labels, names.index(best) + 1)
        cloud = cloud_message(depth.header, points, np.zeros((len(points), 3)), np.ones(len(points)))
        start = time.perf_counter()
        found = client.match(cloud, self._how.top_k)
        return Answer(
            Status(found.status),
            found.message,
            found.grasps.header,
            list(found.candidates),
            time.perf_counter() - start,
            Grounding(1.0, 1.0, len(points), best),
            transform_points(client.world_from(depth.header), points),
        )
