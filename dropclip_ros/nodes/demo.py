# SPDX-License-Identifier: Apache-2.0
"""`make demo`: a recorded camera, the grounding node, proposals and the matcher as processes over real DDS, and a
client that asks phrases, prints the answers, and writes a picture and a cloud for each.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage
from rclpy.client import Client
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.draw import Shown, draw_result, write_ply
from dropclip_ros.draw.letters import missing
from dropclip_ros.grasping.grasps import Grasps
from dropclip_ros.ros.common import CAMERA_QOS, COLOR_TOPIC, GROUND_SERVICE, INFO_TOPIC, MATCH_SERVICE, SERVICE_QOS
from dropclip_ros.ros.grasp_messages import grasps_from_message
from dropclip_ros.ros.launcher import running
from dropclip_ros.ros.messages import (
    cloud_colors,
    cloud_points,
    cloud_to_numpy,
    color_image,
    intrinsics_of,
    nanoseconds,
)
from dropclip_ros.ros.tf import Frames
from dropclip_ros.srv import Ground, MatchGrasps
from dropclip_ros.vision.geometry import project, transform_points

DEMO = Path(__file__).resolve().parents[2] / "demo"
SIMILARITY_TOPIC = "grounding_node/similarity"
WORLD = "world"


class DemoClient(Node):
    """Asks both services, and keeps the frames and similarity clouds that the pictures need."""

    def __init__(self, alive: Callable[[], None]):
        super().__init__("demo")
        self._alive = alive
        self.frames = Frames(self)
        self._ground: Client = self.create_client(Ground, GROUND_SERVICE, qos_profile=SERVICE_QOS)
        self._match: Client = self.create_client(MatchGrasps, MATCH_SERVICE, qos_profile=SERVICE_QOS)
        self._images: dict[int, Image] = {}
        self._info: CameraInfo | None = None
        self._similarity: PointCloud2 | None = None
        self.create_subscription(Image, COLOR_TOPIC, self._take_image, CAMERA_QOS)
        self.create_subscription(CameraInfo, INFO_TOPIC, lambda msg: setattr(self, "_info", msg), CAMERA_QOS)
        self.create_subscription(PointCloud2, SIMILARITY_TOPIC, lambda msg: setattr(self, "_similarity", msg), 1)

    def _take_image(self, msg: Image) -> None:
        self._images[nanoseconds(msg.header.stamp)] = msg
        while len(self._images) > 100:
            del self._images[next(iter(self._images))]

    def wait(self, condition: Callable[[], bool], what: str, timeout: float = 120.0) -> None:
        """Waits, while all children live; raises TIMEOUT."""
        end = time.monotonic() + timeout
        while not condition():
            self._alive()
            if time.monotonic() > end:
                raise DropclipError(Status.TIMEOUT, f"{what} within {timeout:.0f} s")
            time.sleep(0.02)

    def wait_until_ready(self) -> None:
        for client in (self._ground, self._match):
            self.wait(client.service_is_ready, f"{client.srv_name} did not start")
        self.wait(lambda: bool(self._images) and self._info is not None, "the camera did not start")

    def ask(self, query: str) -> tuple[Ground.Response, MatchGrasps.Response, float]:
        """Both answers, and how long Ground took, ms."""
        self._similarity = None
        start = time.perf_counter()
        found = self._call(self._ground, Ground.Request(query=query))
        latency = 1e3 * (time.perf_counter() - start)
        matched = MatchGrasps.Response(status=found.status)
        if found.status == Status.OK:
            matched = self._call(self._match, MatchGrasps.Request(cloud=found.objects[0].cloud, top_k=3))
        return found, matched, latency

    def _call(self, client, request):
        future = client.call_async(request)
        self.wait(future.done, f"{client.srv_name} did not answer")
        return future.result()

    def draw(
        self, query: str, found: Ground.Response, matched: MatchGrasps.Response, latency: float, path: Path
    ) -> None:
        """Writes path.png, and path.ply in the answer's frame."""
        stamp = nanoseconds(found.header.stamp)
        self.wait(
            lambda: self._similarity is not None and stamp in self._images,
            "the image and the similarity cloud did not arrive",
            10.0,
        )
        color, cloud = self._images[stamp], self._similarity
        rgb, intrinsics = color_image(color), intrinsics_of(self._info)
        camera_from_answer = self.frames.lookup(color.header.frame_id, found.header.frame_id, found.header.stamp, 2.0)
        shape = rgb.shape[:2]

        def scores_of(msg: PointCloud2) -> np.ndarray:
            uv, _ = project(transform_points(camera_from_answer, cloud_points(msg)), intrinsics)
            column, row = np.clip(np.round(uv).astype(np.int64), 0, (shape[1] - 1, shape[0] - 1)).T
            image = np.full(shape, np.nan, np.float32)
            image[row, column] = cloud_to_numpy(msg)["score"].ravel()
            return image

        picture = draw_result(
            rgb,
            intrinsics,
            scores_of(cloud),
            [Shown(np.isfinite(scores_of(each.cloud)), each.score, each.doubtful) for each in found.objects],
            self._in_camera(matched, color.header.frame_id),
            title=headline(query, found, latency),
            threshold=found.threshold,
            reading=found.interpretation.text if len(found.interpretation.parts) > 1 else "",
        )
        PillowImage.fromarray(picture).save(path.with_suffix(".png"))
        write_ply(
            path.with_suffix(".ply"), cloud_points(cloud), cloud_colors(cloud), cloud_to_numpy(cloud)["score"].ravel()
        )

    def _in_camera(self, matched: MatchGrasps.Response, camera_frame: str) -> Grasps:
        header = matched.grasps.header
        if not matched.grasps.grasps:
            return Grasps.empty()
        transform = self.frames.lookup(camera_frame, header.frame_id, header.stamp, 2.0)
        return grasps_from_message(matched.grasps).transformed(transform)


