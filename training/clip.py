# SPDX-License-Identifier: Apache-2.0
"""The paper with any CLIP, in one command: scenes, features, fusion, distillation, calibration and export, tables.

    dropclip train --tower ViT-L-14-336-quickgelu --pretrained openai --scenes S --out runs/clip

Each stage leaves its result and is skipped where that is there; one that was killed goes on. It says first what it
will take, measured on this machine. `dropclip-train` and `python -m training.clip` are the same command.
"""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from dropclip_ros.base.errors import DropclipError
from dropclip_ros.networks.clip import ClipSource, check_said_activation, load_clip, width_of
from dropclip_ros.networks.image import ImageConfig
from dropclip_ros.networks.model_folder import CONFIG
from dropclip_ros.networks.text import TextConfig, TextEncoder
from training.clip_plan import Cost, check_disk, plan_text, scene_options, timed_features, timed_scenes, timed_steps
from training.distill import DistillConfig, read_config
from training.distill.cli import main as distill
from training.evaluate import tables
from training.evaluate.bench import Bench
from training.evaluate.served.calibrate import calibrate_folder
from training.fusion.run import FUSED, SCENES_A_JOB, fuse, open_clip_tower
from training.fusion.targets import fuse_views, save_fused
from training.fusion.view_features import features_path
from training.fusion.weights import ScenePrompts
from training.objects.catalogue import PROCEDURAL, catalogue_of
from training.runs.errors import InputError
from training.runs.recipes import write_config
from training.scenes.description import SceneConfig
from training.scenes.scene import SCENE_FILE
from training.scenes.shards import load_scenes

SPLITS = {"train": "train", "validation": "train", "unseen_instance": "unseen_instance"}  # folders of scenes: objects
STAGES = ("scenes", "features", "fusion", "distillation", "export", "tables")


@dataclass(frozen=True)
class Options:
    """What is learnt from what, and where it goes. Every stage is resumed by the same command.

    Attributes:
        tower: a name of open_clip, hf-hub:REPOSITORY, or a local folder.
        scenes: folder of scenes: train, validation and unseen_instance; what lacks is rendered.
        out: folder for features, checkpoints, tables and `model`, which dropclip and the nodes take.
        pretrained: for a name: a tag, or a checkpoint file.
        activation: what the weights were trained with, where they do not say.
        count: training scenes (the paper: 15,000).
        heldout: scenes of each of the two other folders.
        scene: ranges that scenes are drawn from.
        catalogue: of their objects: "procedural", or a folder of dropclip-mvtod collect or merge.
        config: YAML of the distillation; the paper's by default.
        background: of the masked crops; by the object's mean brightness in the paper.
        processes: of the distillation, by torchrun; one for each GPU.
        workers: that render and embed.
        ray: address of a Ray cluster that renders and embeds, or "local".
        device: of the tower: auto, cpu, cuda or cuda:N.
        table_views: views a scene for the patches of the tables; all by default.
        yes: go on without asking.
        stage: one stage alone.
    """

    tower: str
    scenes: Path
    out: Path
    pretrained: str | None = None
    activation: Literal["quickgelu", "gelu"] | None = None
    count: int = 15000
    heldout: int = 100
    scene: SceneConfig = field(default_factory=SceneConfig)
    catalogue: str = PROCEDURAL
    config: Path | None = None
    background: Literal["black", "gray", "white", "mean"] = "mean"
    processes: int = 1
    workers: int = os.cpu_count() or 1
    ray: str | None = None
    device: str = "auto"
    table_views: int | None = None
    yes: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    stage: Literal["all", "scenes", "features", "fusion", "distillation", "export", "tables"] = "all"


