# SPDX-License-Identifier: Apache-2.0
"""The service `ground`: which points of the camera's newest (or a given) frame answer a phrase?

Threads: images, TF and the service have callback groups of their own; requests wait for their turn in threads of the
executor, and one more thread owns the model. A frame is decoded and encoded when somebody asks about it, once; requests
that came before it was there, while another was encoded, share it.
"""

from __future__ import annotations

import gc
import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from sensor_msgs.msg import Image, PointCloud2, RegionOfInterest
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.base.memory import give_back
from dropclip_ros.msg import FoundObject, Interpretation, InterpretationPart, StageTime
from dropclip_ros.ros import map_keeper, table_settings
from dropclip_ros.ros.camera import listener as camera
from dropclip_ros.ros.camera.listener import CameraListener, CapturedFrame
from dropclip_ros.ros.clock import on_jump_back
from dropclip_ros.ros.common import (
    GROUND_SERVICE,
    LATCHED_QOS,
    SERVICE_QOS,
    TABLE_FRAME,
    Setting,
    Settings,
    Values,
    WaitingCallbackGroup,
    answer_errors,
    listed,
    run,
)
from dropclip_ros.ros.health.diagnostics import LOG, Health, Part
from dropclip_ros.ros.managed import AUTOSTART, ManagedNode
from dropclip_ros.ros.map_keeper import MapKeeper
from dropclip_ros.ros.markers import object_markers, region_markers
from dropclip_ros.ros.messages import (
    cloud_message,
    image_message,
    intrinsics_of,
    nanoseconds,
    point_message,
    pose_message,
    rgbd_frame,
    vector_message,
)
from dropclip_ros.ros.outputs import standing
from dropclip_ros.ros.outputs.detections import Detections
from dropclip_ros.ros.outputs.standing import StandingQuestion
from dropclip_ros.ros.outputs.surroundings import Surroundings
from dropclip_ros.ros.settings import trust as trust_settings
from dropclip_ros.ros.settings.trust import trust_config
from dropclip_ros.ros.table_settings import workspace_of
from dropclip_ros.ros.tf import Frames
from dropclip_ros.srv import Ground
from dropclip_ros.vision.extrinsics import check_camera
from dropclip_ros.vision.geometry import invert_pose, transform_points

if TYPE_CHECKING:
    from dropclip_ros.grounding import interpretation, pipeline
    from dropclip_ros.grounding.pipeline import EncodedScene, Grounder, GroundResult
    from dropclip_ros.tabletop.table import Table
    from dropclip_ros.tabletop.workspace import Workspace
    from dropclip_ros.vision.geometry import RgbdFrame

MODES = {
    Ground.Request.NEGATIVES_NONE: "none",
    Ground.Request.NEGATIVES_CANONICAL: "canonical",
    Ground.Request.NEGATIVES_CUSTOM: "custom",
    Ground.Request.NEGATIVES_SCENE: "scene",
}
BODY_FROM_OPTICAL = np.array(
    [[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]], float
)  # axes of a body, in optical ones
SETTINGS = (
    Setting("model", "", "Folder of the model; '' for the one shipped", read_only=True),
    Setting("device", "auto", "Where the model runs: auto, cpu, cuda or cuda:N", read_only=True),
    Setting("use_image", True, "Look at the picture of each object too, not at its voxels alone", read_only=True),
    Setting("use_labels", True, "Read what is printed on objects too, where a reader is installed", read_only=True),
    Setting(
        "static_scene",
        "",
        "Ask about this .safetensors of dropclip-ovs3d export, not about the camera's frames; "
        "world_frame is then the name of its world",
        read_only=True,
    ),
    Setting("world_frame", "", "Frame of the answers, z up; '' for the table's own, which needs no TF"),
    Setting(
        "table_frame",
        "",
        "Name of the table's own frame; '' for dropclip_table, after this node's namespace and name where they are not "
        "the usual ones: a frame has one parent",
        read_only=True,
    ),
    Setting("threshold", 0.0, "Least score of a point that answers, in (0, 1); 0 for the model's own", 0.0, 0.999),
    Setting(
        "scoring",
        "instances",
        "How points are scored: instances, ours; paper, argmax or release: section 3.4's, for every point",
        choices=("instances", "paper", "argmax", "release"),
    ),
    Setting(
        "negatives_mode",
        "canonical",
        "What a query is told apart from, where the request does not say",
        choices=("none", "canonical", "scene"),
    ),
    Setting("viewer_frame", "", "Whose left and right, front and back are meant (x ahead, z up); '' for the camera"),
    Setting(
        "reader_url",
        "",
        "An OpenAI-compatible endpoint (http://host/v1) whose model reads phrases of several parts; '' for the grammar",
        read_only=True,
    ),
    Setting(
        "reader_model", "", "The model's name there; the key is the environment's DROPCLIP_READER_KEY", read_only=True
    ),
    Setting("scene_negatives", [""], "Names of what else is on the table, for the negatives of mode scene"),
    Setting("tf_timeout", 0.5, "How long a transform is waited for, s", 0.0, 10.0),
    Setting(
        "reuse_time",
        0.0,
        "How long a frame, once encoded, answers calls for the newest one too, s; 0: each new "
        "frame that is asked about is encoded",
        0.0,
        1e3,
    ),
    Setting(
        "remember_table",
        True,
        "Look for the last frame's table first: a camera that stays need not search; false forgets it",
    ),
    AUTOSTART,
    *standing.SETTINGS,
    LOG,
    *camera.SETTINGS,
    *map_keeper.SETTINGS,
    *trust_settings.SETTINGS,
    *table_settings.SETTINGS,
)