def headline(query: str, found: Ground.Response, latency: float) -> str:
    """One line: found or not, how surely, how fast."""
    if found.objects:
        said = "IN DOUBT" if found.objects[0].doubtful else "FOUND"
        return f'"{query}": {said}, score {found.objects[0].score:.2f}, {latency:.0f} ms'
    return f'"{query}": {Status(found.status).name.replace("_", " ")}, {latency:.0f} ms'


def describe(query: str, found: Ground.Response, matched: MatchGrasps.Response, latency: float) -> str:
    """A few lines for the terminal."""
    lines = [headline(query, found, latency), f"    {found.message}"]
    if unknown := missing(query):
        lines.append(f"    {unknown}")
    for thing in found.objects[:1]:
        c = thing.centre
        lines.append(
            f"    best: {thing.cloud.width} points, centre ({c.x:.3f}, {c.y:.3f}, {c.z:.3f}) m in "
            f"{found.header.frame_id}"
        )
    for i, grasp in enumerate(matched.grasps.grasps, 1):
        t = grasp.tip.position
        lines.append(
            f"    grasp {i}: tip ({t.x:.3f}, {t.y:.3f}, {t.z:.3f}) m, width {grasp.width:.3f} m, "
            f"score {grasp.score:.2f}, {1e3 * grasp.tip_distance:.0f} mm from the centre"
        )
    if found.status == Status.OK and not matched.grasps.grasps:
        lines.append(f"    no grasp: {matched.message}")
    return "\n".join(lines)


def _queries(text: str) -> list[str]:
    """Phrases separated by semicolons, or else the lines of demo/queries.txt."""
    lines = text.split(";") if text.strip() else (DEMO / "queries.txt").read_text().splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def main() -> int:
    parser = argparse.ArgumentParser(description="Ask phrases about a recorded tabletop over ROS 2.")
    parser.add_argument("--query", default="", help="phrases, separated by ';' (default: those of demo/queries.txt)")
    parser.add_argument("--bag", type=Path, default=DEMO / "tabletop", help="rosbag2 of a camera with TF to 'world'")
    parser.add_argument("--model", default="", help="model folder (default: the shipped one)")
    parser.add_argument("--out", type=Path, default=Path("out/demo"), help="folder for pictures and clouds")
    args = parser.parse_args()
    nodes = {
        "bag_player": [f"bag:={args.bag}"],
        "together": [f"world_frame:={WORLD}", "reliable:=true", f"model:='{args.model}'"],  # grounding and grasps
    }
    failed = 0
    try:
        queries = _queries(args.query)
        args.out.mkdir(parents=True, exist_ok=True)
        print("starting the nodes ...", flush=True)
        with running(nodes, lambda children: DemoClient(children.check)) as (_, client):
            client.wait_until_ready()
            print("loading the model ...", flush=True)
            client.ask(queries[0])  # so that the times below are those of a running system
            for number, query in enumerate(queries, 1):
                found, matched, latency = client.ask(query)
                print(describe(query, found, matched, latency), flush=True)
                if not Status(found.status).says_what_is_meant:
                    failed += 1
                    continue
                name = "".join(c if c.isalnum() else "_" for c in query)[:40]
                client.draw(query, found, matched, latency, args.out / f"{number}_{name}")
        print(f"pictures and clouds are in {args.out}/")
    except KeyboardInterrupt:
        print("stopped")
        return 0
    except (DropclipError, OSError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    return min(failed, 1)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # rclpy's threads may still wait on the wire
