# SPDX-License-Identifier: Apache-2.0
"""Predictions of systems that do not run here (LSeg, OpenSeg, Mask3D; A.4), read from a folder of their exports.

    dropclip-eval requests --to requests                               # what a system is to be given
    python -m training.evaluate.methods.exported example FOLDER        # a small example of the layout
    python -m training.evaluate.methods.exported check FOLDER --requests requests    # is an export whole and true?

A folder holds one system's predictions, in safetensors files. PLACE is the scene's name, below the name of its split
for MV-TOD (`place_of`); "phrases" is a JSON list of texts in a file's metadata, one for each row of its tensor.

    PLACE/view_05.safetensors    of view 5: features (C,h,w), floats in the space of text.safetensors,
                                 or: scores (Q,h,w), floats, the higher the more alike, with phrases
    text.safetensors             features (Q,C), floats, with phrases; only where views have features
    PLACE/instances.safetensors  of table 5: points (P,3) float m in the scene's world frame, masks (K,P) bool or uint8
                                 over them, scores (K,) float, the higher the surer

Maps cover the whole image at any resolution. `Requests`, run in a method's place, writes what a system is to be given.
docs/evaluation.md has the layout as a table; scripts/export has what fills it with OpenSeg, LSeg and Mask3D.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
import tyro
from safetensors.torch import save_file
from scipy.spatial import cKDTree
from torch.nn.functional import normalize

from dropclip_ros.base import reading
from dropclip_ros.base.reading import parse_json, read_about, read_json
from dropclip_ros.draw import write_ply
from training.evaluate.methods.methods2d import at_pixels, seen
from training.evaluate.methods.proposals import Proposals
from training.evaluate.protocol import ScoreCloud, WeightsAbsent
from training.fusion.clouds import Cloud
from training.runs.errors import InputError
from training.runs.files import write_atomically
from training.scenes.scene import Scene

TEXT, INSTANCES, PHRASES = "text.safetensors", "instances.safetensors", "phrases"
NEAR = 0.01  # m; a point has the masks of the nearest exported point within


def place_of(scene: Scene) -> Path:
    """Where in a folder the files of a scene are: its name, below that of its split, where names would meet."""
    split = getattr(getattr(scene, "source", None), "path", None)
    return Path(Path(split).name if split else "", scene.name)


@dataclass
class ExportedMaps:
    """LSeg, OpenSeg: maps of the cloud's one view, at the pixels of its points.

    Raises WeightsAbsent, in one line, where the folder lacks the view or a phrase, or holds something else.
    """

    folder: Path

    def __call__(self, scene: Scene, cloud: Cloud) -> ScoreCloud:
        image, pixels = seen(scene, cloud)
        path = self.folder / place_of(scene) / f"view_{cloud.views[0]:02d}.safetensors"
        maps, embeddings, phrases = read_maps(path, self)
        scores = at_pixels(maps, pixels, image.size[::-1])
        if embeddings is not None:
            scores, path = normalize(scores, dim=1) @ embeddings.T, self.folder / TEXT
        number = {phrase: k for k, phrase in enumerate(phrases)}

        def score(asked: Sequence[str]) -> torch.Tensor:
            if lacking := sorted(set(asked) - number.keys()):
                raise WeightsAbsent(
                    f"{path} has {len(number)} phrases, but {len(lacking)} of those asked are not among them, as "
                    f"{lacking[0]!r}; export them as well (`Requests` writes what is asked)"
                )
            return scores[:, [number[phrase] for phrase in asked]]

        return ScoreCloud(np.arange(len(cloud)), score)

    @cached_property
    def text(self) -> tuple[torch.Tensor, list[str]]:
        """Unit text features (Q,C) and their phrases."""
        path = self.folder / TEXT
        tensors, phrases = read_tensors(path)
        return normalize(checked(path, tensors, "features", (len(phrases), None)), dim=1), phrases


@dataclass
class ExportedInstances:
    """Mask3D: masks over points of the whole scene, brought to the cloud's points by the nearest neighbour within 1 cm.

    Raises WeightsAbsent, in one line, where the folder lacks the scene, or holds something else.
    """

    folder: Path

    def __call__(self, scene: Scene, cloud: Cloud) -> Proposals:
        points, masks, scores = read_instances(self.folder / place_of(scene) / INSTANCES)
        masks = np.pad(masks, ((0, 0), (0, 1)))  # the last is of points without a neighbour
        distance, nearest = cKDTree(points).query(cloud.points) if len(points) else (np.inf, 0)
        nearest = np.where(distance <= NEAR, nearest, len(points)) * np.ones(len(cloud), np.int64)
        return Proposals(masks[:, nearest], scores)

    def instances(self, scene: Scene, cloud: Cloud) -> tuple[np.ndarray, np.ndarray]:
        """`Proposals.disjoint` of the cloud."""
        return self(scene, cloud).disjoint()


@dataclass
class Requests:
    """A method that answers nothing and writes what a system is to be given, in the places of its export.

    That is the image of a view (PLACE/view_05.png) or the cloud of all (PLACE/cloud.ply, world frame), and, in
    phrases.json of the folder, all that was asked so far.
    """

    folder: Path

    def __call__(self, scene: Scene, cloud: Cloud) -> ScoreCloud:
        place = self.folder / place_of(scene)
        if cloud.pixels is None:
            place.mkdir(parents=True, exist_ok=True)
            colors = np.rint(255 * cloud.colors).astype(np.uint8)
            write_ply(place / "cloud.ply", cloud.points, colors, np.zeros(len(cloud), np.float32))
        else:
            with write_atomically(place / f"view_{cloud.views[0]:02d}.png", replace=True) as part:
                seen(scene, cloud)[0].save(part, format="png")

        def score(phrases: Sequence[str]) -> torch.Tensor:
            self._note(phrases)
            return torch.zeros(len(cloud), len(phrases))

        return ScoreCloud(np.arange(len(cloud)), score)

    def _note(self, phrases: Sequence[str]) -> None:
        path = self.folder / "phrases.json"
        known = _phrases(path) if path.exists() else []
        if new := [phrase for phrase in dict.fromkeys(phrases) if phrase not in set(known)]:
            with write_atomically(path, replace=True) as part:
                part.write_text(json.dumps(known + new, indent=1, ensure_ascii=False) + "\n")


def _phrases(path: Path) -> list[str]:
    """A JSON list of texts. Raises InputError."""
    try:
        found = read_json(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error}); ask for the requests again") from error
    if not isinstance(found, list) or not all(isinstance(phrase, str) for phrase in found):
        raise InputError(f"{path}: expected a JSON list of texts; ask for the requests again")
    return found


def read_tensors(path: Path) -> tuple[dict[str, torch.Tensor], list[str]]:
    """Tensors and phrases of a file. Raises WeightsAbsent where it is not there or not whole."""
    if not path.is_file():
        raise WeightsAbsent(
            f"{path} is not there; export it (python -m training.evaluate.methods.exported shows the layout)"
        )
    try:
        tensors, phrases = reading.read_tensors(path), parse_json(read_about(path).get(PHRASES, "[]"))
    except OSError as error:
        raise WeightsAbsent(f"{path} is no whole safetensors file ({error}); export it again") from error
    if not isinstance(phrases, list) or not all(isinstance(phrase, str) for phrase in phrases):
        raise WeightsAbsent(f"{path}: expected {PHRASES} in its metadata to be a JSON list of texts; export it again")
    return tensors, phrases


def read_maps(path: Path, of: ExportedMaps) -> tuple[torch.Tensor, torch.Tensor | None, list[str]]:
    """Maps of a view: features (C,h,w) with the text's (Q,C), or scores (Q,h,w) with None; and Q phrases."""
    tensors, phrases = read_tensors(path)
    if "features" not in tensors:
        return checked(path, tensors, "scores", (len(phrases), None, None)), None, phrases
    embeddings, phrases = of.text
    return checked(path, tensors, "features", (embeddings.shape[1], None, None)), embeddings, phrases


