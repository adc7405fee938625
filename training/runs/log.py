# SPDX-License-Identifier: Apache-2.0
"""What a run says of itself: losses by step, time and memory, TensorBoard, the profiler's trace."""

from __future__ import annotations

import json
import resource
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch

from training.runs.errors import InputError
from training.runs.files import write_atomically
from training.runs.reading import read_lines


class Log:
    """Lines of {"step", name: value} in losses.jsonl and, with `tensorboard`, scalars in tensorboard/, below a folder.

    Whatever a killed run wrote after its last checkpoint is dropped: `start` is the step that goes on. Without a folder
    nothing is written.
    """

    def __init__(self, folder: Path | None, start: int, tensorboard: bool = False) -> None:
        self._file = self._board = None
        if folder is None:
            return
        path = folder / "losses.jsonl"
        before = [line for line in read_lines(path) if isinstance(line.get("step"), int) and line["step"] < start]
        with write_atomically(path, replace=True) as part:
            part.write_text("".join(json.dumps(line) + "\n" for line in before))
        self._file = path.open("a")
        if tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError as error:
                raise InputError("tensorboard is not installed; pip install 'dropclip_ros[tensorboard]'") from error
            self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=start)

    def write(self, step: int, values: dict[str, float]) -> None:
        if self._file is not None:
            self._file.write(json.dumps({"step": step} | values) + "\n")
            self._file.flush()
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)

    def close(self) -> None:
        for writer in (self._file, self._board):
            if writer is not None:
                writer.close()


class Meter:
    """Time of a run since its start: all of it, and that spent waiting for samples; voxels seen and peak memory."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.start, self.waited, self.steps, self.voxels = device, time.perf_counter(), 0.0, 0, 0
        self._most, self._before = 0, resident()

    def fetch(self, batches):
        """The next batch; what it takes is waiting. The first one, for which the workers start, does not count."""
        before = time.perf_counter()
        batch = next(batches)
        if isinstance(batch, InputError):
            raise batch
        now = time.perf_counter()
        if self.steps:
            self.waited += now - before
        else:
            self.start = now
        self.steps += 1
        self.voxels += len(batch.coords)
        self._most = max(self._most, len(batch.coords))
        return batch

    @property
    def wait_share(self) -> float:
        """Share of the time that was spent waiting for samples."""
        return self.waited / max(1e-9, time.perf_counter() - self.start)

    def summary(self, samples: int) -> dict[str, float]:
        """Samples a second (all processes), wait_share, voxels a step, and peak memory in MB: of the GPU, else of this
        process; and what the run added to it, per 10,000 voxels of the largest batch."""
        seconds = time.perf_counter() - self.start
        found = {
            "steps": self.steps,
            "seconds": round(seconds, 1),
            "samples_per_s": round(samples / max(1e-9, seconds), 2),
            "wait_share": round(self.wait_share, 4),
            "voxels_per_step": round(self.voxels / max(1, self.steps)),
        }
        cuda = self.device.type == "cuda"
        peak = torch.cuda.max_memory_allocated(self.device) / 1e6 if cuda else resident()
        added = peak if cuda else peak - self._before
        return found | {"peak_mb": round(peak), "peak_mb_per_10k_voxels": round(added / max(1, self._most) * 1e4)}


def resident() -> float:
    """The most memory, MB, that this process has had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def profiler(folder: Path | None) -> AbstractContextManager:
    """torch's profiler over steps 3 to 5 of this run: profile.json, for chrome://tracing or Perfetto, and a table."""
    if folder is None:
        return nullcontext()

    def write(profile: torch.profiler.profile) -> None:
        profile.export_chrome_trace(str(folder / "profile.json"))
        print(profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=15, max_name_column_width=40))
        print(f"trace: {folder / 'profile.json'}")

    return torch.profiler.profile(
        schedule=torch.profiler.schedule(wait=1, warmup=1, active=3, repeat=1), on_trace_ready=write
    )