def _check_settings(values: Values) -> None:
    """ValueError or DropclipError where parameter values by name make no sense together or in themselves."""
    from dropclip_ros.networks.text import clean_phrase

    workspace_of(values)
    trust_config(values)
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", str(values["device"])):
        raise ValueError(f"device is {values['device']!r}: expected auto, cpu, cuda or cuda:N")
    if bool(values["reader_url"]) != bool(values["reader_model"]):
        raise ValueError("reader_url and reader_model belong together: expected both or none")
    for phrase in filter(None, listed(values, "scene_negatives")):
        clean_phrase(phrase, "name in scene_negatives")
    for sphere in filter(None, listed(values, "map_body")):
        map_keeper.spheres_of(sphere)


@dataclass(frozen=True)
class _Encoded:
    """The scene encoded last, with all that its encoding depended on; ready since then (`time.monotonic`)."""

    captured: CapturedFrame
    config: tuple
    scene: EncodedScene
    ready: float


class GroundingNode(ManagedNode):
    def __init__(self, name: str = "grounding_node", **options):
        super().__init__(name, **options)
        self._settings = Settings(self, SETTINGS, check=_check_settings)
        self._table_frame = self._settings["table_frame"] or own_table_frame(self.get_namespace(), self.get_name())
        self._answered: EncodedScene | None = None  # what the last answer's ids are of
        self._frames = Frames(self)
        self._camera = CameraListener(self, self._settings, frames=self._frames)
        self._cloud_publisher = self.create_publisher(PointCloud2, "~/similarity", LATCHED_QOS)
        self._mask_publisher = self.create_publisher(Image, "~/mask", LATCHED_QOS)
        self._marker_publisher = self.create_publisher(MarkerArray, "~/markers", LATCHED_QOS)
        self._detections = Detections(self)
        self._surroundings = Surroundings(self, self._detections.numbers)
        self._region_publisher = self.create_publisher(MarkerArray, "~/region", LATCHED_QOS)
        self._encoded: _Encoded | None = None
        self._jumps = on_jump_back(self, self._begin_anew)
        self._grounder: Grounder | None = None
        self._static: EncodedScene | None = None
        self._model = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model")
        self._turns = ThreadPoolExecutor(max_workers=1, thread_name_prefix="turns")
        self._health = Health(self, self._settings, {"camera": self._camera.health, "model": self._model_health})
        self._keeper = MapKeeper(
            self,
            self._settings,
            self._frames,
            self._camera,
            self._model,
            lambda: self._grounder or self._load(),
            self._decode,
            self._encode_frame,
        )
        self.create_service(
            Ground, GROUND_SERVICE, self._serve, qos_profile=SERVICE_QOS, callback_group=WaitingCallbackGroup()
        )
        self._standing = StandingQuestion(self, self._settings, self._ground, self._heard)
        self.begin(self._settings)

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._model.submit(self._load)
        return super().on_configure(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._model.submit(self._unload)
        return super().on_cleanup(state)

    def _unload(self) -> None:
        """In the model's thread."""
        self._grounder = self._static = self._encoded = None
        gc.collect()
        give_back()

    def _begin_anew(self) -> None:
        """The clock has jumped back."""
        self._encoded = None
        self._detections.clear()

    def _serve(self, request: Ground.Request, response: Ground.Response) -> Ground.Response:
        """`_ground`, and what is to be told of it."""
        start = time.perf_counter()
        answer = self._ground(request, response)
        best = {"score": round(answer.objects[0].score, 3)} if answer.objects else {}
        milliseconds = 1e3 * (time.perf_counter() - start)
        self._health.asked(f"ground {request.query[:80]!r}", answer.status, answer.message, milliseconds, **best)
        self._camera.answered()
        return answer

    def _heard(self) -> bool:
        """Whether anybody looks at what is found."""
        shown = (self._cloud_publisher, self._mask_publisher, self._marker_publisher)
        return self._detections.heard or any(publisher.get_subscription_count() for publisher in shown)

    def _model_health(self) -> Part:
        name = self._settings["model"] or "the one shipped"
        if self._grounder is None:
            return DiagnosticStatus.WARN, "not loaded", {"model": name}
        return DiagnosticStatus.OK, "", {"model": name, "device": self._grounder.device}

    def destroy_node(self) -> None:
        self._standing.end()
        for pool in (self._turns, self._model):
            pool.shutdown(wait=False, cancel_futures=True)
        super().destroy_node()

    def _load(self) -> Grounder:
        """In the model's thread, so that the node is there at once. Where it fails, each request tries again."""
        from dropclip_ros.grounding.pipeline import Grounder
        from dropclip_ros.grounding.static_scene import open_static_scene
        from dropclip_ros.language.chat import ChatReader

        try:
            start = time.perf_counter()
            model, device = (self._settings[name] for name in ("model", "device"))
            image, labels = (None if self._settings[name] else False for name in ("use_image", "use_labels"))
            grounder = Grounder.from_pretrained(model or None, device, image=image, labels=labels)
            if url := self._settings["reader_url"]:
                grounder.reader = ChatReader(
                    url, self._settings["reader_model"], multilingual=grounder.config.multilingual
                )
            if path := self._settings["static_scene"]:
                grounder.workspace = workspace_of(self._settings)
                grounder, self._static = open_static_scene(path, grounder)
            else:
                grounder.warm_up()
            self._grounder = grounder
            give_back()  # what loading took beside the model
            self.get_logger().info(f"model on {grounder.device} after {time.perf_counter() - start:.1f} s")
            return grounder
        except DropclipError as error:
            self.get_logger().error(str(error))
            raise

    @answer_errors
    def _ground(self, request: Ground.Request, response: Ground.Response) -> None:
        from dropclip_ros.networks.text import clean_phrase

        start = time.perf_counter()
        clean_phrase(request.query, "query")  # a request that makes no sense should cost nothing
        mode = self._mode(request)
        of_map = request.source == Ground.Request.SOURCE_MAP
        if request.source not in (Ground.Request.SOURCE_FRAME, Ground.Request.SOURCE_MAP):
            raise DropclipError(
                Status.BAD_REQUEST, f"source is {request.source}; expected SOURCE_FRAME (0) or SOURCE_MAP (1)"
            )
        if self._settings["static_scene"] and of_map:
            raise DropclipError(
                Status.BAD_REQUEST, "source is SOURCE_MAP, and this node has a static scene: ask that (0)"
            )
        if self._settings["static_scene"] or of_map:
            self._turns.submit(self._answer_lasting, request, response, mode, of_map).result()
            return
        self._turns.submit(self._answer, request, response, mode, self._camera.glance(), start).result()

    def _answer(
        self, request: Ground.Request, response: Ground.Response, mode: str, glanced: CapturedFrame | None, start: float
    ) -> None:
        """Fills the response. glanced: the newest frame when the request came, at `start`."""
        captured = self._captured(request, glanced)
        header = captured.header
        world = self._settings["world_frame"]
        target = request.target_frame or world or self._table_frame
        waited = time.perf_counter()
        # both lookups come before the encoding: an unknown frame should fail at once
        pose = self._lookup(world, header) if world else None
        target_from_camera = None if target == self._table_frame else self._lookup(target, header)
        viewer = self._viewer(request, header)
        times = {"frame": waited - start, "tf": time.perf_counter() - waited}

        self._show_region(captured, pose)
        scene, result, model_times = self._model.submit(self._infer, request, mode, captured, pose, viewer).result()
        camera_from_table, doubt = scene.table.frame, ""
        if pose is not None and scene.table.seen:
            plane, at = scene.table.plane @ np.linalg.inv(pose), (pose @ camera_from_table)[:3, 3]
            doubt = check_camera(plane, at, trust_config(self._settings))
        self._frames.publish(header.stamp, header.frame_id, self._table_frame, camera_from_table)
        if target_from_camera is None:
            target_from_camera = invert_pose(camera_from_table)
        self._fill(
            response,
            scene,
            result,
            Header(stamp=header.stamp, frame_id=target),
            header,
            target_from_camera,
            times,
            model_times,
            request.masks,
        )
        response.message = "; ".join(filter(None, [response.message, doubt]))

    def _answer_lasting(self, request: Ground.Request, response: Ground.Response, mode: str, of_map: bool) -> None:
        """Fills the response from the scene map, as of its newest frame, or from the static scene, as of now."""
        world, now = self._settings["world_frame"], self.get_clock().now().to_msg()
        stamp = self._model.submit(self._lasting, of_map).result()[1] if of_map else now
        target = request.target_frame or world or self._table_frame
        if not world and target != self._table_frame:
            raise DropclipError(
                Status.TF_ERROR,
                f"target_frame is {target!r}, and where the static scene lies is not "
                "known; name its world in the parameter world_frame",
            )
        start = time.perf_counter()
        target_from_world = None
        if target not in (world, self._table_frame):
            target_from_world = self._lookup(target, Header(stamp=stamp, frame_id=world))
        viewer = self._viewer(request, Header(stamp=stamp, frame_id=world)) if world else None
        times = {"tf": time.perf_counter() - start}
        scene, result, model_times = self._model.submit(self._infer_lasting, request, mode, viewer, of_map).result()
        world_from_camera, table_from_camera = scene.frame.camera_pose, invert_pose(scene.table.frame)
        if world:
            self._frames.publish(stamp, world, self._table_frame, world_from_camera @ scene.table.frame)
        if target_from_world is not None:
            target_from_camera = target_from_world @ world_from_camera
        else:
            target_from_camera = table_from_camera if target == self._table_frame else world_from_camera
        header = Header(stamp=stamp, frame_id=target)
        self._fill(response, scene, result, header, None, target_from_camera, times, model_times)
        if of_map:
            since = max(nanoseconds(now) - nanoseconds(stamp), 0)
            for message, found in zip(response.objects, result.objects, strict=True):
                message.age = Duration(nanoseconds=since + round(1e9 * found.age)).to_msg()

    def _fill(
        self,
        response: Ground.Response,
        scene: EncodedScene,
        result: GroundResult,
        header: Header,
        camera_header: Header | None,
        target_from_camera: np.ndarray,
        times: dict[str, float],
        model_times: dict[str, float],
        masks: bool = False,
    ) -> None:
        """What was found, in the header's frame; times in s, model_times in ms; masks: of the objects too.

        camera_header: of the image in which it was found, None where it is of none.
        """
        packing = time.perf_counter()
        response.header = header
        response.objects = [
            found_object(response.header, scene, result, found, target_from_camera) for found in result.objects
        ]
        if camera_header is not None:
            for message, found in zip(response.objects, result.objects, strict=True):
                message.roi, message.mask = place_in_image(scene, found, camera_header, masks)
        self._show(response, scene, result, camera_header or header, target_from_camera)
        places = [scene.pixels[found.points] for found in result.objects] if camera_header else []
        self._detections.publish(
            response.header, result.query, response.objects, camera_header, places, scene.frame.depth.shape
        )
        self._surroundings.publish(response.header, scene, target_from_camera)
        times["messages"] = time.perf_counter() - packing
        times = {stage: 1e3 * seconds for stage, seconds in times.items()} | model_times
        response.timing = [StageTime(stage=stage, milliseconds=ms) for stage, ms in times.items()]
        response.status, response.message, response.threshold = int(result.status), result.message, result.threshold
        response.interpretation = interpretation_message(result.interpretation)

    def _captured(self, request: Ground.Request, glanced: CapturedFrame | None) -> CapturedFrame:
        """The frame asked about; the one encoded last stays at hand, however long ago it was.

        Where the newest is asked for, that is any as new as the newest when the request came.
        """
        encoded = self._encoded
        last = encoded.captured if encoded else None
        if not nanoseconds(request.stamp):
            if last and glanced and last.arrived >= glanced.arrived:
                return last
            reused = encoded and time.monotonic() - encoded.ready < self._settings["reuse_time"]
            return encoded.captured if encoded and reused else self._camera.newest()
        if last and last.header.stamp == request.stamp:
            return last
        return self._camera.at(request.stamp)

    def _viewer(self, request: Ground.Request, header: Header) -> np.ndarray | None:
        """header_from_viewer (4,4) of the frame whose left and right are meant; None for the camera's."""
        frame = request.viewer_frame or self._settings["viewer_frame"]
        if not frame or frame == header.frame_id:
            return None
        viewer = invert_pose(self._lookup(frame, header))
        return viewer @ BODY_FROM_OPTICAL if frame.endswith("optical_frame") else viewer

    def _lookup(self, target: str, header: Header) -> np.ndarray:
        return self._frames.lookup(target, header.frame_id, header.stamp, self._settings["tf_timeout"])

    def _infer(
        self,
        request: Ground.Request,
        mode: str,
        captured: CapturedFrame,
        pose: np.ndarray | None,
        viewer: np.ndarray | None,
    ) -> tuple[EncodedScene, GroundResult, dict[str, float]]:
        """In the model's thread: encodes the frame where it is not yet, and grounds the query in it."""
        grounder = self._grounder or self._load()
        scene, milliseconds = self._encode(grounder, captured, pose)
        result = self._query(grounder, scene, request, mode, viewer)
        queried = {k: v for k, v in result.timing_ms.items() if k not in scene.timing_ms}
        return scene, result, milliseconds | queried

    def _lasting(self, of_map: bool) -> tuple[EncodedScene, Time]:
        """In the model's thread: the map's scene and the stamp of its newest frame, or the static scene."""
        grounder = self._grounder or self._load()
        if of_map:
            asked = self._keeper.asked(grounder)
            return asked.scene, asked.stamp
        assert self._static is not None  # it was loaded with the model
        return self._static, Time()

    def _infer_lasting(
        self, request: Ground.Request, mode: str, viewer: np.ndarray | None, of_map: bool
    ) -> tuple[EncodedScene, GroundResult, dict[str, float]]:
        """In the model's thread: grounds the query in the map or the static scene."""
        grounder, scene = self._grounder or self._load(), self._lasting(of_map)[0]
        assert scene.frame.camera_pose is not None  # of the camera that looks down on it
        if viewer is not None:  # of the world; that camera has a pose in it
            viewer = invert_pose(scene.frame.camera_pose) @ viewer
        result = self._query(grounder, scene, request, mode, viewer)
        return scene, result, result.timing_ms

    def _query(
        self, grounder: Grounder, scene: EncodedScene, request: Ground.Request, mode: str, viewer: np.ndarray | None
    ) -> GroundResult:
        from dropclip_ros.grounding.memory import carried

        grounder.scene_phrases = tuple(filter(None, self._settings["scene_negatives"]))
        previous, before = tuple(request.previous), self._answered
        if previous and before is not None and before is not scene:
            previous = tuple(carried(previous, before, scene))
        self._answered = scene
        return grounder.ground(
            scene,
            request.query,
            tuple(request.negatives),
            mode,
            request.threshold or self._settings["threshold"],
            self._settings["scoring"],
            literal=request.literal,
            previous=previous,
            viewer=viewer,
        )

    def _encode(
        self, grounder: Grounder, captured: CapturedFrame, pose: np.ndarray | None
    ) -> tuple[EncodedScene, dict[str, float]]:
        """The scene and what it took, by stage in ms: nothing where this very frame was encoded before."""
        unit, workspace, known = self._settings["depth_unit"], workspace_of(self._settings), self._encoded
        config = (unit, workspace, None if pose is None else pose.tobytes())
        if known and known.captured is captured and known.config == config:
            return known.scene, {}
        start = time.perf_counter()
        frame = self._decode(captured, pose)
        decoded = 1e3 * (time.perf_counter() - start)
        grounder.workspace = workspace
        scene = grounder.encode(frame, last=self._last_table(frame, workspace))
        self._encoded = _Encoded(captured, config, scene, time.monotonic())
        return scene, {"decode": decoded} | scene.timing_ms

    def _decode(self, captured: CapturedFrame, pose: np.ndarray | None) -> RgbdFrame:
        return rgbd_frame(captured.color, captured.depth, captured.info, self._settings["depth_unit"], pose)

    def _encode_frame(self, grounder: Grounder, frame: RgbdFrame) -> EncodedScene:
        """For the map: a frame that nobody asked about."""
        grounder.workspace = workspace_of(self._settings)
        return grounder.encode(frame)

    def _last_table(self, frame: RgbdFrame, config: Workspace) -> Table | None:
        """The table of the frame encoded last, where the same camera saw it and the settings are the same."""
        known = self._encoded
        if not (self._settings["remember_table"] and known and known.config[1] == config):
            return None
        return known.scene.table if known.scene.frame.intrinsics == frame.intrinsics else None

    def _mode(self, request: Ground.Request) -> str:
        if request.negatives_mode == Ground.Request.NEGATIVES_DEFAULT:
            return "custom" if request.negatives else self._settings["negatives_mode"]
        if request.negatives_mode not in MODES:
            raise DropclipError(
                Status.BAD_REQUEST,
                f"negatives_mode is {request.negatives_mode}; expected one of the NEGATIVES_ constants of Ground",
            )
        return MODES[request.negatives_mode]

    def _show(
        self,
        response: Ground.Response,
        scene: EncodedScene,
        result: GroundResult,
        camera_header: Header,
        target_from_camera: np.ndarray,
    ) -> None:
        """For people: the boxes, latched for who looks later, and, where somebody looks, similarity and mask."""
        if self._cloud_publisher.get_subscription_count():
            points = transform_points(target_from_camera, scene.points)
            self._cloud_publisher.publish(cloud_message(response.header, points, scene.colors, result.scores))
        if self._mask_publisher.get_subscription_count():
            inside = np.zeros(len(scene.points), np.uint8)
            for found in result.objects:
                inside[found.points] = 255
            self._mask_publisher.publish(image_message(camera_header, scene.image(inside), "mono8"))
        self._marker_publisher.publish(object_markers(response.header, result.query, response.objects))

    def _show_region(self, captured: CapturedFrame, pose: np.ndarray | None) -> None:
        """Where things are looked for, as a lab told it: seen where nothing is found too, and by an RViz that starts
        later."""
        region = region_markers(captured.header, workspace_of(self._settings), intrinsics_of(captured.info), pose)
        self._region_publisher.publish(region)


def own_table_frame(namespace: str, name: str) -> str:
    """The table's frame of a grounding node: several cameras look at several tables, or at one from several places."""
    own = [part for part in namespace.split("/") if part] + ([name] if name != "grounding_node" else [])
    return "_".join([*own, TABLE_FRAME])


def found_object(
    header: Header,
    scene: EncodedScene,
    result: GroundResult,
    found: pipeline.FoundObject,
    target_from_camera: np.ndarray,
) -> FoundObject:
    """One object of the core's answer as a message, in the header's frame."""
    points = transform_points(target_from_camera, scene.points[found.points])
    return FoundObject(
        cloud=cloud_message(header, points, scene.colors[found.points], result.scores[found.points]),
        score=found.score,
        centre=point_message(transform_points(target_from_camera, found.centre)),
        box_pose=pose_message(target_from_camera @ found.box_pose),
        box_size=vector_message(found.size),
        id=found.id,
        label=found.label,
        confidence=found.confidence,
        doubtful=found.doubtful,
        words_read=list(found.words_read),
    )


def place_in_image(
    scene: EncodedScene, found: pipeline.FoundObject, header: Header, with_mask: bool
) -> tuple[RegionOfInterest, Image]:
    """Box of an object in the colour image, and, where it is asked for, its mask within that box (mono8)."""
    width = scene.frame.depth.shape[1]
    rows, columns = np.divmod(scene.pixels[found.points], width)
    top, left = int(rows.min()), int(columns.min())
    size = int(rows.max()) + 1 - top, int(columns.max()) + 1 - left
    roi = RegionOfInterest(x_offset=left, y_offset=top, height=size[0], width=size[1], do_rectify=False)
    if not with_mask:
        return roi, Image()
    mask = np.zeros(size, np.uint8)
    mask[rows - top, columns - left] = 255
    return roi, image_message(header, mask, "mono8")


def interpretation_message(read: interpretation.Interpretation) -> Interpretation:
    """How a phrase was read, as a message."""
    parts = [
        InterpretationPart(
            kind=part.kind, text=part.text, parent=part.parent, object_ids=list(part.ids), scores=list(part.scores)
        )
        for part in read.parts
    ]
    return Interpretation(text=read.text, parts=parts, not_understood=list(read.not_understood), question=read.question)


def main() -> None:
    run(GroundingNode, imports=("dropclip_ros.grounding.pipeline",))


if __name__ == "__main__":
    main()