def read_instances(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points (P,3) m, masks (K,P) bool, scores (K,)."""
    tensors, _ = read_tensors(path)
    points = checked(path, tensors, "points", (None, 3)).numpy()
    masks = checked(path, tensors, "masks", (None, len(points))).bool().numpy()
    return points, masks, checked(path, tensors, "scores", (len(masks),)).numpy()


def checked(path: Path, tensors: Mapping[str, torch.Tensor], name: str, shape: Sequence[int | None]) -> torch.Tensor:
    """A tensor as float32 where it is there in that shape (None: any) and finite; else WeightsAbsent."""
    expected = ", ".join("any" if side is None else str(side) for side in shape)
    found = tensors.get(name)
    if found is None:
        what = f"has no {name} (it has {', '.join(sorted(tensors)) or 'nothing'})"
    elif found.ndim != len(shape) or any(side not in (None, got) for side, got in zip(shape, found.shape, strict=True)):
        what = f"has {name} of the shape {tuple(found.shape)}"
    elif not found.isfinite().all():
        what = f"has {name} that are not all finite"
    else:
        return found.float()
    raise WeightsAbsent(f"{path} {what}; expected shape ({expected}), export it again")


VIEW = re.compile(r"view_\d\d+\.safetensors")


def problems_of(folder: Path, requests: Path | None = None) -> list[str]:
    """What is wrong with a folder of one system's predictions, a sentence each; empty: nothing.

    requests: what `Requests` wrote: whatever of it has no answer is named too, by the kind that the folder holds.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    found = [] if files else [f"{folder} holds no file; export predictions into it"]
    for path in files:
        try:
            _check_file(folder, path)
        except WeightsAbsent as problem:
            found.append(str(problem))
    return found if found or requests is None else _unanswered(folder, requests)


def _check_file(folder: Path, path: Path) -> None:
    """Raises WeightsAbsent, in one line, where a file is none of the layout or not as it says."""
    if path == folder / TEXT:
        _ = ExportedMaps(folder).text
    elif path.name == INSTANCES:
        read_instances(path)
    elif VIEW.fullmatch(path.name):
        read_maps(path, ExportedMaps(folder))
    else:
        raise WeightsAbsent(f"{path} has no place in the layout; expected {TEXT}, {INSTANCES} or view_05.safetensors")


def _unanswered(folder: Path, requests: Path) -> list[str]:
    """What was asked for and is not there: maps of the views, where there is one map, else instances of the clouds."""
    maps = any(VIEW.fullmatch(path.name) for path in folder.rglob("*.safetensors"))
    asked = [path.with_suffix(".safetensors") for path in requests.rglob("view_*.png")]
    if not maps:
        asked = [path.with_name(INSTANCES) for path in requests.rglob("cloud.ply")]
    wanted = sorted(path.relative_to(requests) for path in asked)
    found = [
        f"{folder / place} is not there, though it was asked for" for place in wanted if not (folder / place).exists()
    ]
    if maps and not found and (requests / "phrases.json").exists():
        phrases = set(_phrases(requests / "phrases.json"))
        for place in wanted:
            _, _, known = read_maps(folder / place, ExportedMaps(folder))
            if lacking := sorted(phrases - set(known)):
                found.append(f"{folder / place} lacks {len(lacking)} of the phrases, as {lacking[0]!r}")
    return found


def write_example(folder: Path) -> Iterator[Path]:
    """Writes a folder of each kind with random predictions for one scene, and yields its files."""
    torch.manual_seed(0)
    phrases = {PHRASES: json.dumps(["mug", "red mug", "something to drink from"])}
    place = Path("unseen_instance", "scene_00000")
    files = {
        Path("lseg", TEXT): ({"features": torch.randn(3, 512)}, phrases),
        "lseg" / place / "view_05.safetensors": ({"features": torch.randn(512, 60, 80).half()}, None),
        "openseg" / place / "view_05.safetensors": ({"scores": torch.rand(3, 120, 160).half()}, phrases),
        "mask3d" / place / INSTANCES: (
            {"points": torch.rand(100, 3), "masks": torch.rand(4, 100) > 0.8, "scores": torch.rand(4)},
            None,
        ),
    }
    for name, (tensors, metadata) in files.items():
        with write_atomically(folder / name) as part:
            save_file(tensors, part, metadata)
        yield folder / name


def check(folder: tyro.conf.Positional[Path], requests: Path | None = None) -> None:
    """Says what is wrong with exported predictions, and ends with code 2 where something is.

    folder: of one system; requests: what was asked for, of dropclip-eval requests.
    """
    if problems := problems_of(folder, requests):
        print("\n".join(problems), file=sys.stderr)
        sys.exit(2)
    print(f"{folder}: {sum(1 for _ in folder.rglob('*.safetensors'))} files, nothing wrong")


def example(folder: tyro.conf.Positional[Path]) -> None:
    """Writes a small example of exported predictions.

    folder: where to; files that are there already are not replaced.
    """
    for path in write_example(folder):
        tensors, about = reading.read_tensors(path), read_about(path)
        shapes = ", ".join(f"{name} {tuple(tensor.shape)} {tensor.dtype}" for name, tensor in tensors.items())
        print(f"{path}: {shapes}; {about or 'no metadata'}")


if __name__ == "__main__":
    try:
        tyro.extras.subcommand_cli_from_dict({"example": example, "check": check})
    except InputError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
