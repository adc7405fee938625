# SPDX-License-Identifier: Apache-2.0
"""Frames from a camera's messages: colour and depth of one moment, and the calibration that holds for them."""

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

from sensor_msgs.msg import CameraInfo, Image

from dropclip_ros.ros.camera.points import CloudImages
from dropclip_ros.ros.messages import misfit, nanoseconds

HELD = 20  # images of a stream that wait for their partners, and frames, for requests that name a stamp
GRACE = 0.1  # s, that a frame waits for a CameraInfo with its own stamp; then the last one serves
LAP = 1.0  # s; images that came further apart are not of one moment, whatever their stamps: a bag may start again


@dataclass(frozen=True)
class CapturedFrame:
    """Messages of one moment; `color` is None where a node does not subscribe it.

    gap: between the images' stamps, ns; arrived: when it was whole, s (`time.monotonic`).
    """

    color: Image | None
    depth: Image
    info: CameraInfo
    gap: int
    arrived: float

    @cached_property
    def misfit(self) -> str:
        """'' or why they do not belong together. BAD_FRAME where a compressed image cannot be read."""
        return misfit(self.color, self.depth, self.info)

    @property
    def header(self):
        """Of the image that gives the frame its stamp and frame_id."""
        return (self.color or self.depth).header

    def bears(self, stamp: int) -> bool:
        """Whether one of the images has this stamp, ns."""
        return any(nanoseconds(m.header.stamp) == stamp for m in (self.color, self.depth) if m)


@dataclass(frozen=True)
class _Pair:
    """Images of one moment, of which the CameraInfo is not there yet."""

    color: Image | None
    depth: Image
    gap: int
    arrived: float

    @property
    def image(self) -> Image:
        return self.color or self.depth


@dataclass
class Pairing:
    """Takes messages as they come, at times `now` (s, monotonic), and holds the newest frames, in order of arrival.

    A calibration hardly changes: where no CameraInfo has a frame's stamp, the last one that came serves, be it latched,
    slow or without a stamp. tolerance: largest difference between stamps of one frame, ns.
    """

    with_color: bool
    tolerance: Callable[[], float]
    frames: OrderedDict[int, CapturedFrame] = field(default_factory=OrderedDict)  # by stamp, ns
    _images: dict[str, deque] = field(default_factory=dict)
    _infos: deque = field(default_factory=lambda: deque(maxlen=HELD))
    _pairs: OrderedDict[int, _Pair] = field(default_factory=OrderedDict)
    _apart: int | None = None

    def __post_init__(self):
        self.clear()

    def clear(self) -> None:
        """Forgets images and frames; the calibration stays."""
        self._images = {name: deque(maxlen=HELD) for name in ("color", "depth")}
        self._pairs.clear()
        self.frames.clear()

    def keep_newest(self) -> None:
        """Forgets all images but those of the newest frame."""
        newest = list(self.frames.items())[-1:]
        self.clear()
        self.frames.update(newest)

    def take(self, name: str, msg: Image | CameraInfo | CloudImages, now: float) -> bool:
        """A message of the stream color, depth, info or points. Whether a frame is new."""
        if isinstance(msg, CloudImages):
            self._hold(CapturedFrame(msg.color, msg.depth, msg.info, 0, now))
            return True
        if name == "info":
            self._infos.append(msg)
            self._recalibrate(msg)
        else:
            self._pair(name, msg, now)
        return self.settle(now)

    def settle(self, now: float) -> bool:
        """Gives pairs their CameraInfo, where it is there. Whether a frame is new."""
        ready = [(stamp, pair, info) for stamp, pair in self._pairs.items() if (info := self._info_for(pair, now))]
        for stamp, pair, info in ready:
            del self._pairs[stamp]
            self._hold(CapturedFrame(pair.color, pair.depth, info, pair.gap, now))
        return bool(ready)

    def _hold(self, frame: CapturedFrame) -> None:
        stamp = nanoseconds(frame.header.stamp)
        self.frames.pop(stamp, None)  # so that it comes last
        self.frames[stamp] = frame
        while len(self.frames) > HELD:
            self.frames.popitem(last=False)

    def _pair(self, name: str, msg: Image, now: float) -> None:
        partner, stamp = None, nanoseconds(msg.header.stamp)
        if self.with_color:
            mine, others = (self._images[n] for n in (("color", "depth") if name == "color" else ("depth", "color")))
            mine.append((msg, now))
            near = [m for m, came in reversed(others) if now - came < LAP]
            partner = min(near, key=lambda m: abs(nanoseconds(m.header.stamp) - stamp), default=None)
            if partner is None:
                return
        color, depth = (msg, partner) if name == "color" else (partner, msg)
        gap = abs(nanoseconds(partner.header.stamp) - stamp) if partner else 0
        self._apart = gap
        key = nanoseconds((color or msg).header.stamp)
        known = self._pairs.get(key) or self.frames.get(key)
        better = known and known.gap < gap and now - known.arrived < LAP
        if gap > self.tolerance() or better:
            return
        if partner and gap == 0:  # neither can have a better one
            mine.pop()
            others.remove(next(entry for entry in others if entry[0] is partner))
        self._pairs.pop(key, None)
        self._pairs[key] = _Pair(color, depth, gap, now)
        while len(self._pairs) > HELD:
            self._pairs.popitem(last=False)

    def _info_for(self, pair: _Pair, now: float) -> CameraInfo | None:
        """That of the pair's own stamp; once it will not come, the last one, of the same camera and size if any is."""
        stamp, image = nanoseconds(pair.image.header.stamp), pair.image
        own = [m for m in reversed(self._infos) if abs(nanoseconds(m.header.stamp) - stamp) <= self.tolerance()]
        if own:
            return min(own, key=lambda m: abs(nanoseconds(m.header.stamp) - stamp))
        if now - pair.arrived < GRACE or not self._infos:
            return None
        same = [m for m in reversed(self._infos) if m.header.frame_id == image.header.frame_id] or [self._infos[-1]]
        if len({(m.width, m.height) for m in same}) > 1:  # a compressed image is decoded for its size only then
            same = [m for m in same if (m.width, m.height) == (image.width, image.height)] or same
        return same[0]

    def _recalibrate(self, info: CameraInfo) -> None:
        """A frame that was given another CameraInfo, because its own came late."""
        stamp = nanoseconds(info.header.stamp)
        frame = self.frames.get(stamp)
        if frame and nanoseconds(frame.info.header.stamp) != stamp and not _same(frame.info, info):
            self.frames[stamp] = replace(frame, info=info)

    def why_none(self) -> str:
        """What is missing for a frame, in words; '' where only its CameraInfo is waited for."""
        if self._pairs and not self._infos:
            return "no CameraInfo has come"
        if self._apart is not None and self._apart > self.tolerance():
            return (
                f"the stamps of colour and depth differ by more than pair_tolerance {self.tolerance() / 1e9:g} s, "
                f"those that came last by {self._apart / 1e9:.3f} s"
            )
        return ""


def _same(a: CameraInfo, b: CameraInfo) -> bool:
    """Whether two say the same of a camera, whenever they were sent."""
    said = [(m.header.frame_id, m.width, m.height, list(m.k), list(m.d)) for m in (a, b)]
    how = [(m.distortion_model, m.binning_x, m.binning_y, m.roi) for m in (a, b)]
    return said[0] == said[1] and how[0] == how[1]
