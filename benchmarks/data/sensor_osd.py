# SPDX-License-Identifier: Apache-2.0
"""The depth-sensor model beside a real camera: noise on the table by distance, and holes, in our scenes as rendered and
as the model gives them, and in the Object Segmentation Database (Kinect v1).

    python -m benchmarks.data.sensor_osd --scenes runs/scenes [--sensor kinect] [--limit 67] [--picture sensor.png]

Noise: robust deviation, along the ray, from a plane through patches of 16 x 16 table pixels.
Holes: pixels without depth in objects, within 8 pixels around them, and on the table elsewhere. OSD has labels only
where it has depth, so all labels are cut to that first and then closed again (gaps up to 8 pixels, what they enclose).
"""

from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import tyro
from PIL import Image
from scipy.ndimage import binary_closing, binary_dilation, binary_fill_holes

from benchmarks.data.osd import FOLDER, osd_frames
from training.scenes.description import FIRST_OBJECT_ID, TABLE_ID
from training.scenes.sensor import SENSORS
from training.scenes.shards import load_scenes

PATCH = 16
BINS = np.arange(0.5, 1.6, 0.1)  # m
HOLES = ("objects", "8 pixels around objects", "table elsewhere")


def closed(mask: np.ndarray) -> np.ndarray:
    """A mask (H,W) without gaps of up to 8 pixels, and without holes."""
    return binary_fill_holes(binary_closing(np.pad(mask, 8), iterations=4))[8:-8, 8:-8]


class Tally:
    """Noise by distance, and holes, of many images."""

    def __init__(self) -> None:
        self.noise: list[tuple[float, float]] = []  # mean distance, deviation, m
        self.holes = {name: np.zeros(2) for name in HOLES}  # without depth, all

    def add(self, depth: np.ndarray, labels: np.ndarray, intrinsics: np.ndarray) -> None:
        """depth (H,W) m, labels (H,W): 1 table, 2.. objects."""
        known = np.where(depth > 0, labels, 0)
        objects = np.zeros(depth.shape, bool)
        for label in np.unique(known[known >= FIRST_OBJECT_ID]):
            objects |= closed(known == label)
        near = binary_dilation(objects, iterations=8)
        elsewhere = closed(known == TABLE_ID) & ~near
        for name, where in zip(HOLES, (objects, near & ~objects, elsewhere), strict=True):
            self.holes[name] += (depth[where] == 0).sum(), where.sum()
        free = elsewhere & (known == TABLE_ID)
        rows, columns = np.mgrid[: depth.shape[0], : depth.shape[1]]
        x, y = (columns - intrinsics[0, 2]) / intrinsics[0, 0], (rows - intrinsics[1, 2]) / intrinsics[1, 1]
        for top in range(0, depth.shape[0] - PATCH, PATCH):
            for left in range(0, depth.shape[1] - PATCH, PATCH):
                at = np.s_[top : top + PATCH, left : left + PATCH]
                good = free[at]
                if good.mean() > 0.9:
                    # a plane is linear in inverse depth over the image
                    z = depth[at][good].astype(float)
                    design = np.stack([x[at][good], y[at][good], np.ones(len(z))], 1)
                    fit = 1 / (design @ np.linalg.lstsq(design, 1 / z, rcond=None)[0])
                    self.noise.append((z.mean(), 1.48 * np.median(np.abs(z - fit))))

    def rows(self) -> dict[str, str]:
        """By what was measured, in mm and percent."""
        z, deviation = np.array(self.noise).reshape(-1, 2).T
        rows = {}
        for low, high in pairwise(BINS):
            chosen = (z >= low) & (z < high)
            said = f"{1000 * np.median(deviation[chosen]):.2f}" if chosen.sum() >= 20 else "-"
            rows[f"noise on the table at {low:.1f} to {high:.1f} m, mm"] = said
        for name, (lost, of) in self.holes.items():
            rows[f"holes in {name}, %"] = f"{100 * lost / max(of, 1):.1f}"
        return rows


def main(
    scenes: Path,
    sensor: Literal["kinect", "realsense"] = "kinect",
    data: Path = FOLDER,
    limit: int = 67,
    picture: Path | None = None,
) -> None:
    """Prints a table: rendered, as the sensor model gives it, real. With --picture, three pairs of depth images."""
    rendered, modelled, real, pairs = Tally(), Tally(), Tally(), []
    for scene in load_scenes(scenes)[:limit]:
        v = len(scene) // 2
        true, seen = scene.view(v), scene.view(v, SENSORS[sensor])
        rendered.add(true.depth, true.mask, true.intrinsics)
        modelled.add(seen.depth, true.mask, true.intrinsics)
        pairs.append([true.depth, seen.depth])
    for i, frame in enumerate(osd_frames(data)):
        k = frame.frame.intrinsics
        shape = k.height, k.width
        depth = frame.frame.depth.reshape(shape)
        real.add(depth, frame.labels.reshape(shape), np.array([[k.fx, 0, k.cx], [0, k.fy, k.cy], [0, 0, 1]]))
        if i < len(pairs):
            pairs[i].append(depth)
        if i + 1 == limit:
            break
    print(f"{'':45s}{'rendered':>10s}{sensor:>10s}{'OSD':>10s}")
    columns = [tally.rows() for tally in (rendered, modelled, real)]
    for name in columns[0]:
        print(f"{name:45s}" + "".join(f"{column[name]:>10s}" for column in columns))
    if picture:
        draw([row for row in pairs if len(row) == 3][:3], picture)


def draw(rows: list[list[np.ndarray]], path: Path) -> None:
    """Rendered, modelled and real depth side by side; holes black."""
    import matplotlib

    sheet = []
    for row in rows:
        cells = []
        for depth in row:
            pixels = (255 * matplotlib.colormaps["turbo"](1 - (depth - 0.5) / 0.9)[..., :3]).astype(np.uint8)
            pixels[depth == 0] = 0
            cells.append(np.asarray(Image.fromarray(pixels).resize((480, 360), Image.Resampling.NEAREST)))
        sheet.append(np.hstack(cells))
    Image.fromarray(np.vstack(sheet)).save(path)


if __name__ == "__main__":
    tyro.cli(main)
