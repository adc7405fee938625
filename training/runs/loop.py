# SPDX-License-Identifier: Apache-2.0
"""The training loop. A run that was stopped and goes on ends with what an undisturbed run does.

with training_loop("hggd", config.steps, {"networks": networks, "optimizer": optimizer}, out / "checkpoint.pt") as loop:
    for step in loop:
        loop.finish(step, one_step(networks, optimizer, step))
"""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from training.runs.checkpoint import load_checkpoint, save_checkpoint
from training.runs.errors import InputError
from training.runs.files import lock_folder
from training.runs.log import Log

Values = Mapping[str, float]


@dataclass(kw_only=True)
class Schedule:
    """When a loop saves, logs and validates, in steps; it also does so after the last step."""

    save_every: int = 100
    log_every: int = 1  # 0: no losses.jsonl
    validate_every: int = 100
    validate: Callable[[], Values] | None = None  # its numbers go to the log as val/NAME


@dataclass
class TrainingLoop:
    """Made by `training_loop`. Iterating gives the numbers of the steps that are left."""

    name: str
    steps: int
    parts: Mapping[str, Any]
    checkpoint: Path | None
    made_of: Mapping[str, Any]
    schedule: Schedule
    advice: str
    first: bool
    start: int  # the step that comes next: 0 where there is no checkpoint
    log: Log
    asked_to_stop: threading.Event
    found: dict[str, float] = field(init=False, default_factory=dict)  # by the last validation
    _bar: Any = field(init=False, default=None)

    def __iter__(self) -> Iterator[int]:
        numbers = range(self.start, self.steps)
        self._bar = tqdm(numbers, self.name, self.steps, initial=self.start, mininterval=5, disable=not self.first)
        yield from self._bar

    def finish(
        self,
        step: int,
        losses: Values,
        also: Values | None = None,
        shown: Mapping[str, str] | None = None,
        advice: Callable[[], str] | None = None,
    ) -> None:
        """Ends a step: shows it, and logs, saves and validates where it is time.

        also: goes to the log with the losses. shown: beside the progress bar, instead of the losses. advice: called
        where a loss is not finite, instead of the loop's own. Raises InputError where a loss is not finite (the
        checkpoint is of before), KeyboardInterrupt where a signal came (the checkpoint is of this step).
        """
        if not all(math.isfinite(loss) for loss in losses.values()):
            what = ", ".join(f"{name} {loss:.4g}" for name, loss in losses.items())
            raise InputError(f"step {step}: {what}: not finite; {advice() if advice else self.advice}")
        plan, stop = self.schedule, self.asked_to_stop.is_set()
        shown = {name: f"{loss:.3f}" for name, loss in losses.items()} if shown is None else shown
        self._bar.set_postfix(shown, refresh=False)
        if plan.log_every and (step % plan.log_every == 0 or step + 1 == self.steps):
            self.log.write(step, {**losses, **(also or {})})
        if self.first and self.checkpoint is not None and (stop or self._due(step, plan.save_every)):
            save_checkpoint(self.checkpoint, step + 1, self.made_of, **self.parts)
        if self.first and plan.validate is not None and self._due(step, plan.validate_every):
            self.found = dict(plan.validate())
            self.log.write(step, {f"val/{name}": value for name, value in self.found.items()})
        if stop:
            raise KeyboardInterrupt

    def _due(self, step: int, every: int) -> bool:
        return (step + 1) % every == 0 or step + 1 == self.steps


@contextmanager
def training_loop(
    name: str,
    steps: int,
    parts: Mapping[str, Any],
    checkpoint: Path | None = None,
    made_of: Mapping[str, Any] | None = None,
    schedule: Schedule | None = None,
    advice: str = "lower the learning rate",
    rank: int = 0,
    processes: int = 1,
    tensorboard: bool = False,
) -> Iterator[TrainingLoop]:
    """A loop over the steps that `checkpoint` leaves, with its folder locked and its log open.

    parts: what has a state dict, restored here. made_of: what a run must have in common with the checkpoint that it
    goes on from. rank, processes: of several that train together, the first writes. Losses go to losses.jsonl beside
    the checkpoint. The first SIGINT or SIGTERM to a lone process ends the loop after the step at hand, saved; the
    second acts at once. Raises InputError where another run is at work in the folder, CheckpointError where the
    checkpoint is of another run.
    """
    schedule, first = schedule or Schedule(), rank == 0
    folder = checkpoint.parent if checkpoint is not None and first else None
    with ExitStack() as stack:
        if folder is not None:
            stack.enter_context(lock_folder(folder))
        start = load_checkpoint(checkpoint, made_of, **parts)
        log = Log(folder if schedule.log_every else None, start, tensorboard)
        stack.callback(log.close)
        # Of several, each would stop after another step, and wait for the others.
        asked = stack.enter_context(_signals()) if processes == 1 else threading.Event()
        yield TrainingLoop(name, steps, parts, checkpoint, made_of or {}, schedule, advice, first, start, log, asked)


@contextmanager
def _signals() -> Iterator[threading.Event]:
    """An event that the first SIGINT or SIGTERM sets; nothing where a signal is ignored, or in another thread."""
    asked, before = threading.Event(), {}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def ask(number: int, frame: object) -> None:
        asked.set()
        restore()

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            if (handler := signal.getsignal(number)) not in (signal.SIG_IGN, None):
                before[number] = handler
                signal.signal(number, ask)
    try:
        yield asked
    finally:
        restore()
