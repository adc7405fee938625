# SPDX-License-Identifier: Apache-2.0
"""Records the demo's tabletop as a rosbag2: RGB, depth, CameraInfo and TF of a fixed camera over a settled scene.

`python -m training.mvtod.record_bag --out demo/tabletop`

The objects are instances that training never saw. The depth is what a structured-light camera would give.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.rosbag2.enums import CompressionFormat, CompressionMode
from rosbags.typesys import Stores, get_typestore
from scipy.spatial.transform import Rotation

from dropclip_ros.bags import COLOR_TOPIC, DEPTH_TOPIC, INFO_TOPIC
from training.mvtod.catalogue import UNSEEN_INSTANCE, ObjectSpec
from training.mvtod.clutter import look_at, make_scene
from training.mvtod.errors import MvtodError
from training.mvtod.procedural.objects import build, catalogue
from training.mvtod.render_mujoco import render
from training.mvtod.scene import SceneConfig, rows
from training.mvtod.scenes import View
from training.mvtod.sensor import KINECT, sense

TOPICS = {"color": COLOR_TOPIC, "depth": DEPTH_TOPIC, "info": INFO_TOPIC, "tf": "/tf_static"}
CAMERA_FRAME = "camera_color_optical_frame"
OBJECTS = ("juice_carton_12", "banana_13", "hammer_12", "toy_car_12", "tumbler_14", "soda_can_14", "screwdriver_13")
RED_MUG = ObjectSpec("demo_mug", "mug", UNSEEN_INSTANCE, {"color": "red", "material": "ceramic", "pattern": "plain"}, 7)


def demo_view(seed: int) -> View:
    """The demo scene from 45 degrees above."""
    specs = {spec.name: spec for spec in catalogue()}
    models = [build(RED_MUG)] + [build(specs[name]) for name in OBJECTS]
    config = SceneConfig(area=(0.24, 0.16), clutter="scattered", scale=(1.0, 1.0), brightness=(1.0, 1.0), views=1)
    scene, dropped = make_scene(models, config, np.random.default_rng(seed))
    if sum(dropped.values()):
        raise MvtodError(f"seed {seed}: {dropped}: expected all objects to stay on the table; take another seed")
    pose = look_at((0, 0, 0.03), 0.85, -np.pi / 2, np.radians(48))
    scene = replace(scene, cameras=(replace(scene.cameras[0], world_from_camera=rows(pose)),))
    return next(render(scene, {model.name: model for model in models}))


def write_bag(out: Path, view: View, frames: int, rate: float, rng: np.random.Generator) -> None:
    """`frames` frames at `rate` Hz of one view under fresh sensor noise; zstd-compressed messages."""
    store = get_typestore(Stores.ROS2_HUMBLE)
    t = store.types
    shutil.rmtree(out, ignore_errors=True)
    writer = Writer(out, version=8, storage_plugin=StoragePlugin.SQLITE3)
    writer.set_compression(CompressionMode.MESSAGE, CompressionFormat.ZSTD)
    k, (height, width) = view.intrinsics, view.mask.shape
    pose = view.world_from_camera
    quaternion = Rotation.from_matrix(pose[:3, :3]).as_quat()
    with writer:
        kinds = {"color": "sensor_msgs/msg/Image", "depth": "sensor_msgs/msg/Image",
                 "info": "sensor_msgs/msg/CameraInfo", "tf": "tf2_msgs/msg/TFMessage"}  # fmt: skip
        links = {key: writer.add_connection(TOPICS[key], kind, typestore=store) for key, kind in kinds.items()}

        def write(key: str, message: object, nanoseconds: int) -> None:
            writer.write(links[key], nanoseconds, store.serialize_cdr(message, kinds[key]))

        for frame in range(frames):
            nanoseconds = 10**9 + int(frame * 1e9 / rate)
            stamp = t["builtin_interfaces/msg/Time"](nanoseconds // 10**9, nanoseconds % 10**9)
            header = t["std_msgs/msg/Header"](stamp, CAMERA_FRAME)
            if frame == 0:
                transform = t["geometry_msgs/msg/TransformStamped"](
                    t["std_msgs/msg/Header"](stamp, "world"), CAMERA_FRAME,
                    t["geometry_msgs/msg/Transform"](t["geometry_msgs/msg/Vector3"](*pose[:3, 3]),
                                                     t["geometry_msgs/msg/Quaternion"](*quaternion)))  # fmt: skip
                write("tf", t["tf2_msgs/msg/TFMessage"]([transform]), nanoseconds)
            roi = t["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
            projection = np.hstack([k, np.zeros((3, 1))]).ravel()
            matrices = (np.zeros(5), k.ravel(), np.eye(3).ravel(), projection)  # D, K, R, P
            info = t["sensor_msgs/msg/CameraInfo"](header, height, width, "plumb_bob", *matrices, 0, 0, roi)
            write("info", info, nanoseconds)
            image = t["sensor_msgs/msg/Image"]
            write("color", image(header, height, width, "rgb8", 0, 3 * width, view.rgb.reshape(-1)), nanoseconds)
            depth = np.rint(1000 * sense(view.depth, k, KINECT, rng)).astype(np.uint16).view(np.uint8).reshape(-1)
            write("depth", image(header, height, width, "16UC1", 0, 2 * width, depth), nanoseconds)


def main(out: Path = Path("demo/tabletop"), seed: int = 3, frames: int = 2, rate: float = 5.0) -> None:
    """Renders the scene and writes the bag; an older bag there is replaced."""
    write_bag(out, demo_view(seed), frames, rate, np.random.default_rng(seed))
    print(f"{out}: {sum(file.stat().st_size for file in out.iterdir()) / 1e6:.2f} MB")


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
