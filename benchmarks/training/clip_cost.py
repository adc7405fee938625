# SPDX-License-Identifier: Apache-2.0
"""What the paper's CLIP costs: ViT-L-14-336-quickgelu with random weights of the true shapes through the commands, and
what follows for the paper's data on H200s.

    python -m benchmarks.training.clip_cost                 # about ten minutes of CPU; --count-only: the sums alone

Seconds are of the CPU (`resource.getrusage` of the command and what it started), memory is the most of one process.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import numpy as np
import open_clip
import torch
import tyro
from PIL import Image
from safetensors.torch import save_file

from dropclip_ros.vision.bags import load_bag_frame

ROOT = Path(__file__).resolve().parents[2]
TOWER = "ViT-L-14-336-quickgelu"
PEAK = 989e12  # FLOP/s of an H200, bf16, dense
UTILISED = 0.4  # of it, as well-fed ViTs reach; nothing was measured on one
SCENES, VIEWS = 15_000, 73
SEEN = 6.4  # objects a view shows, of 8 in a scene
SCENE, CLOUD = 7.1e6, 1.2e6  # bytes on disk: docs/mvtod.md, and a full cloud that distillation keeps
RENDERED = 249  # scenes an hour and core: docs/mvtod.md


def random_folder(folder: Path) -> Path:
    """The tower with random weights, fp16, as a folder that open_clip reads."""
    torch.manual_seed(0)
    model = open_clip.create_model(TOWER)
    save_file({k: v.half().contiguous() for k, v in model.state_dict().items()}, folder / "open_clip_model.safetensors")
    config = {"model_cfg": open_clip.get_model_config(TOWER), "preprocess_cfg": {}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    return folder


def flops_of_image(name: str = TOWER) -> float:
    """Of a picture through the image tower: two for each multiplication with what is added, norms left out."""
    vision = open_clip.get_model_config(name)["vision_cfg"]
    width, layers, patch = vision["width"], vision["layers"], vision["patch_size"]
    tokens = (vision["image_size"] // patch) ** 2 + 1
    layer = 24 * tokens * width**2 + 4 * tokens**2 * width  # projections and MLP (of four widths), then attention
    return layers * layer + 2 * 3 * patch**2 * width * (tokens - 1)


def measured(what: str, *command: object) -> None:
    """Runs it and prints what it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    subprocess.run([sys.executable, "-m", *map(str, command)], check=True, env=environment, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"| {what} | {seconds:.0f} s | {after.ru_maxrss / 1e6:.1f} GB at most so far |", flush=True)


def demo_frame(folder: Path) -> list[object]:
    """The demo's frame as files, and the options that name them."""
    frame = load_bag_frame(ROOT / "demo" / "tabletop")
    Image.fromarray(frame.rgb).save(folder / "rgb.png")
    np.save(folder / "depth.npy", frame.depth)
    (folder / "k.json").write_text(json.dumps(frame.intrinsics.to_dict()))
    said = ["--rgb", folder / "rgb.png", "--depth", folder / "depth.npy", "--depth-unit", "m"]
    return [*said, "--intrinsics", folder / "k.json"]


def run_commands(folder: Path) -> None:
    tower = random_folder(folder)
    named = ["--tower", tower, "--activation", "quickgelu"]
    measured("`dropclip model create`", "dropclip_ros.cli", "model", "create", folder / "m", *named)
    frame = demo_frame(folder)
    asked = ["--query", "the red mug", "--query", "the box"]
    measured("`dropclip ground`, two phrases", "dropclip_ros.cli", "ground", *frame, "--model", folder / "m", *asked)
    scenes = ["--out", folder / "scenes", "--scenes", 1, "--views", 4, "--workers", 1]
    measured("one scene of four views, rendered", "training.mvtod", "generate", *scenes)
    fused = ["--scenes", folder / "scenes", "--out", folder / "features", "--tower", tower, "--background", "mean"]
    measured("`dropclip-fuse`, its features, fused", "training.fusion.run", *fused)
    print(f"features: {sum(path.stat().st_size for path in (folder / 'features').glob('*.safetensors')) / 1e3:.0f} kB")


def extrapolated(channels: int) -> None:
    """The paper's data: crops, FLOP, hours, disk."""
    crops, one = SCENES * VIEWS * SEEN, flops_of_image()
    print(f"a crop: {one / 1e9:.0f} GFLOP; {SCENES} scenes of {VIEWS} views: {crops / 1e6:.1f} million crops")
    for count in (1, 8):
        hours = crops * one / (PEAK * UTILISED * count) / 3600
        rate = crops / hours / 3600
        print(f"{count} H200 at {UTILISED:.0%} of {PEAK / 1e12:.0f} TFLOP/s: {hours:.2f} h, {rate:.0f} crops a second")
    for cores in (16, 128):
        print(f"rendering on {cores} cores at {RENDERED} scenes an hour and core: {SCENES / RENDERED / cores:.1f} h")
    disk = {"scenes": SCENES * SCENE, "features": crops * (2 * channels + 24), "clouds": SCENES * CLOUD}
    print("disk: " + ", ".join(f"{name} {size / 1e9:.0f} GB" for name, size in disk.items()))


def main(count_only: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False) -> None:
    """Prints rows of a table, and the sums."""
    if not count_only:
        with tempfile.TemporaryDirectory() as folder:
            run_commands(Path(folder))
    extrapolated(open_clip.get_model_config(TOWER)["embed_dim"])


if __name__ == "__main__":
    tyro.cli(main)
