# SPDX-License-Identifier: Apache-2.0
"""The workcell: `Cell` puts objects on the table, looks at them, and moves the arm as it is told.

World frame: z up, origin on the table's surface in its middle, as in `training.scenes.description`. The arm stands at
one side
and the camera looks from an elevated place beside it, so that a second arm can face the first one (A.7). Metres,
radians, seconds. Not thread-safe: call it from one thread at a time, and render from one thread only (OpenGL).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import mujoco
import numpy as np
from scipy.spatial.transform import Rotation

from dropclip_ros.base.ranges import check_fields, ranged
from dropclip_ros.grasping.grippers import GRIPPERS, Gripper
from training.objects.catalogue import PROCEDURAL, Catalogue, open_catalogue
from training.objects.spec import SPLITS, ObjectModel, ObjectSpec
from training.runs.errors import InputError
from training.scenes.clutter import add_hulls, look_at, make_scene
from training.scenes.description import Camera, SceneConfig, SceneDescription, rows
from training.scenes.generate import draw_objects
from training.scenes.grasps.grasp_trials import FINGERS, hand_joints
from training.scenes.render_mujoco import FAR, add_object, furnish, labels_of_geoms
from training.scenes.scene import View
from training.scenes.sensor import KINECT, SensorConfig, sense
from training.workcell.robot import FINGER_SPEED, GRIP_REACH, HOME, JOINTS, add_robot

CONTROL = 0.01  # s between commands to the servos
ATTEMPTS = 5  # scenes settled until enough objects stand
OVERVIEW = (320, 240)  # px
SEEN, SHOWN = "camera0", "camera1"  # what the robot sees; the overview
STATE = mujoco.mjtState.mjSTATE_INTEGRATION
HIDDEN = 3  # MuJoCo shows geom groups 0 to 2


@dataclass(frozen=True)
class CellConfig:
    """base: x, y (m) and turn about z (rad) of the arm's base_link in the world.

    look: distance, m, azimuth and elevation, rad, of the camera from the middle of the table; sensor: noise of its
    depth, None: as rendered. scene: objects, their clutter and where they fall, and the camera's focal length and size.
    friction: of the finger pads, force: of each finger, N; both as grasps are labelled with (`grasp_trials`).
    """

    base: tuple[float, float, float] = (-0.52, 0.0, 0.0)
    look: tuple[float, float, float] = (0.85, np.pi / 2, 1.0)
    sensor: SensorConfig | None = KINECT
    catalogue: str = PROCEDURAL
    scene: SceneConfig = field(
        default_factory=lambda: SceneConfig(min_objects=5, area=(0.20, 0.17), focal=(540.0, 540.0), scale=(1.0, 1.0))
    )
    gripper: Gripper = GRIPPERS["parallel_140"]
    friction: float = ranged(0.8, above=0)
    force: float = ranged(30.0, above=0)
    table: tuple[float, float] = (0.75, 0.55)
    timestep: float = ranged(0.002, above=0)

    def __post_init__(self) -> None:
        check_fields(self)
        if not CONTROL / self.timestep == round(CONTROL / self.timestep):
            raise ValueError(f"timestep {self.timestep}: expected a whole fraction of {CONTROL} s")

    @property
    def world_from_base(self) -> np.ndarray:
        """4x4, of base_link."""
        x, y, turn = self.base
        pose = np.eye(4)
        pose[:3, :3], pose[:2, 3] = Rotation.from_euler("z", turn).as_matrix(), (x, y)
        return pose

    @property
    def cameras(self) -> tuple[Camera, Camera]:
        """The robot's, and one that overlooks everything."""
        scene, (focal, _) = self.scene, self.scene.focal
        eye = look_at((0, 0, 0.03), *self.look)
        over = look_at((-0.2, 0, 0.18), 1.5, np.pi / 3.2, 0.5)
        width, height = OVERVIEW
        return (
            Camera(scene.width, scene.height, focal * scene.width / 640, rows(eye)),
            Camera(width, height, 1.1 * width, rows(over)),
        )


