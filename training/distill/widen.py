# SPDX-License-Identifier: Apache-2.0
"""A wide encoder that starts where a narrow one stopped (Net2Net, arXiv 1511.05641)."""

from __future__ import annotations

import torch

from dropclip_ros.networks.encoder import MinkUNet14D


@torch.no_grad()
def widen(wide: MinkUNet14D, narrow: MinkUNet14D) -> None:
    """Gives `wide` the weights of `narrow`, in place: its first channels, and so its features, are the narrow one's.

    Further channels keep their random start, but reach none of the first. ValueError where that cannot be.
    """
    target, planes, wide_planes = wide.state_dict(), narrow.config.planes, wide.config.planes
    if any(w < n for w, n in zip((wide.config.stem, *wide_planes), (narrow.config.stem, *planes), strict=True)):
        raise ValueError(f"planes {wide_planes}: expected at least the narrow encoder's {planes} everywhere")
    shortcuts = [{name for name in state if "downsample" in name} for state in (target, narrow.state_dict())]
    if shortcuts[0] != shortcuts[1]:
        raise ValueError(f"planes {wide_planes}: expected to change where the narrow encoder's {planes} change")
    ends = [(encoder.config.in_channels, encoder.config.out_channels) for encoder in (wide, narrow)]
    if ends[0] != ends[1]:
        raise ValueError(f"channels in and out {ends[0]}: expected those of the narrow encoder, {ends[1]}")
    for name, old in narrow.state_dict().items():
        if name not in target:  # a head that is not wanted any more
            continue
        new = target[name]
        if not old.ndim or (name.startswith("objects.") and new.shape != old.shape):  # it sees all widths
            continue
        if not name.endswith("kernel"):
            new[..., : old.shape[-1]] = old
            continue
        inputs = torch.arange(old.shape[-2])
        block, _, rest = name.partition(".0.")
        if block in ("block5", "block6", "block7", "block8") and rest in ("conv1.kernel", "downsample.0.kernel"):
            stage = int(block[-1]) - 1  # its input is the upsampled part, then the skip
            inputs[planes[stage] :] += wide_planes[stage] - planes[stage]
        new[..., : old.shape[-1]] = 0
        new[..., inputs, : old.shape[-1]] = old