class Training:
    """The stages of one run. Raises InputError or DropclipError, before anything costs time where it can be known."""

    def __init__(self, options: Options) -> None:
        places = {name: getattr(options, name).expanduser().resolve() for name in ("scenes", "out")}
        catalogue = options.catalogue
        if catalogue != PROCEDURAL:
            catalogue = str(Path(catalogue).expanduser().resolve())
        self.options = replace(options, catalogue=catalogue, **places)
        if min(options.count, options.heldout, options.processes, options.workers) < 1:
            raise InputError("count, heldout, processes and workers: expected at least 1")
        source = ClipSource(options.tower, options.pretrained)
        check_said_activation(source, options.activation)
        self.source = source.settled
        self.recipe = self._recipe(width_of(self.source))
        out = self.options.out
        self.features, self.fused, self.model = out / "features", out / FUSED, out / "model"

    def _recipe(self, width: int | None) -> DistillConfig:
        """The distillation's, as wide as the tower."""
        recipe = read_config(self.options.config) if self.options.config else DistillConfig()
        if width is None:
            width = TextEncoder(self.text).channels
        if recipe.feat_dim not in (width, DistillConfig.feat_dim):
            raise InputError(
                f"{self.options.config} has feat_dim {recipe.feat_dim} and {self.options.tower} {width} channels; "
                "leave it out, or name another tower"
            )
        return replace(recipe, feat_dim=width)

    @property
    def text(self) -> TextConfig:
        return TextConfig(self.source.model, self.source.pretrained, self.source.sha256)

    @property
    def tower(self) -> ImageConfig:
        return open_clip_tower(self.source.model, self.source.pretrained)

    def wanted(self, folder: str) -> int:
        return self.options.count if folder == "train" else self.options.heldout

    def lacking(self, folder: str) -> int:
        """Scenes that are still to be rendered; none where there are shards."""
        place = self.options.scenes / folder
        if any(place.glob("*.tar")):
            return 0
        return max(0, self.wanted(folder) - sum(1 for _ in place.glob(f"*/{SCENE_FILE}")))

    def done(self, stage: str) -> bool:
        """Whether a stage has left its result."""
        if stage == "scenes":
            return not any(map(self.lacking, SPLITS))
        if stage == "features":
            return self.fused.exists() or (self.done("scenes") and not self._unembedded())
        results = {
            "fusion": self.fused,
            "distillation": self.options.out / "distill" / "model" / CONFIG,
            "export": self.model / CONFIG,
            "tables": self.options.out / "tables" / "table3.md",
        }
        return results[stage].exists()

    def _unembedded(self) -> int:
        scenes = load_scenes(self.options.scenes / "train")[: self.options.count]
        return sum(not features_path(self.features, scene.name).exists() for scene in scenes)

    def plan(self, todo: Sequence[str]) -> list[Cost]:
        """What those of the stages will take that are not done, each measured on a little of it."""
        options, costs = self.options, []
        views = options.scene.views
        clip = load_clip(self.source) if "features" in todo and not self.done("features") else None  # or says why not
        if "scenes" in todo and not self.done("scenes"):
            lacking = sum(map(self.lacking, SPLITS))
            costs.append(timed_scenes(options.scene, lacking, options.workers, options.catalogue))
        if clip is not None:
            costs.append(timed_features(self.tower, clip, options.device, options.count, views, self.recipe.feat_dim))
        if "distillation" in todo and not self.done("distillation"):
            costs.append(timed_steps(self.recipe, options.count, options.processes))
        return costs

    def run(self, stage: str) -> None:
        steps: dict[str, Callable[[], None]] = {
            "scenes": self._render,
            "features": self._embed,
            "fusion": self._fuse,
            "distillation": self._distil,
            "export": self._export,
            "tables": self._tables,
        }
        steps[stage]()

    def _render(self) -> None:
        """In processes of their own: the LLVMs of OSMesa and of Triton do not share one."""
        for folder, split in SPLITS.items():
            if self.lacking(folder):
                place = self.options.scenes / folder
                said = ["--out", place, "--split", split, "--scenes", self.wanted(folder)]
                said += ["--seed", int(folder == "validation"), "--workers", self.options.workers]
                said += ["--catalogue", self.options.catalogue]
                said += ["--ray", self.options.ray] if self.options.ray else []
                _start("training.mvtod", "generate", *said, *scene_options(self.options.scene))

    def _embed(self) -> None:
        options = self.options
        device = _device(options.device)
        fuse(
            options.scenes / "train",
            self.features,
            tower=self.source.model,
            pretrained=self.source.pretrained,
            background=options.background,
            amp=device != "cpu",
            device=device,
            workers=self._workers(options.count) if device == "cpu" else 1,
            ray=options.ray,
            fused=False,
        )

    def _workers(self, scenes: int) -> int:
        """Processes worth starting for so many scenes."""
        return min(self.options.workers, math.ceil(scenes / SCENES_A_JOB))

    def _fuse(self) -> None:
        """Equation 5: one feature for each object, with the tower that it is of beside it."""
        place = self.options.scenes / "train"
        scenes, specs = load_scenes(place), catalogue_of(place).specs
        text = TextEncoder(self.text, _device(self.options.device))
        fused = fuse_views(self.features, scenes, ScenePrompts(specs, text))
        save_fused(self.fused, scenes, fused, self.tower)
        print(f"{self.fused}: {sum(len(scene.labels) for scene in fused)} objects of {len(scenes)} scenes")

    def _distil(self) -> None:
        options, recipe = self.options, self.options.out / "distill.yaml"
        write_config(recipe, self.recipe)
        said = ["--config", recipe, "--scenes", options.scenes / "train", "--fused", self.fused]
        said += ["--out", options.out / "distill", "--name", options.out.name]
        if options.processes == 1:
            _here("training.distill", distill, *said)
        else:
            launcher = ["--standalone", "--nproc-per-node", options.processes, "-m"]
            _start("torch.distributed.run", *launcher, "training.distill", *said)

    def _export(self) -> None:
        """Calibrated on scenes that were not learnt from; the folder appears whole."""
        part = self.model.with_name("model.part")
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(self.options.out / "distill" / "model", part)
        calibrate_folder(part, self.options.scenes / "validation", device=self.options.device)
        shutil.rmtree(self.model, ignore_errors=True)  # where this stage alone is asked for again
        part.rename(self.model)
        print(f"{self.model}: dropclip ground --model, and the nodes' parameter `model`, take it")

    def _tables(self) -> None:
        """Tables 2 and 3, as `dropclip-eval` makes them."""
        options, out = self.options, self.options.out / "tables"
        bench = Bench(options.scenes, out / "cache", model=self.model, workers=self._workers(options.heldout))
        for make in (tables.table2, tables.table3):
            table = make(bench, options.table_views)
            table.write(out)
            print(table.markdown())


