# SPDX-License-Identifier: Apache-2.0
"""Sends mutated frames, requests, grasps and transforms at running nodes, over real DDS, and counts their answers.

    python -m benchmarks.ros.fuzz [--count 10000] [--seed 0] [--only I] [--resume-from I]

The nodes are processes as users start them, with the shipped model; only their timeouts are short and RANSAC is quick.
Case I depends on seed and I alone, so `--only I` plays it again; one in four carries a second mutation. Exit code 1
where a node died or logged a traceback, where a request was not answered, where an answer was MODEL_ERROR or TIMEOUT or
held numbers that are not finite, where a node did not end well, or where it does not serve once all is over.
"""

from __future__ import annotations

import copy
import math
import os
import random
import sys
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field

import tyro
from geometry_msgs.msg import Point, Pose, Quaternion, Transform, TransformStamped, Vector3
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage
from tqdm import tqdm

from benchmarks.ros.live import ABSENT, OPTICAL_FRAME, PRESENT, Live, small_frame
from benchmarks.ros.mutations import FRAMES, GRASPS, REQUESTS, TARGETS, frame_id, number, spoil_axis, stamp, text
from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.msg import Grasp, GraspArray
from dropclip_ros.ros.launcher import Children, running
from dropclip_ros.ros.messages import cloud_points
from dropclip_ros.srv import Ground, MatchGrasps

NODES = {
    "grounding_node": ["reliable:=true", "frame_timeout:=0.1", "tf_timeout:=0.05", "table.iterations:=50"],
    "proposal_node": ["reliable:=true", "frame_timeout:=0.1", "max_rate:=0.5", "table.iterations:=50"],
    "grasp_matcher_node": ["proposals_timeout:=0.1", "tf_timeout:=0.05"],
}
BLOCK = 40  # cases of one kind in a row, so that requests share a frame
KINDS = {"frame": 36, "request": 34, "grasps": 13, "target": 11, "transform": 6}  # weights
FAILURES = (Status.MODEL_ERROR, Status.TIMEOUT)


@dataclass
class Tally:
    """What was answered, by mutation; and what went wrong, one line each."""

    answers: dict[str, Counter] = field(default_factory=lambda: defaultdict(Counter))
    longest: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    faults: list[str] = field(default_factory=list)

    def fault(self, what: str) -> None:
        self.faults.append(what)
        tqdm.write(what, file=sys.stderr)

    def print(self) -> None:
        print("\n| mutated | cases | answers | longest, ms |\n| --- | --- | --- | --- |")
        for name, answers in sorted(self.answers.items()):
            listed = ", ".join(f"{status} {count}" for status, count in answers.most_common())
            print(f"| {name} | {answers.total()} | {listed} | {1e3 * self.longest[name]:.0f} |")
        total = sum(self.answers.values(), Counter())
        print(
            f"| all | {total.total()} | {', '.join(f'{s} {n}' for s, n in total.most_common())} | "
            f"{1e3 * max(self.longest.values(), default=0):.0f} |"
        )
        print(f"\n{len(self.faults)} faults" + "".join(f"\n  {fault}" for fault in self.faults))


