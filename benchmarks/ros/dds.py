# SPDX-License-Identifier: Apache-2.0
"""Camera frames lost between two processes on this machine, with Fast DDS as it comes and with config/fastdds.xml.

    python -m benchmarks.ros.dds [--frames 150] [--rate 30]

A publisher sends colour and depth of 640x480 (0.9 and 0.6 MB) as the nodes do, a subscriber with the camera's QoS
counts what arrives. Each row is a pair of fresh processes, by turns.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import rclpy
import tyro
from rclpy.executors import MultiThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from dropclip_ros.ros.common import CAMERA_QOS, COLOR_TOPIC, DEPTH_TOPIC, SENSOR_QOS
from dropclip_ros.ros.messages import image_message, nanoseconds

PROFILE = Path(__file__).resolve().parents[2] / "config" / "fastdds.xml"
QOS = {"reliable": CAMERA_QOS, "best effort": SENSOR_QOS}
SETUPS = {"as it comes": {}, "config/fastdds.xml": {"FASTDDS_DEFAULT_PROFILES_FILE": str(PROFILE)}}
SHAPES = {COLOR_TOPIC: ((480, 640, 3), np.uint8, "rgb8"), DEPTH_TOPIC: ((480, 640), np.uint16, "16UC1")}


def publish(frames: int, rate: float, qos: str) -> None:
    """Frames at a rate, once both topics have their subscriber, and a last word."""
    rclpy.init()
    node = Node("publisher")
    ending = node.create_publisher(CameraInfo, "ending", 1)
    publishers = {topic: node.create_publisher(Image, topic, QOS[qos]) for topic in SHAPES}
    while min(p.get_subscription_count() for p in (ending, *publishers.values())) < 1:
        time.sleep(0.05)
    pixels = {topic: np.zeros(shape, dtype) for topic, (shape, dtype, _) in SHAPES.items()}
    start = time.monotonic()
    for i in range(frames):
        for topic, (_, _, encoding) in SHAPES.items():
            header = Header(stamp=node.get_clock().now().to_msg())
            publishers[topic].publish(image_message(header, pixels[topic], encoding))
        time.sleep(max(start + (i + 1) / rate - time.monotonic(), 0.0))
    time.sleep(1.0)  # for what is still on its way
    ending.publish(CameraInfo())
    time.sleep(1.0)


def receive(qos: str) -> None:
    """Prints how many images of each kind came, and p50 and p95 of their age, ms."""
    rclpy.init()
    node, ages, ended = Node("subscriber"), {topic: [] for topic in SHAPES}, []

    def take(topic: str, msg: Image) -> None:
        ages[topic].append((node.get_clock().now().nanoseconds - nanoseconds(msg.header.stamp)) / 1e6)

    kept = [node.create_subscription(Image, topic, lambda m, t=topic: take(t, m), QOS[qos]) for topic in SHAPES]
    kept.append(node.create_subscription(CameraInfo, "ending", ended.append, 1))
    executor = MultiThreadedExecutor(num_threads=3)
    executor.add_node(node)
    while not ended:
        executor.spin_once(timeout_sec=0.5)
    everything = [age for of_topic in ages.values() for age in of_topic]
    p50, p95 = np.percentile(everything, (50, 95)) if everything else (np.nan, np.nan)
    print(*(len(ages[topic]) for topic in SHAPES), f"{p50:.1f}", f"{p95:.1f}", flush=True)
    os._exit(0)


def main(frames: int = 150, rate: float = 30.0, rounds: int = 3, role: str = "", qos: str = "reliable") -> None:
    """Prints a Markdown table; `role` and `qos` are for the processes that this one starts."""
    if role:
        publish(frames, rate, qos) if role == "publish" else receive(qos)
        os._exit(0)  # nothing of rclpy is worth waiting for
    os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 100)
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    print("| delivery | Fast DDS | lost: colour | depth | age p50, ms | p95 |\n| --- | --- | --- | --- | --- | --- |")
    for _ in range(rounds):
        for kind in QOS:
            for name, setup in SETUPS.items():
                command = [
                    sys.executable,
                    __file__,
                    "--frames",
                    str(frames),
                    "--rate",
                    str(rate),
                    "--qos",
                    kind,
                    "--role",
                ]
                environment = os.environ | setup
                sender = subprocess.Popen([*command, "publish"], env=environment)
                out = subprocess.run(
                    [*command, "receive"], env=environment, check=True, stdout=subprocess.PIPE, text=True
                )
                sender.wait()
                color, depth, p50, p95 = out.stdout.split()
                lost = (f"{frames - int(count)} of {frames}" for count in (color, depth))
                print(f"| {kind} | {name} | {' | '.join(lost)} | {p50} | {p95} |", flush=True)


if __name__ == "__main__":
    tyro.cli(main)
