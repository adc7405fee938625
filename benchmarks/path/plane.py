# SPDX-License-Identifier: Apache-2.0
"""Our RANSAC beside open3d's, interleaved in one process, on OSD frames, rendered rooms and scenes of the generator.

    python -m benchmarks.path.plane [--data ../shared/data/osd] [--rooms-count 20] [--scenes
    runs/large/scenes/validation]

Both look for one plane in the same points (a sample of a frame, as `find_table` draws it) with the same distance and
at most as many hypotheses. Four planes a frame, each in what open3d's former ones left, as `find_table` tries them;
then the tables that `find_table` makes of either's planes. Ours weighs squared distances (MSAC), open3d counts points
within the distance, so that planes of few or noisy points differ by taste.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import open3d as o3d
import tyro

from benchmarks.data.osd import FOLDER, LabelledFrame, osd_frames
from benchmarks.data.rooms import rooms
from dropclip_ros.tabletop.plane import ransac_plane
from dropclip_ros.tabletop.table import TableConfig, find_table
from dropclip_ros.vision.geometry import backproject
from training.evaluate.served.pipeline import view_frame
from training.scenes.shards import load_scenes

DEFAULTS = TableConfig()


def theirs(points: np.ndarray, config: TableConfig) -> np.ndarray:
    """open3d's plane (4,), facing the camera."""
    o3d.utility.random.seed(config.seed)
    cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(points))
    plane = np.asarray(cloud.segment_plane(config.distance, 3, config.iterations, probability=1.0)[0])
    return plane if plane[3] >= 0 else -plane


def compare(points: np.ndarray, config: TableConfig) -> tuple[np.ndarray, tuple[float, ...]]:
    """open3d's plane, and: milliseconds of both, ratio of inliers, angle in degrees, distance in mm at their middle."""
    start = time.perf_counter()
    peer = theirs(points, config)
    between = time.perf_counter()
    ours = ransac_plane(points, config.distance, config.iterations, np.random.default_rng(config.seed))
    end = time.perf_counter()
    lies, ours_lies = (np.abs(points @ plane[:3] + plane[3]) < config.distance for plane in (peer, ours))
    ratio = ours_lies.sum() / lies.sum()
    return peer, (1e3 * (between - start), 1e3 * (end - between), ratio, *difference(ours, peer, points[lies]))


def difference(plane: np.ndarray, peer: np.ndarray, lying: np.ndarray) -> tuple[float, float]:
    """Degrees between two planes (4,), and millimetres at the middle of the points (N, 3) that lie in them."""
    angle = np.degrees(np.arccos(min(plane[:3] @ peer[:3], 1.0)))
    return angle, 1e3 * abs(lying.mean(axis=0) @ (plane[:3] - peer[:3]) + plane[3] - peer[3])


def tables(points: np.ndarray, config: TableConfig, up: np.ndarray | None) -> tuple[float, float]:
    """Difference of the table found with our planes from that with open3d's."""
    found = find_table(points, config, up)
    with mock.patch("dropclip_ros.tabletop.table.ransac_plane", lambda rest, *_: theirs(rest, config)):
        peer = find_table(points, config, up)
    return difference(found.plane, peer.plane, points[peer.inliers])


def first_views(scenes: Path) -> Iterator[LabelledFrame]:
    """The first view of each of the generator's scenes; none where there are none."""
    for scene in load_scenes(scenes)[:60] if scenes.is_dir() else ():
        view = scene.view(0)
        yield LabelledFrame(scene.name, "", view_frame(view), view.mask)


def main(
    data: Path = FOLDER,
    rooms_count: int = 20,
    scenes: Path = Path("runs/large/scenes/validation"),
    config: TableConfig = DEFAULTS,
) -> None:
    """Prints medians and worst values for the largest planes, the next three, and the tables, per kind of frame."""
    for kind, frames in (("OSD", osd_frames(data)), ("rooms", rooms(rooms_count)), ("scenes", first_views(scenes))):
        largest, others, found = [], [], []
        for scene in frames:
            points, _ = backproject(scene.frame.depth, scene.frame.intrinsics)
            pose = scene.frame.camera_pose
            found.append(tables(points, config, None if pose is None else pose[2, :3]))
            rng = np.random.default_rng(config.seed)
            rest = points[rng.choice(len(points), min(config.sample, len(points)), replace=False)].astype(np.float64)
            for rows in (largest, others, others, others):
                least = max(config.min_points * config.sample / len(points), 3)
                if len(rest) < least:
                    break
                peer, row = compare(rest, config)
                lies = np.abs(rest @ peer[:3] + peer[3]) < config.distance
                if lies.sum() < least:
                    break
                rows.append(row)
                rest = rest[~lies]
        if not found:
            print(f"{kind}: none there")
            continue
        for which, rows in (("largest planes", largest), ("next planes", others)):
            peer, ours, ratio, *differences = np.array(rows).T
            print(
                f"{kind:6s}{which:15s}{len(rows):4d}   open3d {np.median(peer):.2f} ms, ours {np.median(ours):.2f}, "
                f"{np.median(peer / ours):.0f} times faster   inliers, ours by theirs {ratio.mean():.4f}, "
                f"least {ratio.min():.4f}   {agreement(*differences)}"
            )
        print(f"{kind:6s}{'tables':15s}{len(found):4d}   {agreement(*np.array(found).T)}")


def agreement(angle: np.ndarray, offset: np.ndarray) -> str:
    """The differences of planes in words."""
    same = (angle < 0.1) & (offset < 1.0)
    return (
        f"angle {np.median(angle):.3f} degrees, worst {angle.max():.3f}; distance {np.median(offset):.3f} mm, "
        f"worst {offset.max():.3f}; within 0.1 degrees and 1 mm {100 * same.mean():.0f} %"
    )


if __name__ == "__main__":
    tyro.cli(main)
