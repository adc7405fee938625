# SPDX-License-Identifier: Apache-2.0
"""A tiny CLIP with random weights, as a folder that open_clip reads, and frames of a drawn tabletop as files."""

import json
from pathlib import Path

import numpy as np
import open_clip
import torch
from PIL import Image
from safetensors.torch import save_file

from dropclip_ros.vision.geometry import RgbdFrame

TINY = {
    "embed_dim": 24,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


def make_clip(folder: Path, seed: int = 0, **changes) -> Path:
    """A folder with open_clip_config.json and weights; changes: of the architecture, None takes a key out."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {key: value for key, value in (TINY | changes).items() if value is not None}
    torch.manual_seed(seed)
    model = open_clip.CLIP(**config)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
    return folder


def write_frame(folder: Path, frame: RgbdFrame, name: str = "a") -> dict[str, str]:
    """rgb, depth, intrinsics and camera_pose of a frame as files; their names."""
    files = {
        "rgb": f"{name}.png",
        "depth": f"{name}_depth.png",
        "intrinsics": f"{name}_k.json",
        "camera_pose": f"{name}_p.json",
    }
    Image.fromarray(frame.rgb).save(folder / files["rgb"])
    Image.fromarray(np.round(1000 * frame.depth).astype(np.uint16)).save(folder / files["depth"])
    (folder / files["intrinsics"]).write_text(json.dumps(frame.intrinsics.to_dict()))
    (folder / files["camera_pose"]).write_text(json.dumps(frame.camera_pose.tolist()))
    return files
