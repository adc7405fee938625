# SPDX-License-Identifier: Apache-2.0
"""Which device a model runs on, and what is said where it cannot."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from dropclip_ros.base.errors import DropclipError, Status


@contextmanager
def enough_memory(device: torch.device) -> Iterator[None]:
    """MODEL_ERROR where the memory does not suffice. Nothing falls back on the CPU: that would be slow unasked."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise DropclipError(
            Status.MODEL_ERROR,
            f"{device} ran out of memory; end what else uses it, crop the camera's view to the workspace, or choose "
            "another device, as cpu",
        ) from error


def usable_device(name: str) -> torch.device:
    """The device of that name, once it has held something. MODEL_ERROR where it cannot be used."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        with enough_memory(device):
            torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as error:  # which of them depends on how torch was built
        reason = str(error).partition("\n")[0].partition(". ")[0]
        raise DropclipError(
            Status.MODEL_ERROR, f"device {name!r} cannot be used ({reason:.150}); expected auto, cpu, cuda or cuda:N"
        ) from error
    return device


def finite(values: torch.Tensor, what: str) -> torch.Tensor:
    """The values, where they are numbers. MODEL_ERROR else: compared with them, everything would be "not found"."""
    if not torch.isfinite(values).all():
        raise DropclipError(
            Status.MODEL_ERROR,
            f"{what} gives numbers that are not finite, expected features; its weights are damaged, or too large for "
            "16 bits: fetch the model again",
        )
    return values