class Fuzzer:
    """Plays cases by number."""

    def __init__(self, live: Live, children: Children, seed: int, tally: Tally):
        self._live, self._children, self._seed, self._tally = live, children, seed, tally
        self._scene = small_frame()
        self._good: Ground.Response | None = None  # the answer about the newest frame, where that is a good one
        self._read = dict.fromkeys(NODES, 0)  # of each log

    def play(self, index: int) -> None:
        kind = random.Random(f"{self._seed} block {index // BLOCK}").choices(list(KINDS), KINDS.values())[0]
        r = random.Random(f"{self._seed} case {index}")
        name, answer, seconds = getattr(self, f"_{kind}")(r)
        name = f"{kind}: {name}"
        self._tally.longest[name] = max(self._tally.longest[name], seconds)
        if answer is None:
            self._tally.answers[name]["unanswered"] += 1
            self._tally.fault(f"case {index}, {name}: no answer in {seconds:.0f} s")
        else:
            status = Status(answer.status)
            self._tally.answers[name][status.name] += 1
            if status in FAILURES or not answer.message or not finite(answer):
                self._tally.fault(
                    f"case {index}, {name}: {status.name} {answer.message:.200}"
                    + ("" if finite(answer) else " (numbers that are not finite)")
                )
        self._watch(f"case {index}, {name}")

    def forget(self) -> None:
        """The next `good` sends a frame in any case."""
        self._good = None

    def _watch(self, what: str) -> None:
        """Raises where a node has died; notes tracebacks that are new in a log."""
        for node in NODES:
            with open(self._children.log(node), errors="replace") as log:
                log.seek(self._read[node])
                new = log.read()
                self._read[node] = log.tell()
            if "Traceback" in new:
                last = [line for line in new.splitlines() if line.strip()][-1]
                self._tally.fault(f"{what}: {node} logged a traceback: {last:.200}")
        self._children.check()

    def good(self, timeout: float = 60.0) -> Ground.Response:
        """The answer about a good frame; sends one where another was sent since. Raises where it is not right."""
        if self._good is None:
            messages = self._live.frame_messages(self._scene)
            self._live.send(messages)
            request = Ground.Request(query=PRESENT, stamp=messages["color"].header.stamp)
            answer, seconds = self._live.call(self._live.ground_client, request, timeout)
            if answer is None or answer.status != Status.OK:
                raise RuntimeError(
                    f"a good frame gets {answer and (Status(answer.status).name, answer.message)} after {seconds:.1f} s"
                )
            self._good = answer
        return self._good

    def _frame(self, r: random.Random):
        messages = self._live.frame_messages(self._scene)
        now = messages["color"].header.stamp
        names = r.sample(list(FRAMES), 1 + (r.random() < 0.25))
        for name in names:
            if {"color", "depth", "info"} <= set(messages):
                FRAMES[name](r, messages)
        self._live.send(messages)
        self._good = None
        asked = messages["color"].header.stamp if "color" in messages else now
        frame = r.choice(("", "", OPTICAL_FRAME))
        return names[0], *self._live.call(
            self._live.ground_client, Ground.Request(query=PRESENT, stamp=asked, target_frame=frame)
        )

    def _request(self, r: random.Random):
        fields = {"query": PRESENT, "stamp": self.good().header.stamp}
        names = r.sample(list(REQUESTS), 1 + (r.random() < 0.25))
        for name in reversed(names):
            fields |= REQUESTS[name](r)
        return names[0], *self._live.call(self._live.ground_client, Ground.Request(**fields))

    def _grasps(self, r: random.Random):
        """Mutated proposals, and a good target."""
        found = self.good().objects[0]
        header = copy.deepcopy(found.cloud.header)
        grasps, names = [], ["none"]
        for _ in range(r.choice((0, 1, 5, 50))):
            at = Point(x=found.centre.x, y=found.centre.y, z=found.centre.z)
            grasps.append(Grasp(pose=Pose(position=at), width=0.05, height=0.02, depth=0.02, score=0.5))
            names.append(r.choice(list(GRASPS)))
            GRASPS[names[-1]](r, grasps[-1])
        if r.random() < 0.2:
            header.frame_id = frame_id(r)
        if r.random() < 0.1:
            header.stamp = stamp(r)
        self._live.send({"grasps": GraspArray(header=header, grasps=grasps)})
        time.sleep(0.005)  # proposals and requests go different ways
        return names[-1], *self._live.call(self._live.match_client, MatchGrasps.Request(cloud=found.cloud))

    def _target(self, r: random.Random):
        """Mutated targets, among the proposals that are there."""
        request = MatchGrasps.Request(cloud=copy.deepcopy(self.good().objects[0].cloud))
        names = r.sample(list(TARGETS), 1 + (r.random() < 0.25))
        for name in reversed(names):
            if request.cloud.fields and len(request.cloud.data) == request.cloud.width * request.cloud.point_step:
                TARGETS[name](r, request)
        return names[0], *self._live.call(self._live.match_client, request)

    def _transform(self, r: random.Random):
        """Mutated transforms to the camera, and a request for an answer there."""
        now = self.good().header.stamp
        value = Transform(translation=Vector3(), rotation=Quaternion(w=1.0))
        name = r.choice(("good", "translation", "rotation", "frame_id", "stamp"))
        world = f"world {r.randrange(10**6)}"  # a new one, since a frame once seen in the future stays there
        header = Header(stamp=now, frame_id=world)
        if name == "translation":
            spoil_axis(r, value.translation)
        elif name == "rotation":
            value.rotation = Quaternion(x=number(r), y=number(r), z=number(r), w=number(r))
        elif name == "frame_id":
            header.frame_id = r.choice(("", OPTICAL_FRAME, text(r)))
        elif name == "stamp":
            header.stamp = stamp(r)
        sent = TransformStamped(header=header, child_frame_id=OPTICAL_FRAME, transform=value)
        self._live.send({"tf": TFMessage(transforms=[sent])})
        request = Ground.Request(query=PRESENT, stamp=now, target_frame=world)
        return name, *self._live.call(self._live.ground_client, request)


