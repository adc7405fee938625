# SPDX-License-Identifier: Apache-2.0
"""The command `dropclip-eval`: the paper's tables and figures, made again on our data or on theirs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from training.evaluate import tables_transfer
from training.evaluate.bench import Bench
from training.evaluate.methods.exported import Requests
from training.evaluate.ovs3d import evaluate
from training.evaluate.report import ReportTable
from training.ovs3d.config import SMALL, read_config
from training.ovs3d.segment import load_towers
from training.runs.checkpoint import CheckpointError
from training.runs.errors import in_a_line
from training.runs.factories import Factories, factory
from training.runs.files import alone


@dataclass(frozen=True)
class Options:
    """What is evaluated, and where results go.

    Attributes:
        scenes: folder with a folder of scenes for each split, "validation" among them (known instances, to calibrate).
        out: folder for NAME.csv, NAME.md and NAME.png.
        cache: folder that keeps features and clouds.
        split: the scenes that are evaluated.
        model: model folder; the shipped one by default.
        which: phrases that training knew, or other wording.
        limit: scenes of the split; all by default.
        validation: scenes to calibrate on; all by default.
        views: of a scene, for patches and for crops shown in many ways; all by default.
        workers: processes that embed crops.
        exported: folder of predictions of other systems.
        seed: of questions and views.
        extractor: of patch features (training.fusion.dense.EXTRACTORS).
        mix: families of phrases as often as in the paper's data (table 6), instead of one phrase of each an object.
    """

    scenes: Path = Path("runs/eval/scenes")
    out: Path = Path("out/eval")
    cache: Path = Path("runs/eval")
    split: str = "unseen_instance"
    model: Path | None = None
    which: Literal["training", "heldout"] = "training"
    limit: int | None = None
    validation: int | None = None
    views: int | None = None
    workers: int = 2
    exported: Path = Path("exported")
    seed: int = 0
    extractor: str = "maskclip"
    mix: bool = False

    def bench(self) -> Bench:
        sizes = {"limit": self.limit, "validation": self.validation, "workers": self.workers}
        return Bench(
            self.scenes,
            self.cache,
            self.split,
            self.model,
            which=self.which,
            seed=self.seed,
            exported=self.exported,
            extractor=self.extractor,
            mix=self.mix,
            **sizes,
        )


def written(table: ReportTable, options: Options) -> None:
    table.write(options.out)
    print(table.markdown())


def table4(options: Options, data: Path | None = None) -> None:
    """Zero-shot semantic segmentation of single views.

    Args:
        data: folder of OCID-VLG; without it MV-TOD's unseen categories stand in.
    """
    written(tables_transfer.table4(options.bench(), data), options)


def table5(options: Options, osd: Path | None = None, ocid_vlg: Path | None = None) -> None:
    """Instances from features: DBSCAN and HDBSCAN, with and without coordinates, and the package's own.

    Args:
        osd: folder of OSD, for real scenes as well.
        ocid_vlg: folder of OCID-VLG.
    """
    written(tables_transfer.table5(options.bench(), osd, ocid_vlg), options)


def table11(options: Options, ocid_vlg: Path | None = None, regrad: Path | None = None) -> None:
    """Zero-shot referring segmentation of single views.

    Args:
        ocid_vlg: folder of OCID-VLG.
        regrad: folder of REGRAD.
    """
    written(tables_transfer.table11(options.bench(), ocid_vlg, regrad), options)


def table12(options: Options, lerf: Path | None = None, scene: str = "teatime") -> None:
    """Localisation and segmentation of LERF's phrases.

    Args:
        lerf: folder of LERF's localisation set, depth beside its images.
        scene: which of its scenes.
    """
    written(tables_transfer.table12(options.bench(), lerf, scene), options)


def data(options: Options, reader: str, folder: Path, known: Path | None = None) -> None:
    """Referring and semantic segmentation of single views of any data set that has a reader.

    Args:
        reader: name of the reader, of training.evaluate.data.READERS.
        folder: the data set.
        known: another part of it to calibrate on; the same by default.
    """
    written(tables_transfer.data_set(options.bench(), reader, folder, known), options)


def requests(options: Options, to: Path = Path("requests")) -> None:
    """What systems that do not run here are to be given for tables 3 and 5: images, clouds, phrases.

    Args:
        to: folder; scripts/export has what answers with OpenSeg, LSeg and Mask3D.
    """
    bench, asked = options.bench(), {"": Requests(to)}
    bench.referring(asked, single=True)
    bench.referring(asked)
    print(f"{to}: {sum(1 for _ in to.rglob('view_*.png'))} images, {sum(1 for _ in to.rglob('cloud.ply'))} clouds")


def ovs3d(options: Options, config: Path = SMALL, tower: str | None = None, pretrained: str | None = None) -> None:
    """3D-OVS and its ablations beside fused patches and DROP-CLIP; goes on where it was stopped.

    Args:
        config: YAML of training.ovs3d.
        tower: a model of open_clip, instead of the model folder's image tower.
        pretrained: its tag, or a file.
    """
    towers = load_towers(options.model, tower, pretrained)
    written(evaluate(options.bench(), read_config(config), options.out, towers), options)


def on_mvtod(make: Callable[[Bench, int | None], ReportTable]) -> Callable[[Options], None]:
    """The command of a table that is made of MV-TOD scenes."""

    def command(options: Options) -> None:
        written(make(options.bench(), options.views), options)

    command.__doc__ = make.__doc__
    return command


MVTOD: Factories = {  # tables that are made of MV-TOD scenes: functions of a Bench and how many views
    "table2": ("training.evaluate.tables", "table2"),
    "table3": ("training.evaluate.tables", "table3"),
    "student": ("training.evaluate.tables", "student"),
    "table8": ("training.evaluate.tables", "table8"),
    "table9": ("training.evaluate.tables", "table9"),
    "table10": ("training.evaluate.tables", "table10"),
    "figure5": ("training.evaluate.tables", "figure5"),
    "figure6": ("training.evaluate.tables", "figure6"),
}
COMMANDS = {name: on_mvtod(factory(MVTOD, name, "table")) for name in MVTOD} | {
    "table4": table4,
    "table5": table5,
    "table11": table11,
    "table12": table12,
    "data": data,
    "requests": requests,
    "ovs3d": ovs3d,
}
COMMANDS = {name: alone(command) for name, command in COMMANDS.items()}


def main() -> None:
    with in_a_line("dropclip-eval", CheckpointError):
        tyro.extras.subcommand_cli_from_dict(
            COMMANDS, prog="dropclip-eval", description=__doc__, config=(tyro.conf.OmitArgPrefixes,)
        )


if __name__ == "__main__":
    main()
