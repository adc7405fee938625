# SPDX-License-Identifier: Apache-2.0
"""More named real frames, which choose beside those of ../shared/named: `more.json` has what is on them, marked by eye.

    python -m training.names.more --data ../shared/data --clones CLONES --out MORE

CLONES: bare clones OWNER+NAME/repo of NVlabs/UnseenObjectClustering and graspnet/graspnet-baseline. MORE gets a folder
a frame, as `frames` reads them. The pictures are never committed: some of their sources allow research only.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import tyro
from PIL import Image

from dropclip_ros.base.reading import decode_image, read_array, read_image, read_json

MARKED = Path(__file__).with_name("more.json")


def _pixels(frame: dict, what: str, data: Path, clones: Path) -> np.ndarray:
    path = frame[what]
    if "repository" in frame:
        git = ["git", "--git-dir", str(clones / frame["repository"].replace("/", "+") / "repo")]
        content = subprocess.run([*git, "show", f"HEAD:{path}"], capture_output=True, check=True).stdout
        return np.asarray(decode_image(content, path))
    return read_array(data / path) if path.endswith(".npy") else np.asarray(read_image(data / path))


def main(data: Path, clones: Path, out: Path) -> None:
    """data: ../shared/data."""
    for name, frame in read_json(MARKED).items():
        folder = out / name
        folder.mkdir(parents=True, exist_ok=True)
        color = Image.fromarray(_pixels(frame, "color", data, clones)[..., :3])
        color.save(folder / "color.png")
        depth = _pixels(frame, "depth", data, clones)
        millimetres = np.nan_to_num(depth.astype(float) * frame["mm"]).clip(0, 65535)
        Image.fromarray(millimetres.astype(np.uint16)).save(folder / "depth.png")
        camera = dict(zip(("fx", "fy", "cx", "cy"), frame["k"], strict=True))
        (folder / "k.json").write_text(json.dumps(camera | {"width": color.width, "height": color.height}))
        marked = [{"name": said, "family": family, "uv": [u, v]} for said, family, u, v in frame["objects"]]
        (folder / "objects.json").write_text(json.dumps(marked))


if __name__ == "__main__":
    tyro.cli(main)
