# SPDX-License-Identifier: Apache-2.0
"""Records the demo's tabletop as a rosbag2: RGB, depth, CameraInfo and TF of a fixed camera over a settled scene.

`python -m training.scenes.export.record_bag --out demo/tabletop`

The objects are instances that training never saw. The depth is what a structured-light camera would give.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from training.objects.procedural.objects import build, catalogue
from training.objects.spec import UNSEEN_INSTANCE, ObjectSpec
from training.runs.errors import InputError
from training.scenes.clutter import look_at, make_scene
from training.scenes.description import SceneConfig, rows
from training.scenes.export.bag import write_bag
from training.scenes.render_mujoco import render
from training.scenes.scene import View
from training.scenes.sensor import KINECT, sense

OBJECTS = ("juice_carton_12", "banana_13", "hammer_12", "toy_car_12", "tumbler_14", "soda_can_14", "screwdriver_13")
RED_MUG = ObjectSpec("demo_mug", "mug", UNSEEN_INSTANCE, {"color": "red", "material": "ceramic", "pattern": "plain"}, 7)


def demo_view(seed: int) -> View:
    """The demo scene from 45 degrees above."""
    specs = {spec.name: spec for spec in catalogue()}
    models = [build(RED_MUG)] + [build(specs[name]) for name in OBJECTS]
    config = SceneConfig(area=(0.24, 0.16), clutter="scattered", scale=(1.0, 1.0), brightness=(1.0, 1.0), views=1)
    scene, dropped = make_scene(models, config, np.random.default_rng(seed))
    if sum(dropped.values()):
        raise InputError(f"seed {seed}: {dropped}: expected all objects to stay on the table; take another seed")
    pose = look_at((0, 0, 0.03), 0.85, -np.pi / 2, np.radians(48))
    scene = replace(scene, cameras=(replace(scene.cameras[0], world_from_camera=rows(pose)),))
    return next(render(scene, {model.name: model for model in models}))


def main(out: Path = Path("demo/tabletop"), seed: int = 3, frames: int = 2, rate: float = 5.0) -> None:
    """Renders the scene and writes the bag; an older bag there is replaced."""
    view, rng = demo_view(seed), np.random.default_rng(seed)
    noisy = (replace(view, depth=sense(view.depth, view.intrinsics, KINECT, rng)) for _ in range(frames))
    shutil.rmtree(out, ignore_errors=True)
    write_bag(out, noisy, rate, fixed=True)
    print(f"{out}: {sum(file.stat().st_size for file in out.iterdir()) / 1e6:.2f} MB")


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
