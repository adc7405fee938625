# SPDX-License-Identifier: Apache-2.0
"""Sends mutated frames, requests, grasps and transforms at running nodes, over real DDS, and counts their answers.

    python -m benchmarks.ros.fuzz [--count 10000] [--seed 0] [--only I] [--resume-from I]

The nodes are processes as users start them, with the shipped model; only their timeouts are short and RANSAC is quick.
Case I depends on seed and I alone, so `--only I` plays it again; one in four carries a second mutation. Exit code 1
where a node died or logged a traceback, where a request was not answered, where an answer was MODEL_ERROR or TIMEOUT or
held numbers that are not finite, where a node did not end well, or where it does not serve once all is over.
"""

from __future__ import annotations

import array
import copy
import math
import os
import random
import sys
import time
import unicodedata
from collections import Counter, defaultdict
from dataclasses import dataclass, field

import numpy as np
import tyro
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, Pose, Quaternion, Transform, TransformStamped, Vector3
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage
from tqdm import tqdm

from benchmarks.ros.live import ABSENT, OPTICAL_FRAME, PRESENT, Live, small_frame
from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.msg import Grasp, GraspArray
from dropclip_ros.ros.common import TABLE_FRAME
from dropclip_ros.ros.launcher import Children, running
from dropclip_ros.ros.messages import cloud_points, image_message
from dropclip_ros.srv import Ground, MatchGrasps

NODES = {
    "grounding_node": ["reliable:=true", "frame_timeout:=0.1", "tf_timeout:=0.05", "table.iterations:=50"],
    "proposal_node": ["reliable:=true", "frame_timeout:=0.1", "max_rate:=0.5", "table.iterations:=50"],
    "grasp_matcher_node": ["proposals_timeout:=0.1", "tf_timeout:=0.05"],
}
BLOCK = 40  # cases of one kind in a row, so that requests share a frame
KINDS = {"frame": 36, "request": 34, "grasps": 13, "target": 11, "transform": 6}  # weights
FAILURES = (Status.MODEL_ERROR, Status.TIMEOUT)
NUMBERS = (0.0, -0.0, 1.0, -1.0, 0.5, 1e-30, 1e-300, 1e-3, 1e3, 1e6, 1e30, 1e300, -1e30, math.nan, math.inf, -math.inf)
WHOLE = (0, 1, 2, 3, 7, 95, 96, 97, 127, 128, 129, 255, 256, 384, 640, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1)
ENCODINGS = (
    "rgb8",
    "bgr8",
    "rgba8",
    "bgra8",
    "mono8",
    "8UC1",
    "8UC3",
    "16UC1",
    "mono16",
    "32FC1",
    "bayer_rggb8",
    "",
    "RGB8",
    "yuv422",
    "64FC1",
    "16UC3",
    "32FC1\n",
)
ALPHABETS = (
    "abcdefghijklmnopqrstuvwxyz ",
    "aAéßİıﬁ",
    "红色的杯子",
    "كوب أحمر",
    "🥤🍌👩‍👩‍👧",
    "a\u0301\u0308\u20dd",
    "\u202e\u200b\ufeff ",
    "\t\n\r\x00\x07\x1b\x7f\x85",
    " \u00a0\u3000",
    "{}[]()%s\\'\"<>&;$`",
    "0123456789.-e",
)


def number(r: random.Random) -> float:
    return r.choice(NUMBERS) if r.random() < 0.7 else r.uniform(-1, 1) * 10 ** r.uniform(-6, 6)


def float32(r: random.Random) -> float:
    value = number(r)
    return value if not math.isfinite(value) or abs(value) < 3e38 else math.copysign(3e38, value)


def text(r: random.Random) -> str:
    """Any unicode that a ROS string carries."""
    length = r.choice((0, 1, 2, 5, 20, 60, 255, 256, 257)) if r.random() < 0.98 else 10_000
    if r.random() < 0.3:
        points = (r.randrange(0x110000) for _ in range(length))
        return "".join(chr(p) for p in points if unicodedata.category(chr(p)) != "Cs")
    alphabet = r.choice(ALPHABETS)
    return "".join(r.choice(alphabet) for _ in range(length))


def frame_id(r: random.Random) -> str:
    return r.choice(("", "nowhere", "world", "/world", TABLE_FRAME, OPTICAL_FRAME, text(r)))


def stamp(r: random.Random) -> Time:
    return Time(
        sec=r.choice((0, 1, -1, 2**31 - 1, -(2**31), r.randrange(2**31))),
        nanosec=r.choice((0, 1, 999_999_999, 10**9, 2**32 - 1)),
    )


# --- frames: each mutates the messages {color, depth, info} of a good frame ------------------------------------------


