# SPDX-License-Identifier: Apache-2.0
"""A node's scene map: takes new frames whenever the model is free, tells what it refuses, answers with what it holds.

A thread of its own looks for frames; all that touches the map is done in the node's one model thread, between requests.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from builtin_interfaces.msg import Time
from rclpy.node import Node
from sensor_msgs.msg import Image, PointCloud2
from std_msgs.msg import Header

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.ros.camera.listener import CameraListener, CapturedFrame
from dropclip_ros.ros.clock import on_jump_back
from dropclip_ros.ros.common import SENSOR_QOS, Setting, Settings, listed
from dropclip_ros.ros.messages import cloud_message, image_to_numpy, nanoseconds
from dropclip_ros.ros.tf import Frames

if TYPE_CHECKING:
    from dropclip_ros.grounding.pipeline import EncodedScene, Grounder
    from dropclip_ros.mapping.map_scene import MapScene
    from dropclip_ros.mapping.scene_map import SceneMap
    from dropclip_ros.vision.geometry import RgbdFrame

SETTINGS = (
    Setting(
        "map_rate",
        0.0,
        "How often a new frame is fused into the scene map, Hz, at most; it needs world_frame. 0: no map, and what was "
        "known is forgotten",
        0.0,
        30.0,
    ),
    Setting(
        "map_body_mask",
        False,
        "Expect the robot's own body on the topic body_mask (mono8, of the depth image's size, not 0: body) and leave "
        "it out of the map",
        read_only=True,
    ),
    Setting(
        "map_body",
        [""],
        "The robot's links as spheres that are left out of the map: 'frame x y z radius' each, m",
    ),
)
_STILL = 2.0  # s between two warnings of the same kind


@dataclass(frozen=True)
class MapAnswer:
    """The map as it is asked: its scene, and the stamp of the newest frame in it."""

    scene: MapScene
    stamp: Time


class MapKeeper:
    """Keeps the map of a node.

    load: gives the grounder; decode: a captured frame with its pose, world_from_camera; encode: encodes that. They are
    called in the model's thread.
    """

    def __init__(
        self,
        node: Node,
        settings: Settings,
        frames: Frames,
        camera: CameraListener,
        model: ThreadPoolExecutor,
        load: Callable[[], Grounder],
        decode: Callable[[CapturedFrame, np.ndarray], RgbdFrame],
        encode: Callable[[Grounder, RgbdFrame], EncodedScene],
    ) -> None:
        self._node, self._settings, self._frames, self._camera, self._model = node, settings, frames, camera, model
        self._load, self._decode, self._encode = load, decode, encode
        self._map: SceneMap | None = None
        self._asked: MapAnswer | None = None
        self._stamp = Time()
        self._why, self._warned = "no frame has arrived", -_STILL
        self._last: CapturedFrame | None = None
        self._body: np.ndarray | None = None
        self.changed = threading.Condition()  # notified after each frame
        self._publisher = node.create_publisher(PointCloud2, "~/map", 1)
        if settings["map_body_mask"]:
            self._mask = node.create_subscription(Image, "body_mask", self._take_mask, SENSOR_QOS)
        self._cleared = False
        self._jumps = on_jump_back(node, self.clear)
        self._stop = threading.Event()
        node.context.on_shutdown(self._stop.set)
        self._thread = threading.Thread(target=self._run, name="map", daemon=True)
        self._thread.start()

    def clear(self) -> None:
        """Forgets the scene, before the next frame; ids are not given again."""
        self._cleared = True

    def _take_mask(self, msg: Image) -> None:
        try:
            self._body = image_to_numpy(msg) > 0
        except DropclipError as error:
            self._warn(f"body_mask cannot be used: {error.message}")

    def _run(self) -> None:
        while not self._stop.is_set():
            rate = self._settings["map_rate"]
            start = time.monotonic()
            if rate > 0:
                try:
                    self._fuse_newest()
                except RuntimeError:  # the model's thread has ended
                    return
            else:
                self.clear()
            self._stop.wait(max(1 / rate - (time.monotonic() - start), 0.005) if rate > 0 else 0.5)

    def _fuse_newest(self) -> None:
        captured, world = self._camera.glance(), self._settings["world_frame"]
        if not world:
            self._warn("map_rate is set and world_frame is not: a map is of a world; name its frame (z up)")
            return
        if captured is None or captured is self._last:
            return
        self._last, header = captured, captured.header
        try:
            pose = self._frames.lookup(world, header.frame_id, header.stamp, self._settings["tf_timeout"])
            self._model.submit(self._fuse, captured, pose).result()
        except DropclipError as error:
            self._warn(f"a frame is not in the map: {error.message}")
        except Exception as error:
            if self._stop.is_set() or isinstance(error, RuntimeError):
                raise RuntimeError("the node ends") from error
            self._node.get_logger().error(f"the scene map failed on a frame: {error!r}")
        with self.changed:
            self.changed.notify_all()

    def _warn(self, why: str) -> None:
        self._why = why
        if time.monotonic() - self._warned > _STILL:
            self._warned = time.monotonic()
            self._node.get_logger().warning(why)

    def _fuse(self, captured: CapturedFrame, pose: np.ndarray) -> None:
        """In the model's thread: encodes the frame and fuses it."""
        from dropclip_ros.mapping.frames import MapFrame, without_body
        from dropclip_ros.mapping.scene_map import SceneMap
        from dropclip_ros.ros.table_settings import workspace_of

        grounder, scene_map = self._load(), self._map or SceneMap()
        self._map = scene_map
        if self._cleared:
            self._cleared = False
            scene_map.clear()
            self._asked = None
        frame = self._decode(captured, pose)
        if (body := self._body_in(captured, frame)) is not None:
            frame = without_body(frame, body)
        stamp = nanoseconds(captured.header.stamp) / 1e9
        try:
            seen = MapFrame.of_encoded(self._encode(grounder, frame), stamp)
        except DropclipError as error:
            if error.status != Status.EMPTY_SCENE:
                raise
            seen = MapFrame.of_nothing(frame, stamp, workspace_of(self._settings))
        scene_map.add(seen)
        if stamp >= scene_map.watch.newest:
            self._stamp = captured.header.stamp
        self._asked = None
        if grounder.beside is not None:
            for picture in scene_map.keyframes.values():
                if picture.seen is None:
                    picture.seen = grounder.beside.names.look(picture.rgb, picture.shown.astype(np.int64))
        if self._publisher.get_subscription_count():
            header = Header(stamp=captured.header.stamp, frame_id=self._settings["world_frame"])
            grid = scene_map.grid
            colors = np.round(255 * grid.color).clip(0, 255).astype(np.uint8)
            self._publisher.publish(cloud_message(header, grid.mean, colors, scene_map.owners().astype(np.float32)))

    def _body_in(self, captured: CapturedFrame, frame: RgbdFrame) -> np.ndarray | None:
        """Pixels (H,W) of the robot's body, by the mask and by spheres; None where neither is set."""
        from dropclip_ros.mapping.frames import body_of_spheres

        body = self._body
        if spheres := [spheres_of(text) for text in filter(None, listed(self._settings, "map_body"))]:
            header, timeout = captured.header, self._settings["tf_timeout"]
            links = {link: self._frames.lookup(header.frame_id, link, header.stamp, timeout) for link, *_ in spheres}
            centres = np.stack([(links[link] @ np.append(centre, 1.0))[:3] for link, centre, _ in spheres])
            own = body_of_spheres(frame, centres, np.array([radius for *_, radius in spheres]))
            body = own if body is None else body | own
        return body

    def asked(self, grounder: Grounder) -> MapAnswer:
        """In the model's thread: the map for a phrase. EMPTY_SCENE where it holds nothing, BAD_REQUEST where none is
        kept."""
        from dropclip_ros.mapping.map_scene import map_scene

        if not self._settings["map_rate"] > 0:
            raise DropclipError(
                Status.BAD_REQUEST,
                "this node keeps no map of the scene: set map_rate (Hz) and world_frame, or ask a frame (source 0)",
            )
        if self._map is None or self._cleared:
            raise DropclipError(Status.NO_FRAME, f"no frame is in the map yet: {self._why}")
        if self._asked is None:
            phrases = tuple(filter(None, listed(self._settings, "scene_negatives")))
            self._asked = MapAnswer(map_scene(self._map, grounder, phrases), self._stamp)
        return self._asked


def spheres_of(text: str) -> tuple[str, np.ndarray, float]:
    """Frame, centre (3,) m and radius, m, of 'frame x y z radius'. ValueError where it is something else."""
    words = text.split()
    try:
        link, (x, y, z, radius) = words[0], (float(word) for word in words[1:])
    except (IndexError, ValueError) as error:
        raise ValueError(f"map_body {text!r}: expected 'frame x y z radius', m") from error
    if not (np.isfinite([x, y, z, radius]).all() and radius > 0):
        raise ValueError(f"map_body {text!r}: expected finite numbers, the radius over 0 m")
    return link, np.array([x, y, z]), radius
