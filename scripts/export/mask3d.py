# SPDX-License-Identifier: Apache-2.0
"""Mask3D's masks of the requested clouds, as `training.evaluate.methods.exported` reads them.

NEVER RUN on Mask3D's own output: its weights were not at hand; a test gives it files of that form. Mask3D exports a
scene as ScanNet's benchmark wants it: NAME.txt with lines "pred_mask/NAME_0.txt CLASS SCORE", and a line of 0 or 1 for
each point in every mask's file. NAME is the cloud's place with _ for /, as in unseen_instance_scene_00000; the points
are those of PLACE/cloud.ply (m, world frame), in its order.

    dropclip-eval requests --to requests
    python scripts/export/mask3d.py requests PREDICTIONS exported/mask3d
    python -m training.evaluate.methods.exported check exported/mask3d --requests requests
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import open3d as o3d
from safetensors.numpy import save_file


def convert(cloud: Path, listed: Path, out: Path) -> int:
    """Writes the masks of a scene; how many. ValueError where a mask is not of the cloud's points."""
    points = np.asarray(o3d.io.read_point_cloud(str(cloud)).points, np.float32)
    masks, scores = [np.zeros((0, len(points)), bool)], []
    for line in filter(None, map(str.split, listed.read_text().splitlines())):
        mask = np.loadtxt(listed.parent / line[0], dtype=np.uint8, ndmin=1)
        if mask.shape != (len(points),):
            raise ValueError(f"{listed.parent / line[0]} has {len(mask)} lines, {cloud} {len(points)} points")
        masks.append(mask[None] > 0)
        scores.append(float(line[2]))
    out.parent.mkdir(parents=True, exist_ok=True)
    save_file({"points": points, "masks": np.concatenate(masks), "scores": np.float32(scores)}, out)
    return len(scores)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name in ("requests", "predictions", "out"):
        parser.add_argument(name, type=Path)
    args = parser.parse_args()
    for cloud in sorted(args.requests.rglob("cloud.ply")):
        place = cloud.parent.relative_to(args.requests)
        listed = args.predictions / f"{'_'.join(place.parts)}.txt"
        if not listed.exists():
            sys.exit(f"{listed} is not there; expected Mask3D's export of {cloud}")
        print(f"{place}: {convert(cloud, listed, args.out / place / 'instances.safetensors')} masks")


if __name__ == "__main__":
    main()