def _image(r: random.Random, messages: dict):
    return messages[r.choice(("color", "depth"))]


def _encoding(r, m):
    _image(r, m).encoding = r.choice(ENCODINGS) if r.random() < 0.8 else text(r)


def _step(r, m):
    _image(r, m).step = r.choice(WHOLE)


def _size(r, m):
    setattr(_image(r, m), r.choice(("height", "width")), r.choice(WHOLE))


def _data(r, m):
    image = _image(r, m)
    length = r.choice((0, 1, len(image.data) - 1, len(image.data) // 2, len(image.data) + 1, 2 * len(image.data)))
    image.data = array.array("B", (bytes(image.data) * 2)[:length])


def _endianness(r, m):
    _image(r, m).is_bigendian = r.choice((1, 2, 255))


def _noise(r, m):
    image = _image(r, m)
    image.data = array.array("B", r.randbytes(len(image.data)))


def _header_frame(r, m):
    r.choice(list(m.values())).header.frame_id = frame_id(r)


def _header_stamp(r, m):
    broken = stamp(r)
    for message in m.values() if r.random() < 0.7 else [r.choice(list(m.values()))]:
        message.header.stamp = broken


def _missing(r, m):
    del m[r.choice(list(m))]


def _float_depth(r, m):
    """32FC1 with what floats can hold in a share of the pixels."""
    depth = pixels(m) / 1000
    where = np.random.default_rng(r.getrandbits(32)).random(depth.shape) < r.choice((0.01, 0.5, 1.0))
    depth[where] = float32(r)
    m["depth"] = image_message(m["depth"].header, depth, "32FC1")


def _geometry(r, m):
    """Another scene: scaled, flat, tilted, noisy, nearly empty, or a step."""
    depth, noise = pixels(m) / 1000, np.random.default_rng(r.getrandbits(32))
    rows, columns = np.mgrid[: depth.shape[0], : depth.shape[1]]
    few = noise.random(depth.shape) < r.choice((0.001, 0.01, 0.1))
    depth = r.choice(
        (
            depth * 10 ** r.uniform(-2, 2),
            np.full_like(depth, r.uniform(0.05, 5)),
            depth + noise.normal(0, 0.1, depth.shape),
            0.5 + r.uniform(-0.02, 0.02) * rows + r.uniform(-0.02, 0.02) * columns,
            noise.uniform(0, 3, depth.shape),
            depth * few,
            np.where(columns < columns.max() // 2, 0.5, 1.0),
            np.where(few, 0.4, 0.8),
            depth * (rows % 2),
        )
    )
    m["depth"] = image_message(m["depth"].header, np.clip(np.nan_to_num(depth), 0, 65), "32FC1")


def _shape(r, m):
    """Images that are sound but of another size, tiny ones too."""
    shape = r.choice(((1, 1), (1, 128), (96, 1), (2, 2), (48, 64), (97, 128), (192, 256), (30, 400)))
    for name in r.choice((("color",), ("depth",), ("color", "depth"))):
        size = (*shape, 3) if name == "color" else shape
        values = np.frombuffer(m[name].data, np.uint8) if name == "color" else pixels(m)
        m[name] = image_message(m[name].header, np.resize(values, size), "rgb8" if name == "color" else "16UC1")


def _k(r, m):
    k = np.array(m["info"].k)
    for i in r.choice(((0,), (4,), (0, 4), (2,), (5,), (1,), (8,), range(9))):
        k[i] = k[i] * 10 ** r.uniform(-4, 4) if r.random() < 0.3 else number(r)
    m["info"].k = k


def _distortion(r, m):
    m["info"].d = [number(r) * r.choice((1, 1e-3)) for _ in range(r.choice((0, 1, 4, 5, 8, 12, 14, 100)))]
    m["info"].distortion_model = r.choice(("plumb_bob", "rational_polynomial", "equidistant", "", text(r)))


def _info_size(r, m):
    setattr(m["info"], r.choice(("width", "height")), r.choice(WHOLE))


def _roi(r, m):
    target, names = r.choice(
        ((m["info"], ("binning_x", "binning_y")), (m["info"].roi, ("x_offset", "y_offset", "height", "width")))
    )
    setattr(target, r.choice(names), r.choice(WHOLE))


FRAMES = {
    "good": lambda r, m: None,
    "encoding": _encoding,
    "step": _step,
    "height, width": _size,
    "data length": _data,
    "endianness": _endianness,
    "noise": _noise,
    "frame_id": _header_frame,
    "stamp": _header_stamp,
    "stream missing": _missing,
    "NaN, inf, huge depth": _float_depth,
    "another scene": _geometry,
    "another size": _shape,
    "K": _k,
    "distortion": _distortion,
    "CameraInfo size": _info_size,
    "binning, ROI": _roi,
}


def pixels(messages: dict) -> np.ndarray:
    """The good frame's depth, mm, as float32 (H, W), whatever else was mutated before."""
    depth = messages["depth"]
    good = np.frombuffer(bytes(depth.data).ljust(2 * 96 * 128, b"\0")[: 2 * 96 * 128], np.uint16)
    return good.reshape(96, 128).astype(np.float32)


# --- requests, grasps, targets, transforms ---------------------------------------------------------------------------

REQUESTS = {
    "good": lambda r: {"query": PRESENT},
    "query": lambda r: {"query": text(r)},
    "negatives": lambda r: {
        "negatives": r.choice(
            (
                [text(r) for _ in range(r.choice((1, 3, 10)))],
                [PRESENT, PRESENT.upper()],
                [""],
                ["a"] * r.choice((256, 257, 1000)),
            )
        )
    },
    "negatives_mode": lambda r: {"negatives_mode": r.choice((0, 1, 2, 3, 4, 5, 255))},
    "threshold": lambda r: {"threshold": float32(r)},
    "target_frame": lambda r: {"target_frame": frame_id(r)},
    "stamp": lambda r: {"stamp": stamp(r)},
}


def _vector(r: random.Random, good: Point | Vector3) -> None:
    setattr(good, r.choice("xyz"), number(r))


def _grasp_number(r, grasp: Grasp):
    setattr(grasp, r.choice(("width", "height", "depth", "score", "tip_distance")), float32(r))


def _grasp_turn(r, grasp: Grasp):
    grasp.pose.orientation = Quaternion(x=number(r), y=number(r), z=number(r), w=number(r))


GRASPS = {
    "good": lambda r, grasp: None,
    "position": lambda r, grasp: _vector(r, grasp.pose.position),
    "orientation": _grasp_turn,
    "numbers": _grasp_number,
    "object_id": lambda r, grasp: setattr(grasp, "object_id", r.choice((-1, 0, 2**31 - 1, -(2**31)))),
}


def _cloud_size(r, request: MatchGrasps.Request):
    setattr(request.cloud, r.choice(("height", "width", "point_step", "row_step")), r.choice(WHOLE))


def _cloud_field(r, request: MatchGrasps.Request):
    fields = request.cloud.fields
    if r.random() < 0.3:
        fields.append(
            PointField(name=text(r), offset=r.choice(WHOLE), datatype=r.randrange(256), count=r.choice(WHOLE))
        )
        return
    chosen = r.choice(fields)
    name, value = r.choice(
        (
            ("name", r.choice(("x", "", "f0", "f1", text(r)))),
            ("offset", r.choice(WHOLE)),
            ("datatype", r.randrange(10)),
            ("count", r.choice(WHOLE)),
        )
    )
    setattr(chosen, name, value)


def _cloud_data(r, request: MatchGrasps.Request):
    good = bytes(request.cloud.data)
    request.cloud.data = array.array("B", r.choice((b"", good[:-1], good[: len(good) // 2], r.randbytes(len(good)))))


def _cloud_points(r, request: MatchGrasps.Request):
    """Coordinates that are not finite, huge, or all the same."""
    points = np.frombuffer(bytes(request.cloud.data), np.uint8).reshape(-1, request.cloud.point_step).copy()
    coordinates = points[:, :12].copy().view(np.float32)
    coordinates[: r.choice((1, len(points) // 2, len(points)))] = float32(r)
    points[:, :12] = coordinates.view(np.uint8)
    request.cloud.data = array.array("B", points.tobytes())


TARGETS = {
    "sizes": _cloud_size,
    "fields": _cloud_field,
    "data": _cloud_data,
    "points": _cloud_points,
    "endianness": lambda r, request: setattr(request.cloud, "is_bigendian", True),
    "cloud frame_id": lambda r, request: setattr(request.cloud.header, "frame_id", frame_id(r)),
    "cloud stamp": lambda r, request: setattr(request.cloud.header, "stamp", stamp(r)),
    "target_frame": lambda r, request: setattr(request, "target_frame", frame_id(r)),
    "top_k": lambda r, request: setattr(request, "top_k", r.choice((0, 1, 255))),
    "no cloud": lambda r, request: setattr(request, "cloud", PointCloud2()),
    "query": lambda r, request: setattr(request, "query", text(r)),
    "a phrase": lambda r, request: setattr(request, "query", r.choice((PRESENT, ABSENT))),
}


# --- one run ---------------------------------------------------------------------------------------------------------


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
            _vector(r, value.translation)
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
