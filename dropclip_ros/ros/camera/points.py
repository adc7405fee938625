# SPDX-License-Identifier: Apache-2.0
"""Point clouds (Zivid, Photoneo) in place of images: a cloud is colour, depth and calibration of one moment."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.ros.messages import camera_info_message, cloud_to_numpy, image_message, unpacked_colors
from dropclip_ros.vision.clouds import cloud_frame
from dropclip_ros.vision.geometry import RgbdFrame

_FULL = 99  # percentile of the intensities that is white


class CloudImages:
    """What the images of a cloud would be; nothing is converted before somebody looks at a pixel.

    color (rgb8), depth (32FC1, m) and info are messages to whoever reads them. Organised clouds of a pinhole camera
    keep their pixels, others are drawn as a camera would see them (`vision.clouds.cloud_frame`). Points are in a
    camera's optical frame: z ahead, metres.
    """

    def __init__(self, msg: PointCloud2, with_color: bool = True):
        self.header, self._msg = msg.header, msg
        self.color = _Part(self, Image, "color") if with_color else None
        self.depth, self.info = _Part(self, Image, "depth"), _Part(self, CameraInfo, "info")

    @cached_property
    def frame(self) -> RgbdFrame:
        """The cloud as a frame. Raises BAD_FRAME."""
        return frame_of(self._msg)

    def message(self, name: str) -> Image | CameraInfo:
        """color, depth or info. Raises BAD_FRAME."""
        if name == "color":
            return image_message(self.header, self.frame.rgb, "rgb8")
        if name == "depth":
            return image_message(self.header, self.frame.depth, "32FC1")
        return camera_info_message(self.header, self.frame.intrinsics)


class _Part:
    """One of a cloud's messages, made when anything but its header is read."""

    def __init__(self, images: CloudImages, kind: type[Image | CameraInfo], name: str):
        self.header, self._images, self._kind, self._name = images.header, images, kind, name

    @property
    def picture(self) -> bool:
        """Whether the colours are a photograph; false where points were drawn, or have no colour."""
        return self._images.frame.picture

    @cached_property
    def _message(self) -> Image | CameraInfo:
        return self._images.message(self._name)

    def __getattr__(self, name: str):
        if name not in self._kind.get_fields_and_field_types():
            raise AttributeError(name)
        return getattr(self._message, name)


def frame_of(msg: PointCloud2) -> RgbdFrame:
    """A cloud with x, y, z in metres and perhaps rgb, rgba or intensity as a frame. Raises BAD_FRAME."""
    try:
        cloud = cloud_to_numpy(msg)
    except DropclipError as error:
        raise DropclipError(Status.BAD_FRAME, error.message) from error
    names = set(cloud.dtype.names or ())
    if not {"x", "y", "z"} <= names or any(cloud[name].ndim > 2 for name in "xyz"):
        raise DropclipError(
            Status.BAD_FRAME, f"the cloud has the fields {', '.join(sorted(names)) or 'none'}; expected x, y and z"
        )
    points = np.stack([cloud[name].astype(np.float32).ravel() for name in "xyz"], axis=1)
    colors = _colors(cloud)
    size = (msg.height, msg.width) if msg.height > 1 else None
    frame = cloud_frame(points, colors, size)
    frame.picture = frame.picture and colors is not None
    return frame


def _colors(cloud: np.ndarray) -> np.ndarray | None:
    """uint8 (N, 3) of packed rgb or rgba, or of intensity as grey; None where there is none of them."""
    names = cloud.dtype.names or ()
    packed = next((cloud[name] for name in ("rgb", "rgba") if name in names), None)
    if packed is not None and packed.ndim == 2 and packed.dtype.itemsize == 4:
        return unpacked_colors(packed)
    if "intensity" in names and cloud["intensity"].ndim == 2:
        values = np.nan_to_num(cloud["intensity"].astype(np.float32).ravel(), nan=0.0, posinf=0.0, neginf=0.0)
        grey = np.clip(255 * values / max(float(np.percentile(values, _FULL)), 1e-9), 0, 255).astype(np.uint8)
        return np.repeat(grey[:, None], 3, axis=1)
    return None
