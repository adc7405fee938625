# SPDX-License-Identifier: Apache-2.0
"""Real frames with named objects: does a name find the object that has it?

    python -m benchmarks.path.real_frames [--data ../shared/data/rgbd] [--model FOLDER ...] [--out out/real]

`hggd`: one cluttered tabletop, for each name one pixel inside the object that bears it. first: the best of all
instances holds that pixel; answer: it is among the points of the answer, at the model's own threshold. A pixel may be
10 px off: what counts is the instance that most pixels around it show. `6dof_graspnet`: one object a frame, named by
its file: the rank of its name among all files' names. Prints a row for each name and model; with --out, a picture of
each answer.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tyro
from PIL import Image

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.commands.answers import mask_image
from dropclip_ros.draw import Shown, draw_result
from dropclip_ros.grounding.pipeline import EncodedScene, Grounder, GroundResult
from dropclip_ros.vision.geometry import Intrinsics, RgbdFrame, decode_depth

DATA = Path("../shared/data/rgbd")
HGGD_K = (927.17, 927.37, 651.32, 349.62)  # README of the data
NEAR = 10  # px, that a marked pixel may be off
# As a person would say what points.json describes.
SAID = {
    "toothpaste box": "the toothpaste box",
    "toothpaste tube": "the toothpaste",
    "scissors": "the scissors",
    "shampoo/conditioner tube (Pantene)": "the shampoo bottle",
    "strawberry": "the strawberry",
    "grey animal toy": "the grey animal toy",
    "brown camel/animal toy": "the brown animal toy",
    "screwdriver": "the screwdriver",
    "blue cap/key (upper)": "the blue cap",
    "blue cap/key (lower)": "the blue cap",
}
FILES = {
    "blue_mug": "blue mug",
    "cheezit": "cracker box",
    "cylinder": "cylinder",
    "green_bowl": "green bowl",
    "mustard": "mustard bottle",
    "pepper": "bell pepper",
    "red_mug": "red mug",
    "sugar": "sugar box",
    "white_bowl": "white bowl",
    "white_mug": "white mug",
}


def hggd_frame(data: Path) -> tuple[RgbdFrame, list[tuple[str, tuple[int, int]]]]:
    """The frame, and names with the pixel (u, v) of each."""
    color, depth = (np.array(Image.open(data / "hggd" / f"demo_{what}.png")) for what in ("rgb", "depth"))
    marked = json.loads((data / "hggd" / "points.json").read_text())["objects"]
    intrinsics = Intrinsics(*HGGD_K, color.shape[1], color.shape[0])
    frame = RgbdFrame(color[..., :3], decode_depth(depth, "mm"), intrinsics)
    return frame, [(each["name"], tuple(each["uv"])) for each in marked]


def single_frames(data: Path) -> Iterator[tuple[str, RgbdFrame]]:
    """Name and frame of each file of 6dof_graspnet."""
    for path in sorted((data / "6dof_graspnet").glob("*.npz")):
        with np.load(path, allow_pickle=False) as kept:
            depth, image, k = kept["depth"], kept["image"], kept["intrinsics_matrix"]
        intrinsics = Intrinsics.from_matrix(k, *depth.shape[::-1])
        yield path.stem, RgbdFrame(image, np.nan_to_num(depth).astype(np.float32), intrinsics)


def instance_at(instances: np.ndarray, u: int, v: int) -> int:
    """The instance that most pixels around (u, v) show in an image (H,W) of them; 0 where none is near."""
    around = instances[max(0, v - NEAR) : v + NEAR + 1, max(0, u - NEAR) : u + NEAR + 1]
    return int(np.argmax(np.bincount(around[around > 0], minlength=1)))


def clutter(grounder: Grounder, data: Path, out: Path | None) -> list[tuple[str, str, str]]:
    """(name, first, answer) of each marked object."""
    frame, marked = hggd_frame(data)
    scene = grounder.encode(frame)
    of_point = Grounder.instances(scene)
    instances = scene.image(of_point)
    rows = []
    for name, (u, v) in marked:
        query = SAID.get(name, name)
        wanted, found = instance_at(instances, u, v), grounder.ground(scene, query)
        best = of_point[found.scores.argmax()]
        first = "no instance" if not wanted else "yes" if wanted == best else "no"
        answered = {int(label) for each in found.objects for label in of_point[each.points]} - {0}
        rows.append((query, first, "yes" if wanted in answered else found.status.name if not answered else "other"))
        if out:
            picture = out / f"{re.sub('[^a-z]+', '_', name.lower())}.png"
            draw(frame, scene, found, picture, query)
    return rows


def draw(frame: RgbdFrame, scene: EncodedScene, found: GroundResult, path: Path, query: str) -> None:
    drawn = draw_result(
        frame.rgb,
        frame.intrinsics,
        scene.image(found.scores, np.nan),
        [Shown(mask_image(scene, each) > 0, each.score, each.doubtful) for each in found.objects],
        title=f"{query}: {found.status.name}",
        threshold=found.threshold,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(drawn).save(path)


def main(data: Path = DATA, model: tuple[Path, ...] = (), out: Path | None = None) -> None:
    """model: folders to compare; none: the shipped one."""
    for folder in model or (None,):
        grounder = Grounder.from_pretrained(folder)
        name = folder.name if folder else "shipped"
        rows = clutter(grounder, data, out and out / name)
        print(
            f"{name}, hggd: best instance right {sum(r[1] == 'yes' for r in rows)} of {len(rows)}, "
            f"answered {sum(r[2] == 'yes' for r in rows)}"
        )
        for row in rows:
            print("  {:28} first {:12} answer {}".format(*row))
        ranks = {}
        for file, frame in single_frames(data):
            try:
                scene = grounder.encode(frame)
            except DropclipError as error:
                ranks[file] = Status(error.status).name
                continue
            best = [grounder.ground(scene, f"the {phrase}").scores.max() for phrase in FILES.values()]
            own = best[list(FILES).index(file)]
            ranks[file] = 1 + sum(bool(score > own) for score in best)
        numbers = [rank for rank in ranks.values() if isinstance(rank, int)]
        print(f"{name}, 6dof_graspnet: rank of the own name among {len(FILES)}: mean {np.mean(numbers):.1f}; {ranks}")


if __name__ == "__main__":
    tyro.cli(main)
