# SPDX-License-Identifier: Apache-2.0
"""Named real frames, as ../shared/named/rebuild.py makes them: a folder a scene with color.png, depth.png (mm), k.json
and objects.json, which gives names, their family, and a pixel that shows each. Nothing is trained on them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dropclip_ros import DropclipError, Grounder, load_frame
from dropclip_ros.grounding.pipeline import EncodedScene

CHOSEN = ("nocs", "ycbv", "morefusion")  # sources on which everything is chosen
MORE = ("ucn", "graspnet", "porig", "kgn", "arc", "osd", "hggd")  # of `training.names.more`; they choose, too
REPORTED = ("dexnet", "zed", "posecnn", "freegrasp", "any6d")
NEAR = 6  # px around a marked pixel that may show its instance
LARGEST = 0.25  # of the picture: more is no object


def frames(folder: Path, sources: str) -> Iterator[Path]:
    """Folders of the named frames of some sources."""
    wanted = {"chosen": CHOSEN, "more": MORE, "reported": REPORTED, "all": CHOSEN + REPORTED}[sources]
    for path in sorted(folder.iterdir()):
        if path.name.split("_")[0] in wanted and (path / "objects.json").exists():
            yield path


def encoded(grounder: Grounder, path: Path) -> EncodedScene | None:
    """The scene of a frame, or None, said, where it cannot be used."""
    try:
        return grounder.encode(load_frame(path / "color.png", path / "depth.png", "mm", path / "k.json"))
    except DropclipError as error:
        print(f"{path.name}: {error}")
        return None


def instance_at(labels: np.ndarray, u: int, v: int) -> int:
    """The instance that most pixels around (u, v) show; 0 where none does, or it is too large for an object."""
    around = labels[max(0, v - NEAR) : v + NEAR + 1, max(0, u - NEAR) : u + NEAR + 1]
    counts = np.bincount(around.ravel(), minlength=1)
    counts[0] = 0
    found = int(counts.argmax())
    return found if counts.any() and (labels == found).mean() < LARGEST else 0