def _device(name: str) -> str:
    import torch

    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name


def _start(module: str, *arguments: object) -> None:
    """A stage in a process of its own. InputError where it ended with an error, which it has said."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    if subprocess.run(command, check=False).returncode:
        raise InputError(f"{module} stopped; the same command goes on where it was")


def _here(module: str, main: Callable[[Sequence[str]], None], *arguments: object) -> None:
    """The same in this process, which has loaded already what the stage needs."""
    try:
        main([*map(str, arguments)])
    except SystemExit as ended:
        if ended.code:
            raise InputError(f"{module} stopped; the same command goes on where it was") from ended


def agreed(training: Training, todo: list[str]) -> bool:
    """Says what the stages will take, and asks where somebody can answer."""
    costs = training.plan(todo)
    print(plan_text(training.options.scene.views, training.options.count, costs), flush=True)
    check_disk(
        {
            training.options.scenes: [cost for cost in costs if cost.stage == "scenes"],
            training.options.out: [cost for cost in costs if cost.stage != "scenes"],
        }
    )
    if training.options.yes or not costs:
        return True
    if not sys.stdin.isatty():
        print("dropclip train: nobody can be asked here; add --yes to go on", file=sys.stderr)
        return False
    return input(f"{', '.join(todo)}: go on? [y/N] ").strip().lower() in ("y", "yes")


def main(args: Sequence[str] | None = None) -> None:
    try:
        training = Training(tyro.cli(Options, prog="dropclip train", description=__doc__, args=args))
        options = training.options
        stages = STAGES if options.stage == "all" else (options.stage,)
        todo = [stage for stage in stages if options.stage != "all" or not training.done(stage)]
        if todo and not agreed(training, todo):
            sys.exit(2)
        options.out.mkdir(parents=True, exist_ok=True)
        for number, stage in enumerate(stages, start=1):
            print(f"{number} of {len(stages)}, {stage}" + ("" if stage in todo else ": done"), flush=True)
            if stage in todo:
                training.run(stage)
    except (InputError, DropclipError, ValueError, OSError) as error:
        print(f"dropclip train: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("dropclip train: stopped; the same command goes on", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
