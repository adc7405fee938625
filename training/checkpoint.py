# SPDX-License-Identifier: Apache-2.0
"""Checkpoints from which a killed training goes on as if nothing had been."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch


def save_checkpoint(path: Path, step: int, **parts: Any) -> None:
    """State dicts of `parts` (modules, optimizers, schedules) after `step` steps; written beside, then renamed."""
    part = path.with_name(path.name + ".part")
    torch.save({name: value.state_dict() for name, value in parts.items()} | {"step": step}, part)
    part.replace(path)


def load_checkpoint(path: Path | None, **parts: Any) -> int:
    """Restores `parts` where `path` exists; returns the steps done, 0 where there is nothing to go on from."""
    if path is None or not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    for name, value in parts.items():
        value.load_state_dict(state[name])
    return state["step"]
