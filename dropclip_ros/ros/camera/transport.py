# SPDX-License-Identifier: Apache-2.0
"""Images as they come over image_transport: raw, or compressed (colour as JPEG or PNG, depth as compressedDepth).

What is compressed is decoded when somebody looks at its pixels: most frames are never asked about.
"""

import struct
from collections.abc import Callable

import numpy as np
from PIL import Image as PillowImage
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.base.reading import decode_image
from dropclip_ros.ros.common import Setting, Settings
from dropclip_ros.ros.launching.cameras import TRANSPORTS
from dropclip_ros.ros.messages import image_message

TRANSPORT = Setting(
    "transport",
    "raw",
    "raw: images as they are; compressed: COLOUR/compressed and DEPTH/compressedDepth are heard in their place; "
    "points: a PointCloud2 in a camera's optical frame, of Zivid or Photoneo, is all there is",
    choices=TRANSPORTS,
    read_only=True,
)
SUFFIXES = {"color": "/compressed", "depth": "/compressedDepth"}
_DEPTH_HEADER = struct.Struct("<iff")  # kind of quantisation, its two parameters: in front of the PNG


class LaterImage:
    """A compressed image that is a sensor_msgs/Image to whoever looks closer; only its header is there at once.

    Reading any other field decodes it, once, and raises BAD_FRAME where that cannot be done.
    """

    def __init__(self, msg: CompressedImage, decode: Callable[[CompressedImage], Image]):
        self.header = msg.header
        self._msg, self._decode = msg, decode
        self._image: Image | None = None

    def __getattr__(self, name: str):
        if name not in Image.get_fields_and_field_types():
            raise AttributeError(name)
        if self._image is None:
            self._image = self._decode(self._msg)
        return getattr(self._image, name)


def image_stream(node: Node, settings: Settings, name: str, topic: str) -> tuple[type, str, Callable]:
    """Type and topic to subscribe for the images `name` (color or depth), and what makes an Image of a message.

    image_transport's topics lie below the name that the raw one was remapped to.
    """
    if settings["transport"] == "raw":
        return Image, topic, lambda msg: msg
    decode = decode_color if name == "color" else decode_depth_image
    return CompressedImage, node.resolve_topic_name(topic) + SUFFIXES[name], lambda msg: LaterImage(msg, decode)


def decode_color(msg: CompressedImage) -> Image:
    """JPEG or PNG of 8 bits a channel as rgb8. BAD_FRAME."""
    picture = _picture(bytes(msg.data), "colour", msg.format)
    if picture.mode not in ("RGB", "RGBA", "L", "P", "LA"):
        raise DropclipError(
            Status.BAD_FRAME,
            f"the compressed colour image has pixels of kind {picture.mode} ({msg.format!r:.60}); expected 8 bits a "
            "channel: are the colour and the depth topic swapped?",
        )
    return image_message(msg.header, np.asarray(picture.convert("RGB")), "rgb8")


def decode_depth_image(msg: CompressedImage) -> Image:
    """compressedDepth: a header of 12 bytes and a PNG, of 16UC1 as it is, or of 32FC1 as inverse depth. BAD_FRAME.

    With a, b of the header and v of the PNG, depth = a / (v - b) m, and unknown (NaN) where v = 0.
    """
    data, encoding = bytes(msg.data), msg.format.partition(";")[0].strip()
    if "rvl" in msg.format.lower():
        raise DropclipError(
            Status.BAD_FRAME, "the depth is compressed as RVL; set the camera's parameter compressedDepth.format to png"
        )
    if encoding not in ("16UC1", "32FC1") or len(data) < _DEPTH_HEADER.size:
        raise DropclipError(
            Status.BAD_FRAME,
            f"the compressed depth has format {msg.format!r:.60} and {len(data)} bytes; expected 16UC1 or 32FC1 as "
            "compressedDepth of image_transport writes them",
        )
    _, a, b = _DEPTH_HEADER.unpack_from(data)
    picture = _picture(data[_DEPTH_HEADER.size :], "depth", msg.format)
    values = np.asarray(picture)
    if values.ndim != 2 or not picture.mode.startswith("I"):
        raise DropclipError(
            Status.BAD_FRAME, f"the compressed depth has pixels of kind {picture.mode}; expected one channel of 16 bits"
        )
    if encoding == "16UC1":
        return image_message(msg.header, values.astype(np.uint16), "16UC1")
    with np.errstate(divide="ignore"):
        depth = np.where(values > 0, np.float32(a) / (values.astype(np.float32) - np.float32(b)), np.float32(np.nan))
    return image_message(msg.header, depth.astype(np.float32), "32FC1")


def _picture(data: bytes, what: str, told: str) -> PillowImage.Image:
    try:
        return decode_image(data, formats=("JPEG", "PNG"))
    except OSError as error:
        raise DropclipError(
            Status.BAD_FRAME, f"the compressed {what} image ({told!r:.60}) is no JPEG or PNG that can be read: {error}"
        ) from error
