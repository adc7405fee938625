# SPDX-License-Identifier: Apache-2.0
"""The command `dropclip-trials`: plays the paper's robot trials over ROS 2 (section 4.4, A.7), and reports them."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from dropclip_ros.base.errors import DropclipError
from training.objects.catalogue import PROCEDURAL
from training.objects.spec import UNSEEN_INSTANCE
from training.objects.words.phrases import FAMILIES
from training.runs.errors import InputError
from training.scenes.description import CLUTTER
from training.trials.presets import Name
from training.trials.protocol import Protocol
from training.trials.report import write_report

GRIPPER = "parallel_140"  # the embedded workcell's
PROPOSERS = {"antipodal": "proposal_node", "hggd": "hggd_node"}


@dataclass(frozen=True)
class Options:
    """Plays trials that are not in the CSV yet; the same command goes on where it was stopped.

    Attributes:
        out: CSV of the trials, a row each; several set-ups may share it.
        trials: of each clutter level.
        clutter: levels.
        families: of phrases; they take turns.
        wording: phrases that training knew, or other wording.
        split: of the objects.
        catalogue: "procedural", or a folder with catalogue.json.
        min_objects: on the table.
        max_objects: on the table.
        seed: of scenes and phrases.
        proposals: antipodal or hggd run that node; true: grasps that are known to hold.
        grounding: by the model with the picture of each object, as it ships (use_image), without, or true masks.
        preset: shipped: the nodes as they ship. replies: and a question back is answered. told: they know the other
            categories on the table, and something always answers. a7, release: as in the paper's robot experiments, and
            by the scoring of its release's code.
        attempts: how often a phrase may be asked, the first time included; again after a slip. 0: as the preset has it.
        clear: put away what lies on the target or in the way, where no grasp reaches it or the best will hardly lift it
            alone; each time takes one of the attempts.
        hold: seconds that a lifted object must stay up after `pick` has ended (the embedded cell's waits by itself).
        gifs: folder for a GIF of each trial.
        model: folder of the model; "" for the one shipped.
        hggd: checkpoint of the grasp detector; "" for the one shipped.
        running: all nodes run already (trials.launch.py, gazebo_trials.launch.py), in this ROS domain.
        timeout: seconds that a call may take.
        real: on a real arm whose nodes run: a person lays the objects of `phrases` and marks what was found and lifted;
            what is said of scenes above does not hold then.
        phrases: file with a line a real trial: clutter; family; phrase; target.
    """

    out: Path = Path("runs/trials/trials.csv")
    trials: int = 50
    clutter: tuple[str, ...] = CLUTTER
    families: tuple[str, ...] = FAMILIES
    wording: Literal["training", "heldout"] = "training"
    split: str = UNSEEN_INSTANCE
    catalogue: str = PROCEDURAL
    min_objects: int = 5
    max_objects: int = 12
    seed: int = 0
    proposals: Literal["antipodal", "hggd", "true"] = "antipodal"
    grounding: Literal["image", "model", "true"] = "image"
    preset: Name = "shipped"
    attempts: int = 0
    clear: bool = False
    hold: float = 0.0
    gifs: Path | None = None
    model: str = ""
    hggd: str = ""
    running: bool = False
    timeout: float = 180.0
    real: bool = False
    phrases: Path | None = None

    @property
    def protocol(self) -> Protocol:
        return Protocol(
            self.seed,
            self.split,
            self.clutter,
            self.families,
            self.wording,
            self.min_objects,
            self.max_objects,
            self.catalogue,
        )

    def nodes(self) -> dict[str, list[str]]:
        """Nodes of this set-up with their parameters, as `running` starts them."""
        world, gripper = "world_frame:=world", f"gripper:={GRIPPER}"
        found = {
            "training.workcell.node": [f"catalogue:='{self.catalogue}'"],
            "grasp_matcher_node": [world, gripper, f"ground_timeout:={self.timeout:.1f}"],
        }
        if self.grounding != "true":
            image = f"use_image:={str(self.grounding == 'image').lower()}"
            found["grounding_node"] = [world, "reliable:=true", image, f"model:='{self.model}'"]
        if proposer := PROPOSERS.get(self.proposals):
            found[proposer] = ["reliable:=true", "max_rate:=0.5", gripper]
            if self.hggd and self.proposals == "hggd":
                found[proposer].append(f"weights:='{self.hggd}'")
        return found


def run(options: Options) -> None:
    """Plays trials and writes a row each."""
    from training.trials.results import ResultFile
    from training.trials.runner import Runner, Setup

    if options.real:
        run_real(options)
        return
    if options.trials < 1:
        raise InputError(f"trials {options.trials}: expected at least 1")
    setup = Setup(
        options.protocol,
        options.proposals,
        options.grounding,
        options.preset,
        options.attempts,
        options.clear,
        hold=options.hold,
    )
    file = ResultFile(options.out)
    try:
        with _client(options) as client:
            client.wait_for_servers(setup.servers, 120.0)
            for result in Runner(client, setup).run(file, options.trials, options.gifs):
                outcome = "grasped" if result.success else f"{result.reason}: {result.message}"
                asked = f'{result.clutter} {result.number} "{result.phrase}" ({result.family})'
                times = f"{result.seconds_to_pose:.1f} s to poses, {result.seconds:.1f} s"
                print(f"{asked}, IoU {result.iou:.2f}, {times}: {outcome}", flush=True)
    except KeyboardInterrupt:
        print(f"stopped; the same command goes on from {options.out}")
    finally:
        file.close()


def run_real(options: Options) -> None:
    """Trials on a real table, marked by hand; a row each."""
    from dropclip_ros.client import Client
    from training.trials.real import RealRunner, keyboard, read_phrases
    from training.trials.results import ResultFile

    if options.phrases is None:
        raise InputError("real trials need phrases: name a file with a line a trial: clutter; family; phrase; target")
    phrases, file = read_phrases(options.phrases), ResultFile(options.out)
    try:
        with Client(timeout=options.timeout) as client:
            for result in RealRunner(client, keyboard, print, options.proposals).run(phrases, file):
                outcome = "grasped" if result.success else f"{result.reason}: {result.message}"
                print(f'{result.clutter} {result.number} "{result.phrase}": {outcome}', flush=True)
    except KeyboardInterrupt:
        print(f"stopped; the same command goes on from {options.out}")
    finally:
        file.close()


@contextmanager
def _client(options: Options):
    """A client of nodes that run already, or of those that this starts and ends."""
    from dropclip_ros.ros.launcher import running, served
    from training.trials.client import TrialClient

    if options.running:
        with served(lambda: TrialClient(options.timeout)) as client:
            yield client
        return
    with running(options.nodes(), lambda _: TrialClient(options.timeout)) as (_, client):
        yield client


def report(files: tuple[Path, ...] = (Path("runs/trials/trials.csv"),), out: Path = Path("runs/trials/report")) -> None:
    """Grounding and success by clutter and by family, with intervals, beside the paper's.

    Args:
        files: CSVs of `run`.
        out: the report, without suffix: .md and .json are written.
    """
    write_report(files, out)


def main() -> None:
    code = 0
    try:
        tyro.extras.subcommand_cli_from_dict(
            {"run": run, "report": report},
            prog="dropclip-trials",
            description=__doc__,
            config=(tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes),
        )
    except (InputError, DropclipError) as error:
        print(f"dropclip-trials: {error}", file=sys.stderr)
        code = 2
    except ModuleNotFoundError as error:
        if error.name not in ("rclpy", "dropclip_ros.action"):
            raise
        print(
            "dropclip-trials: ROS 2 is not here: expected rclpy and the package's interfaces; run `make setup`, or "
            "source the workspace that colcon built",
            file=sys.stderr,
        )
        code = 2
    sys.stdout.flush()
    sys.stderr.flush()
    if "rclpy" in sys.modules:
        os._exit(code)  # rclpy's threads may still wait on the wire
    sys.exit(code)


if __name__ == "__main__":
    main()
