# SPDX-License-Identifier: Apache-2.0
"""More named real frames, which choose beside those of ../shared/named: `more.json` has what is on them, marked by eye.

    python -m training.names.more --data ../shared/data --clones CLONES --out MORE

CLONES: bare clones OWNER+NAME/repo of NVlabs/UnseenObjectClustering and graspnet/graspnet-baseline. MORE gets a folder
a frame, as `frames` reads them. The pictures are never committed: some of their sources allow research only.
"""

from __future__ import annotations

import io
import json
import subprocess
from pathlib import Path

import numpy as np
import tyro
from PIL import Image

MARKED = Path(__file__).with_name("more.json")


def _file(frame: dict, what: str, data: Path, clones: Path) -> io.BytesIO:
    if "repository" not in frame:
        return io.BytesIO((data / frame[what]).read_bytes())
    git = ["git", "--git-dir", str(clones / frame["repository"].replace("/", "+") / "repo")]
    return io.BytesIO(subprocess.run([*git, "show", f"HEAD:{frame[what]}"], capture_output=True, check=True).stdout)


def main(data: Path, clones: Path, out: Path) -> None:
    """data: ../shared/data."""
    for name, frame in json.loads(MARKED.read_text()).items():
        folder = out / name
        folder.mkdir(parents=True, exist_ok=True)
        color = Image.open(_file(frame, "color", data, clones)).convert("RGB")
        color.save(folder / "color.png")
        file = _file(frame, "depth", data, clones)
        depth = np.load(file) if frame["depth"].endswith(".npy") else np.asarray(Image.open(file))
        millimetres = np.nan_to_num(depth.astype(float) * frame["mm"]).clip(0, 65535)
        Image.fromarray(millimetres.astype(np.uint16)).save(folder / "depth.png")
        camera = dict(zip(("fx", "fy", "cx", "cy"), frame["k"], strict=True))
        (folder / "k.json").write_text(json.dumps(camera | {"width": color.width, "height": color.height}))
        marked = [{"name": said, "family": family, "uv": [u, v]} for said, family, u, v in frame["objects"]]
        (folder / "objects.json").write_text(json.dumps(marked))


if __name__ == "__main__":
    tyro.cli(main)
