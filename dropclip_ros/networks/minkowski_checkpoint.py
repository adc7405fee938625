# SPDX-License-Identifier: Apache-2.0
"""State dicts of MinkowskiEngine's MinkUNet14D, read from and written to torch checkpoints; none is unpickled blindly.

    python -m dropclip_ros.networks.minkowski_checkpoint read weights.pth encoder.safetensors
    python -m dropclip_ros.networks.minkowski_checkpoint write MODEL_FOLDER weights.pth

The encoder's names and layout are MinkowskiEngine's own. Published checkpoints often wrap them: in a dict beside an
optimizer, behind `module.` or `model.`, with further networks; the one network that has MinkUNet14D's names is taken.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.base.files import write_beside
from dropclip_ros.base.reading import Unreadable, read_checkpoint, read_tensors
from dropclip_ros.networks.encoder import PLANES, EncoderConfig, MinkUNet14D
from dropclip_ros.networks.model_folder import load_model

FIRST = "conv0p1s1.kernel"  # every MinkUNet has it
DEEPEST = 4  # dicts in dicts that are searched


def read_minkowski(path: Path) -> MinkUNet14D:
    """The encoder of a torch checkpoint (or a safetensors file), fp32, in eval mode; its shape is read off the tensors.

    MODEL_ERROR where the file holds anything but plain tensors and containers (it is not unpickled), none or several
    such networks, or tensors that are no MinkUNet14D.
    """
    found = list(_networks(_load(path), DEEPEST))
    if len(found) != 1:
        raise _bad(
            f"{path} holds {len(found)} networks with a tensor {FIRST}, expected 1; save the state dict of one of them"
        )
    state = {name: _as_kept(tensor) for name, tensor in found[0].items()}
    config = _shape_of(state, path)
    encoder = MinkUNet14D(config)
    for name, tensor in encoder.state_dict().items():
        if name not in state and not name.endswith("num_batches_tracked"):
            raise _bad(f"{path}: tensor {name} is missing; expected MinkowskiEngine's MinkUNet14D")
        if name in state and state[name].shape != tensor.shape:
            raise _bad(
                f"{path}: tensor {name} has shape {tuple(state[name].shape)}, expected {tuple(tensor.shape)} of a "
                f"MinkUNet14D with planes {config.planes}; other networks are not read"
            )
    surplus = sorted(set(state) - set(encoder.state_dict()))
    if surplus:
        raise _bad(f"{path}: tensor {surplus[0]} is no part of a MinkUNet14D; other networks are not read")
    encoder.load_state_dict(state, strict=False)
    return encoder.eval()


def write_minkowski(path: Path, encoder: MinkUNet14D) -> None:
    """A plain state dict that MinkowskiEngine's MinkUNet14D loads with torch.load(path, weights_only=True).

    The heads for object middles and for whole objects, which it does not have, are left out.
    """
    kept = {k: v for k, v in encoder.state_dict().items() if not k.startswith(("offset.", "objects."))}
    state = {name: tensor.detach().cpu().clone() for name, tensor in kept.items()}
    with write_beside(path) as part:
        torch.save(state, part)


def _bad(message: str) -> DropclipError:
    return DropclipError(Status.MODEL_ERROR, message)


def _load(path: Path) -> Any:
    try:
        return read_tensors(path) if path.suffix == ".safetensors" else read_checkpoint(path)
    except Unreadable as error:
        raise _bad(f"{path} is not read: {_reason(path, error)}") from error
    except OSError as error:
        raise _bad(f"cannot read {path}: {error.strerror or error}; give a checkpoint") from error


def _reason(path: Path, error: Unreadable) -> str:
    """What in the file is not plain tensors and containers, and how to make it so."""
    try:
        unsafe = torch.serialization.get_unsafe_globals_in_checkpoint(path) if path.is_file() else []
    except Exception:
        unsafe = []
    if not unsafe:
        return f"{error}; fetch it again"
    return (
        f"it would run code on loading ({', '.join(sorted(unsafe)[:3])}); where you trust who made it, save its "
        f'tensors alone: python -c "import torch; c = torch.load({str(path)!r}, weights_only=False); '
        "torch.save(c['state_dict'], 'plain.pth')\""
    )


def _networks(tree: Any, depth: int) -> Iterator[dict[str, Tensor]]:
    """State dicts, prefixes taken off, of the networks anywhere in a tree of dicts."""
    if not isinstance(tree, Mapping) or depth == 0:
        return
    for key, value in tree.items():
        if isinstance(key, str) and isinstance(value, Tensor) and (key == FIRST or key.endswith("." + FIRST)):
            prefix = key.removesuffix(FIRST)
            inside = {k: v for k, v in tree.items() if isinstance(k, str) and isinstance(v, Tensor)}
            yield {k.removeprefix(prefix): v for k, v in inside.items() if k.startswith(prefix)}
        yield from _networks(value, depth - 1)


def _as_kept(tensor: Tensor) -> Tensor:
    """fp32; kernels of size 1 that came as (1,Ci,Co) as (Ci,Co)."""
    if tensor.ndim == 3 and len(tensor) == 1:
        tensor = tensor[0]
    return tensor.float() if tensor.is_floating_point() else tensor


def _shape_of(state: Mapping[str, Tensor], path: Path) -> EncoderConfig:
    """Widths by the shapes of the tensors that show them."""
    try:
        planes = tuple(state[f"block{stage}.0.conv2.kernel"].shape[2] for stage in range(1, PLANES + 1))
        _, channels, stem = state[FIRST].shape
        out, hidden = state["final.kernel"].shape[-1], len(state.get("objects.0.weight", ()))
        return EncoderConfig(channels, out, stem, planes, "offset.weight" in state, hidden)
    except (KeyError, IndexError, ValueError) as error:
        raise _bad(f"{path}: no layout of MinkUNet14D ({error}); other networks are not read") from error


def main() -> None:
    try:
        match sys.argv[1:]:
            case ["read", source, target]:
                encoder = read_minkowski(Path(source))
                with write_beside(Path(target)) as part:
                    save_file(encoder.state_dict(), part)
                print(f"{target}: {encoder.config}")
            case ["write", source, target]:
                write_minkowski(Path(target), load_model(source, fuse=False)[0])
                print(target)
            case _:
                raise _bad("expected: read CHECKPOINT FILE.safetensors, or write MODEL_FOLDER CHECKPOINT")
    except DropclipError as error:
        print(f"dropclip_ros.networks.minkowski_checkpoint: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
