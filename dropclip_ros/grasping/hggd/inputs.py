# SPDX-License-Identifier: Apache-2.0
"""What HGGD looks at: a frame of any camera, scaled to the networks' input."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dropclip_ros.grasping.hggd.config import HggdConfig
from dropclip_ros.vision.geometry import Intrinsics, RgbdFrame, backproject


@dataclass(frozen=True, eq=False)
class PreparedView:
    """A frame at the networks' scale, h x w px.

    image (4, h, w): depth (m, unknown 0) less its mean, within [-1, 1], and colour in [0, 1]. points (h, w, 3): what
    each pixel shows, camera optical frame, m; zeros where that is unknown. intrinsics: of the h x w image.
    """

    image: Tensor
    points: Tensor
    intrinsics: Intrinsics

    @property
    def known(self) -> Tensor:
        """Pixels (h, w) bool that show a point."""
        return self.points[..., 2] > 0


def prepare(
    rgb: np.ndarray,
    depth: np.ndarray,
    intrinsics: Intrinsics,
    config: HggdConfig,
    near: float = 0.1,
    far: float = 3.0,
    device: str | torch.device = "cpu",
) -> PreparedView:
    """Scale rgb uint8 (H, W, 3) and depth (H, W) m, registered to it, into the input's size, keeping the aspect ratio.

    Depth beyond [near, far] m is taken as unknown. Pixels keep the points that the camera saw, distortion undone: those
    of the input are some of the frame's, never means. BAD_FRAME where frame and intrinsics do not fit, or no depth is
    known.
    """
    frame = RgbdFrame(rgb, depth, intrinsics)
    height, width = frame.depth.shape
    scale = min(config.width / width, config.height / height)
    w, h = max(round(width * scale), 1), max(round(height * scale), 1)

    seen, pixels = backproject(frame.depth, frame.intrinsics, near, far)
    points = np.zeros((height * width, 3), np.float32)
    points[pixels] = seen
    rows = ((np.arange(h) + 0.5) * height / h).astype(np.int64)
    columns = ((np.arange(w) + 0.5) * width / w).astype(np.int64)
    points = points.reshape(height, width, 3)[np.ix_(rows, columns)]

    picture = Image.fromarray(frame.rgb).resize((w, h), Image.Resampling.BILINEAR)  # takes means where it shrinks
    colors = torch.tensor(np.asarray(picture)).permute(2, 0, 1).float() / 255
    shown = torch.tensor(points)
    relief = (shown[..., 2] - shown[..., 2].mean()).clamp(-1, 1)  # unknown pixels count, as where it was trained
    image = torch.cat([relief[None], colors])
    return PreparedView(image.to(device), shown.to(device), frame.intrinsics.scaled_to(w, h))
