# SPDX-License-Identifier: Apache-2.0
"""Gazebo as a workcell for trials: serves `reset_cell` and publishes the truth, beside ros_gz_bridge.

    python -m training.trials.gazebo_cell --ros-args -p use_sim_time:=true

Needs ros_gz_interfaces, and a bridge that offers /world/WORLD/create and /world/WORLD/remove as services (ros_gz of
2025 or newer). Objects settle in MuJoCo, as in the embedded workcell, and are then put into Gazebo where they lie, so
that both simulators are asked about the same scenes. `pick` is served by moveit_pick_node.

Not run: there was no Gazebo where this was written. The models it makes are loaded by libsdformat.
"""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path

import numpy as np
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from ros_gz_interfaces.msg import Entity, EntityFactory
from ros_gz_interfaces.srv import DeleteEntity, SpawnEntity
from sensor_msgs.msg import Image
from tf2_msgs.msg import TFMessage

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.ros.common import CAMERA_QOS, SENSOR_QOS, SERVICE_QOS, Setting, Settings, answer_errors, run
from dropclip_ros.ros.messages import color_image, image_message, pose_message
from dropclip_ros.srv import ResetCell
from training.runs.errors import InputError
from training.trials.gazebo_models import model_sdf, write_model
from training.workcell.cell import Cell, CellConfig
from training.workcell.topics import LABELS_TOPIC, POSES_TOPIC, WORLD, serve_reset

SETTINGS = (
    Setting("world", "workcell", "Name of the world in Gazebo", read_only=True),
    Setting("catalogue", "procedural", "Of the objects: procedural, or a folder with catalogue.json", read_only=True),
    Setting("models", "", "Folder for the objects' models; '' for a temporary one", read_only=True),
    Setting("timeout", 10.0, "How long Gazebo may take to spawn or remove an object, s", 0.1, 300.0),
)


class GazeboCell(Node):
    def __init__(self, **options) -> None:
        super().__init__("gazebo_cell", **options)
        self._settings = Settings(self, SETTINGS)
        self._models = Path(self._settings["models"] or tempfile.mkdtemp(prefix="dropclip_models_"))
        self._cell = Cell(CellConfig(catalogue=self._settings["catalogue"]))
        self._names: tuple[str, ...] = ()
        group, world = ReentrantCallbackGroup(), self._settings["world"]
        how = {"qos_profile": SERVICE_QOS, "callback_group": group}
        self._create = self.create_client(SpawnEntity, f"/world/{world}/create", **how)
        self._remove = self.create_client(DeleteEntity, f"/world/{world}/remove", **how)
        self._poses = self.create_publisher(TFMessage, POSES_TOPIC, 10)
        self._labels = self.create_publisher(Image, LABELS_TOPIC, CAMERA_QOS)
        self.create_subscription(TFMessage, "/gazebo/poses", self._tell_poses, 10, callback_group=group)
        self.create_subscription(Image, "/gazebo/labels", self._tell_labels, SENSOR_QOS, callback_group=group)
        serve_reset(self, self._reset)

    def _tell_poses(self, msg: TFMessage) -> None:
        """Poses of the objects alone: their links and the robot's are in Gazebo's message as well, without stamps."""
        stamp, told = self.get_clock().now().to_msg(), [t for t in msg.transforms if t.child_frame_id in self._names]
        for transform in told:
            transform.header.stamp, transform.header.frame_id = stamp, WORLD
        self._poses.publish(TFMessage(transforms=told))

    def _tell_labels(self, msg: Image) -> None:
        """A semantic map has the label in each of its three channels; 0 is the background, which has none."""
        self._labels.publish(image_message(msg.header, np.ascontiguousarray(color_image(msg)[..., 0]), "mono8"))

    @answer_errors
    def _reset(self, request: ResetCell.Request, response: ResetCell.Response) -> None:
        for name in self._names:
            entity = Entity(name=name, type=Entity.MODEL)
            self._ask(self._remove, DeleteEntity.Request(entity=entity), f"remove {name}")
        self._names = ()
        try:
            names = self._cell.reset(
                request.seed,
                request.clutter or "mixed",
                request.split or "unseen_instance",
                request.min_objects,
                request.max_objects,
                list(request.objects),
            )
        except InputError as error:
            raise DropclipError(Status.BAD_REQUEST, str(error)) from error
        for label, (name, pose) in enumerate(self._cell.poses().items(), 1):
            model = self._cell.models[name]
            sdf = model_sdf(model, label, write_model(model, self._models))
            factory = EntityFactory(name=name, sdf=sdf, pose=pose_message(pose), relative_to=WORLD)
            self._ask(self._create, SpawnEntity.Request(entity_factory=factory), f"spawn {name}")
            self._names = (*self._names, name)
        response.names = list(names)
        response.status, response.message = int(Status.OK), f"{len(names)} objects"

    def _ask(self, client, request, what: str) -> None:
        """Raises TIMEOUT where Gazebo does not answer, or refuses."""
        timeout, done = self._settings["timeout"], threading.Event()
        if not client.wait_for_service(timeout_sec=timeout):
            raise DropclipError(
                Status.TIMEOUT,
                f"the service {client.srv_name} is not there: is Gazebo running, and does ros_gz_bridge offer it?",
            )
        future = client.call_async(request)
        future.add_done_callback(lambda _: done.set())
        if not done.wait(timeout) or not future.result().success:
            raise DropclipError(Status.TIMEOUT, f"Gazebo did not {what} within {timeout:g} s; see its log")


def main() -> None:
    run(GazeboCell, imports=("mujoco", "training.workcell.cell"))


if __name__ == "__main__":
    main()