class Cell:
    """`reset` first. `hook`, where set, is called after every control step (10 ms simulated): pictures, joint states.

    names: of the objects on the table; in masks, names[k] has the label FIRST_OBJECT_ID + k. specs, models: by name.
    """

    def __init__(self, config: CellConfig | None = None) -> None:
        self.config = config or CellConfig()
        self.hook: Callable[[], None] | None = None
        self.names: tuple[str, ...] = ()
        self.specs: dict[str, ObjectSpec] = {}
        self.models: dict[str, ObjectModel] = {}
        self._renderers: dict[str, mujoco.Renderer] = {}

    def reset(
        self,
        seed: int,
        clutter: str = "mixed",
        split: str = "unseen_instance",
        min_objects: int = 0,
        max_objects: int = 0,
        objects: Sequence[str] = (),
    ) -> tuple[str, ...]:
        """New objects at rest on the table, the arm at home; returns the names of those that stand there.

        The same seed gives the same cell. min_objects, max_objects: 0 for the config's own; objects: names of the
        catalogue, of any split, instead of a draw. What falls off or does not rest is left out; scenes are drawn anew
        until enough stand, at most ATTEMPTS times. Raises InputError for an unknown clutter, split or name.
        """
        catalogue = open_catalogue(self.config.catalogue)
        if split not in SPLITS:
            raise InputError(f"split {split!r}: expected one of {', '.join(SPLITS)}")
        try:
            scene = replace(
                self.config.scene,
                clutter=clutter,
                min_objects=min_objects or self.config.scene.min_objects,
                max_objects=max_objects or max(min_objects, self.config.scene.max_objects),
            )
        except ValueError as error:
            raise InputError(str(error)) from error
        rng = np.random.default_rng([seed, SPLITS.index(split)])
        chosen = _named(catalogue, objects) if objects else None
        best: SceneDescription | None = None
        for _ in range(ATTEMPTS):
            specs = chosen or draw_objects(catalogue.of_split(split), scene, rng)
            models = {spec.name: catalogue.build(spec) for spec in specs}
            description, _ = make_scene(list(models.values()), scene, rng)
            if best is None or len(description.objects) > len(best.objects):
                best, self.specs, self.models = description, {spec.name: spec for spec in specs}, models
            if len(best.objects) >= (len(chosen) if chosen else scene.min_objects):
                break
        self._build(best)
        self._noise = np.random.default_rng([seed, 1])
        self.names = tuple(placed.name for placed in best.objects)
        self.specs = {name: self.specs[name] for name in self.names}
        return self.names

    def _build(self, description: SceneDescription) -> None:
        config = self.config
        table = replace(description.table, half=config.table)
        self.description = replace(description, table=table, cameras=config.cameras)
        spec = mujoco.MjSpec()
        spec.option.timestep, spec.option.cone = config.timestep, mujoco.mjtCone.mjCONE_ELLIPTIC
        spec.option.impratio = 100  # with 10 what is held creeps out of the hand
        spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
        spec.option.enableflags |= mujoco.mjtEnableBit.mjENBL_SLEEP  # what rests costs nothing
        furnish(spec, self.description)
        spec.geom("table").friction = [0.9, 0.01, 0.002]  # as where it settled
        for placed in description.objects:
            pose = placed.pose
            body = spec.worldbody.add_body(
                name=placed.name, pos=pose[:3, 3], quat=Rotation.from_matrix(pose[:3, :3]).as_quat(scalar_first=True)
            )
            body.add_freejoint()
            add_hulls(spec, body, placed, self.models[placed.name], group=HIDDEN)
            add_object(spec, body, placed, self.models[placed.name], contype=0, conaffinity=0, mass=0)
        add_robot(spec, config.gripper, config.world_from_base, config.friction, config.force)
        self.close()
        self.model = spec.compile()
        self.data = mujoco.MjData(self.model)
        self._label_of_geom = labels_of_geoms(self.model, self.description)
        self._joint_at = [self.model.joint(name).qposadr[0] for name in JOINTS]
        self._fingers_at = [self.model.joint(name).qposadr[0] for name in FINGERS]
        joints = hand_joints(config.gripper)
        self._hand_at = [self.model.joint(name).qposadr[0] for name in joints]
        self._ratios = np.array(list(joints.values()))
        self._servos = [self.model.actuator(name).id for name in JOINTS]
        self._grip = [self.model.actuator(name).id for name in FINGERS]
        self.data.qpos[self._joint_at] = self.data.ctrl[self._servos] = HOME
        self._wanted = self.data.ctrl[self._grip] = config.gripper.max_width / 2
        self.data.qpos[self._hand_at] = self._ratios * config.gripper.max_width / 2
        mujoco.mj_forward(self.model, self.data)

    def capture(self, noise: bool = True, pose: np.ndarray | None = None) -> View:
        """What the camera sees: rgb, depth m (0 unknown), mask (0 none, 1 table, then objects; the arm has 0), K and
        world_from_camera. noise: of the config's sensor. pose: of another camera like it, world_from_camera 4x4."""
        camera = self.description.cameras[0]
        renderer = self._renderer(SEEN, camera)
        renderer.update_scene(self.data, SEEN)
        if pose is not None:
            camera = replace(camera, world_from_camera=rows(pose))
            for eye in renderer.scene.camera:  # MuJoCo's left and right one
                eye.pos, eye.forward, eye.up = pose[:3, 3], pose[:3, 2], -pose[:3, 1]
        rgb = renderer.render().copy()
        renderer.enable_depth_rendering()
        depth = renderer.render().copy()
        renderer.disable_depth_rendering()
        renderer.enable_segmentation_rendering()
        mask = self._label_of_geom[renderer.render()[..., 0]]
        renderer.disable_segmentation_rendering()
        depth = np.where(depth < 0.99 * FAR, depth, 0)
        if noise and self.config.sensor is not None:
            shine = np.zeros(256)
            for placed in self.description.objects:
                shine[placed.label] = placed.specular * placed.shininess
            depth = sense(depth, camera.intrinsics, self.config.sensor, self._noise, shine[mask])
        return View(rgb, depth.astype(np.float32), mask, camera.intrinsics, camera.pose)

    def overview(self) -> np.ndarray:
        """A picture (240, 320, 3) uint8 of the whole cell."""
        renderer = self._renderer(SHOWN, self.description.cameras[1])
        renderer.update_scene(self.data, SHOWN)
        return renderer.render().copy()

    @property
    def time(self) -> float:
        """Simulated seconds since the reset."""
        return self.data.time

    def poses(self) -> dict[str, np.ndarray]:
        """world_from_object 4x4 of each object, that of its model's mesh: the simulator's truth."""
        return {name: self._pose(self.data.body(name)) for name in self.names}

    def frames(self) -> dict[str, np.ndarray]:
        """4x4 poses in the world of base_link, tool0, gripper_tip and camera_color_optical_frame."""
        frames = {name: self._pose(self.data.site(name)) for name in ("base_link", "tool0", "gripper_tip")}
        return frames | {"camera_color_optical_frame": self.description.cameras[0].pose}

    def joints(self) -> dict[str, float]:
        """Angles of the arm's JOINTS, rad, and the opening between the fingers as "finger_joint", m."""
        return dict(zip(JOINTS, self.arm().tolist(), strict=True)) | {"finger_joint": self.opening()}

    def arm(self) -> np.ndarray:
        """Angles (6,) of JOINTS, rad."""
        return self.data.qpos[self._joint_at].copy()

    def opening(self) -> float:
        """Between the finger pads, m."""
        return float(self.data.qpos[self._fingers_at].sum())

    @property
    def gripping(self) -> bool:
        """Whether the fingers were told to close, and not to open since."""
        return bool(self._wanted < 0)

    def command(self, joints: np.ndarray) -> None:
        """Sends the servos to angles (6,). Whoever calls this has checked them for collision."""
        self.data.ctrl[self._servos] = joints

    def put(self, joints: np.ndarray, opening: float) -> None:
        """Puts the arm at angles (6,) and the fingers at an opening, m, at once: no arm moves like that."""
        self.data.qpos[self._joint_at] = self.data.ctrl[self._servos] = joints
        self._wanted = self.data.ctrl[self._grip] = opening / 2
        self.data.qpos[self._hand_at] = self._ratios * opening / 2
        self.data.qvel[:] = 0
        mujoco.mj_forward(self.model, self.data)

    def state(self) -> np.ndarray:
        """All that the simulation goes on from, for `restore`."""
        state = np.zeros(mujoco.mj_stateSize(self.model, STATE))
        mujoco.mj_getState(self.model, self.data, state, STATE)
        return state

    def restore(self, state: np.ndarray) -> None:
        """Everything is again as it was when `state` was called, since the last reset; the fingers are to stay."""
        mujoco.mj_setState(self.model, self.data, state, STATE)
        mujoco.mj_forward(self.model, self.data)
        self._wanted = float(self.data.ctrl[self._grip][0])

    def open(self, opening: float) -> None:
        """Lets the fingers go to an opening, m, at their speed."""
        self._wanted = opening / 2

    def grip(self) -> None:
        """Lets the fingers close, with all their force in the end."""
        self._wanted = -GRIP_REACH

    def step(self, seconds: float = CONTROL) -> None:
        """Lets time pass, in whole control steps."""
        for _ in range(max(1, round(seconds / CONTROL))):
            sent, most = self.data.ctrl[self._grip], FINGER_SPEED * CONTROL
            self.data.ctrl[self._grip] = sent + np.clip(self._wanted - sent, -most, most)
            mujoco.mj_step(self.model, self.data, nstep=round(CONTROL / self.config.timestep))
            if self.hook is not None:
                self.hook()

    def close(self) -> None:
        """Gives the renderers back."""
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers = {}

    def _renderer(self, name: str, camera: Camera) -> mujoco.Renderer:
        if name not in self._renderers:
            self._renderers[name] = mujoco.Renderer(self.model, camera.height, camera.width)
        return self._renderers[name]

    @staticmethod
    def _pose(thing: mujoco.MjData) -> np.ndarray:
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = thing.xmat.reshape(3, 3), thing.xpos
        return pose


def _named(catalogue: Catalogue, names: Sequence[str]) -> list[ObjectSpec]:
    by_name = {spec.name: spec for spec in catalogue.specs}
    for name in names:
        if name not in by_name:
            raise InputError(f"object {name!r}: not in the catalogue; {len(by_name)} names are, such as {min(by_name)}")
    return [by_name[name] for name in dict.fromkeys(names)]
