# SPDX-License-Identifier: Apache-2.0
"""Checkpoints from which a killed training goes on as if nothing had been."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from dropclip_ros.base.reading import read_checkpoint
from training.runs.files import write_atomically


class CheckpointError(ValueError):
    """One sentence: what was wrong, what was expected, what to do."""


def save_checkpoint(path: Path, step: int, config: Mapping[str, Any] | None = None, **parts: Any) -> None:
    """State dicts of `parts` (modules, optimizers, schedules) after `step` steps; written beside, then renamed.

    config: plain values by name, to refuse going on with others. Raises InputError where it cannot be written, the disk
    is full for one: the checkpoint before it is still there.
    """
    buffer = io.BytesIO()  # torch's own writer turns a full disk into an error of another kind
    state = {name: value.state_dict() for name, value in parts.items()}
    torch.save(state | {"step": step, "config": dict(config or {})}, buffer)
    with write_atomically(path, replace=True) as part, part.open("wb") as file:
        file.write(buffer.getbuffer())
        file.flush()
        os.fsync(file.fileno())


def load_checkpoint(path: Path | None, config: Mapping[str, Any] | None = None, **parts: Any) -> int:
    """Restores `parts` where `path` exists; returns the steps done, 0 where there is nothing to go on from.

    Raises CheckpointError where the file is damaged, or was made with another `config`: it names the first difference.
    """
    if path is None or not path.exists():
        return 0
    try:
        state = read_checkpoint(path)
        step, made_with = state["step"], state.get("config", {})
    except Exception as error:  # zip, pickle, key and runtime errors, by what is damaged
        raise CheckpointError(f"{path} is no whole checkpoint; remove it to start anew") from error
    for name, value in (config or {}).items():
        if made_with.get(name, value) != value or name not in made_with:
            before = made_with.get(name, "not set")
            raise CheckpointError(
                f"{path} was made with {name} {before}, asked is {value}; go on with that, or use another --out"
            )
    for name, value in parts.items():
        value.load_state_dict(state[name])
    return step
