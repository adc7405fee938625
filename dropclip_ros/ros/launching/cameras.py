# SPDX-License-Identifier: Apache-2.0
"""Which topics a camera's driver publishes: the files of config/cameras, and what a launch argument overrules.

For launch files, which ROS's own Python runs: the standard library, yaml and `base.reading`, which needs no more.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dropclip_ros.base.reading import read_yaml

# The nodes' own names, relative: remapped to a camera's.
COLOR_TOPIC = "camera/color/image_raw"
DEPTH_TOPIC = "camera/aligned_depth_to_color/image_raw"
INFO_TOPIC = "camera/color/camera_info"
POINTS_TOPIC = "camera/depth/color/points"
UNITS = ("mm", "0.1mm")
TRANSPORTS = ("raw", "compressed", "points")
_KEYS = ("prefix", "color", "depth", "info", "points", "depth_unit", "reliable")


@dataclass(frozen=True)
class CameraTopics:
    """A camera: its topics, unit of its 16UC1 depth, how frames come (raw, compressed, points), and how reliably."""

    color: str
    depth: str
    info: str
    points: str
    depth_unit: str
    reliable: bool
    transport: str

    def remappings(self) -> list[tuple[str, str]]:
        """From the nodes' names to the camera's."""
        own = (COLOR_TOPIC, DEPTH_TOPIC, INFO_TOPIC, POINTS_TOPIC)
        return list(zip(own, (self.color, self.depth, self.info, self.points), strict=True))


def camera_topics(folder: Path, told: Mapping[str, str]) -> CameraTopics:
    """The camera that the launch arguments in `told` mean; '' leaves it to the preset.

    camera: a name in `folder`, or the path of a file like those; camera_prefix: in place of the preset's; color_topic,
    depth_topic, info_topic, points_topic: whole names; depth_unit, reliable, transport. ValueError says what cannot
    be taken.
    """
    preset = _read(folder, told["camera"])
    prefix = told["camera_prefix"] or preset["prefix"]

    def topic(name: str) -> str:
        return told[f"{name}_topic"] or f"{prefix.rstrip('/')}/{preset[name]}"

    unit = told["depth_unit"] or preset["depth_unit"]
    reliable = told["reliable"] or str(preset["reliable"])
    for name, value, known in (
        ("depth_unit", unit, UNITS),
        ("reliable", reliable.lower(), ("true", "false")),
        ("transport", told["transport"], TRANSPORTS),
    ):
        if value not in known:
            raise ValueError(f"{name} is {value!r}: expected one of {', '.join(known)}")
    color, depth, info, points = (topic(name) for name in ("color", "depth", "info", "points"))
    return CameraTopics(color, depth, info, points, unit, reliable.lower() == "true", told["transport"])


def _read(folder: Path, camera: str) -> dict:
    """The preset by its name or path. ValueError where there is none, or where it lacks something."""
    path = Path(camera) if camera.endswith(".yaml") else folder / f"{camera}.yaml"
    if not path.is_file():
        names = ", ".join(sorted(file.stem for file in folder.glob("*.yaml")))
        raise ValueError(
            f"camera is {camera!r}: expected one of {names}, or a file like those of {folder} (.yaml); "
            "what the topics' names begin with is the argument camera_prefix"
        )
    preset = read_yaml(path)
    if not isinstance(preset, dict) or set(preset) != set(_KEYS):
        raise ValueError(f"{path}: expected the keys {', '.join(_KEYS)}")
    return preset