def finite(answer: Ground.Response | MatchGrasps.Response) -> bool:
    """Whether all that a robot would act on is finite."""
    if isinstance(answer, MatchGrasps.Response):
        poses = [pose for grasp in answer.grasps.grasps for pose in (grasp.pose, grasp.tip)]
        points, scalars = [answer.target_centre], [g.tip_distance for g in answer.grasps.grasps]
    else:
        poses = [found.box_pose for found in answer.objects]
        points = [v for found in answer.objects for v in (found.centre, found.box_size)]
        scalars = [found.score for found in answer.objects]
        if any(len(cloud_points(found.cloud)) != found.cloud.width for found in answer.objects):
            return False
    points += [pose.position for pose in poses]
    numbers = [getattr(p, axis) for p in points for axis in "xyz"] + scalars
    numbers += [getattr(pose.orientation, axis) for pose in poses for axis in "xyzw"]
    return all(map(math.isfinite, numbers))


def check_serving(fuzzer: Fuzzer, live: Live, centre: Point) -> list[str]:
    """What is wrong with the answers to a good frame: found where it was, absent things refused, grasps given."""
    end, faults = time.monotonic() + 30.0, ["not asked"]
    while faults and time.monotonic() < end:  # the proposer may still be busy with a frame of the last cases
        fuzzer.forget()
        found = fuzzer.good()
        at = found.objects[0].centre
        away = math.dist((at.x, at.y, at.z), (centre.x, centre.y, centre.z))
        absent, _ = live.call(live.ground_client, Ground.Request(query=ABSENT, stamp=found.header.stamp))
        time.sleep(1.0)
        matched, _ = live.call(live.match_client, MatchGrasps.Request(cloud=found.objects[0].cloud))
        faults = [] if away < 0.01 else [f"{PRESENT!r} is {away:.3f} m from where it was before"]
        faults += [
            f"{what!r} gets {answer and (Status(answer.status).name, answer.message)}, expected {expected.name}"
            for what, answer, expected in ((ABSENT, absent, Status.NOT_FOUND), ("grasps", matched, Status.OK))
            if answer is None or answer.status != expected
        ]
    return faults


def main(count: int = 10_000, seed: int = 0, only: int | None = None, resume_from: int = 0) -> int:
    """Plays cases `resume_from` to `count`, or one, and prints the answers by what was mutated."""
    tally = Tally()
    cases = range(resume_from, count) if only is None else [only]
    with running(NODES, lambda children: Live()) as (children, live):
        live.wait_for({"color": 1, "depth": 2, "info": 2, "grasps": 1}, [live.ground_client, live.match_client])
        fuzzer = Fuzzer(live, children, seed, tally)
        index = None
        try:
            before = fuzzer.good(timeout=600.0).objects[0].centre  # loads the model
            for index in tqdm(cases, unit="case", file=sys.stderr):
                fuzzer.play(index)
            for fault in check_serving(fuzzer, live, before):
                tally.fault(f"at the end: {fault}")
        except (DropclipError, RuntimeError) as error:  # a node has died, or refuses what is good
            tally.fault(f"after case {index}: {error} (resume with --resume-from {(index or 0) + 1})")
        except KeyboardInterrupt:
            tally.fault(f"interrupted at case {index}")
        codes = children.stop()
    for name, code in codes.items():
        if code != 0:
            tally.fault(f"{name} ended with code {code}")
    tally.print()
    return min(len(tally.faults), 1)


if __name__ == "__main__":
    code = tyro.cli(main)
    sys.stdout.flush()
    os._exit(code)  # rclpy's threads may still wait on the wire
