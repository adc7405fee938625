# SPDX-License-Identifier: Apache-2.0
"""How much loading workers are worth to distillation: samples a second, share of time waiting for them, memory.

    python -m benchmarks.training.distill_workers SCENES FUSED [--workers 0 1 2] [--steps 20] [--config RECIPE]

Each number of workers trains the same steps from the same weights, in a process of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import tyro

from training.distill.recipes import SMALL

COLUMNS = ("samples_per_s", "wait_share", "voxels_per_step", "peak_mb", "peak_mb_per_10k_voxels")


def main(
    scenes: tyro.conf.Positional[Path],
    fused: tyro.conf.Positional[Path],
    workers: tuple[int, ...] = (0, 1, 2),
    steps: int = 20,
    config: Path = SMALL,
) -> None:
    """steps: on single views, of each."""
    print(f"{steps} steps of {config}\n\n| workers | " + " | ".join(COLUMNS) + " |\n" + "| --- " * 6 + "|")
    for count in workers:
        with tempfile.TemporaryDirectory() as out:
            options = {
                "scenes": scenes,
                "fused": fused,
                "out": out,
                "config": config,
                "workers": count,
                "epochs": 0,
                "steps": 0,
                "partial-steps": steps,
                "phrase-weight": 0,
            }
            arguments = [text for name, value in options.items() for text in (f"--{name}", str(value))]
            subprocess.run([sys.executable, "-m", "training.distill", *arguments], check=True, capture_output=True)
            found = json.loads((Path(out) / "summary.json").read_text())
        print(f"| {count} | " + " | ".join(f"{found[name]:.4g}" for name in COLUMNS) + " |", flush=True)


if __name__ == "__main__":
    tyro.cli(main)
