# SPDX-License-Identifier: Apache-2.0
"""HGGD's weights: safetensors, as they are shipped, or the published layout {anchor, local, gamma, beta} of torch.save.

The shapes are under `config`, JSON in the metadata of safetensors, where they are not the published ones. Read without
trusting them: torch's restricted unpickler makes tensors and plain containers, nothing else. To convert a file:

    python -m dropclip_ros.grasping.hggd.checkpoint hggd.pt hggd.safetensors
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.base.files import mismatch, write_beside
from dropclip_ros.base.reading import parse_json, read_about, read_checkpoint, read_tensors
from dropclip_ros.grasping.hggd.config import HggdConfig
from dropclip_ros.grasping.hggd.networks import HggdNetworks

PARTS = ("anchor", "local", "gamma", "beta")


def save_networks(path: str | Path, networks: HggdNetworks) -> None:
    """Write a checkpoint that `load_networks` reads, and the published programs where the config is the default."""
    state = {name: tensor.detach().cpu() for name, tensor in networks.state_dict().items()}
    parts = {
        part: {name.removeprefix(f"{part}."): tensor for name, tensor in state.items() if name.startswith(f"{part}.")}
        for part in ("anchor", "local")
    }
    whole = parts | {"gamma": state["gamma"], "beta": state["beta"], "config": dataclasses.asdict(networks.config)}
    with write_beside(Path(path)) as part:
        torch.save(whole, part)


def save_tensors(path: str | Path, networks: HggdNetworks) -> None:
    """Write safetensors that `load_networks` reads, kernels in fp16 where that is exact."""
    from safetensors.torch import save_file

    state = {}
    for name, tensor in networks.state_dict().items():
        half = tensor.half() if tensor.is_floating_point() and tensor.ndim >= 2 else tensor
        state[name] = (half if torch.equal(half.to(tensor.dtype), tensor) else tensor).detach().cpu().contiguous()
    with write_beside(Path(path)) as part:
        save_file(state, part, {"config": json.dumps(dataclasses.asdict(networks.config))})


def load_networks(path: str | Path, device: str | torch.device = "cpu") -> HggdNetworks:
    """The networks of a checkpoint, fp32, eval mode, without gradients; what else is in the file is ignored.

    MODEL_ERROR where it cannot be read, is no such checkpoint, or its tensors are not those of its config.
    """
    try:
        if Path(path).suffix == ".safetensors":
            found = _nested(read_tensors(path)) | {"config": parse_json(read_about(path).get("config", "{}"))}
        else:
            found = read_checkpoint(path)
    except OSError as error:
        raise DropclipError(
            Status.MODEL_ERROR, f"cannot read the HGGD checkpoint {path}: {error.strerror}; fetch it again"
        ) from error
    state, config = _parts(found, path)
    with torch.device("meta"):  # a config may ask for more memory than there is: compare first
        networks = HggdNetworks(config)
    problem = mismatch(state, networks.state_dict())
    if problem:
        raise DropclipError(
            Status.MODEL_ERROR,
            f"{path} does not hold HGGD's networks: {problem}. A checkpoint of "
            "other shapes than the published ones needs its `config`, as save_networks writes it",
        )
    networks.load_state_dict(state, assign=True)
    return networks.to(device).eval().requires_grad_(False)


def _nested(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The published layout of tensors by their whole names."""
    found: dict[str, Any] = {}
    for name, tensor in state.items():
        part, _, rest = name.partition(".")
        if rest:
            found.setdefault(part, {})[rest] = tensor
        else:
            found[part] = tensor
    return found


def _parts(found: object, path: str | Path) -> tuple[dict[str, Tensor], HggdConfig]:
    """One dictionary of a checkpoint's tensors, and its config. MODEL_ERROR where it has another structure."""
    state: dict[str, Tensor] = {}
    for part in PARTS:
        value = found.get(part) if isinstance(found, Mapping) else None
        named = {f"{part}.{name}": one for name, one in value.items()} if isinstance(value, Mapping) else {part: value}
        tensors = {name: tensor for name, tensor in named.items() if isinstance(tensor, Tensor)}
        if len(tensors) < len(named):
            raise DropclipError(
                Status.MODEL_ERROR,
                f"{path} is no HGGD checkpoint: {part!r} is not there, or no tensors; expected {', '.join(PARTS)}",
            )
        state |= tensors
    try:
        config = HggdConfig(**(found.get("config", {}) if isinstance(found, Mapping) else {}))
    except (TypeError, ValueError) as error:
        raise DropclipError(Status.MODEL_ERROR, f"{path} has a config that is none of HGGD's: {error}") from error
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in state.items()}, config


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("expected: CHECKPOINT FILE.safetensors")
    try:
        save_tensors(sys.argv[2], load_networks(sys.argv[1]))
    except DropclipError as error:
        sys.exit(str(error))
