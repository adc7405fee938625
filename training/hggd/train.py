# SPDX-License-Identifier: Apache-2.0
"""The training: both networks together, the local one on the regions that the anchor network finds."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from dropclip_ros.grasping.hggd.decode import Centers, find_centers, lift, metric_width
from dropclip_ros.grasping.hggd.inputs import PreparedView
from dropclip_ros.grasping.hggd.networks import AnchorMaps, HggdNetworks
from dropclip_ros.grasping.hggd.regions import fuse, regions, sample_points
from training.hggd.config import HggdTraining
from training.hggd.data import Frames, anchors_of, augmented
from training.hggd.losses import anchor_losses, local_losses
from training.hggd.targets import Labels, Maps, local_labels, maps_of
from training.runs.loop import Schedule, training_loop

RARE = 0.02  # about how many of all pixels, cells and anchors are right
FREE = {"save_every", "log_every"}  # a run may go on with others


def train(frames: Frames, out: Path | None = None) -> HggdNetworks:
    """Trains the networks; returns them in eval mode.

    out: folder for checkpoint.pt (it goes on from there, as if it had never been stopped) and losses.jsonl.
    Raises CheckpointError where the checkpoint is of another run, InputError where a loss is not finite.
    """
    config = frames.config
    torch.manual_seed(config.seed)
    networks = untrained(config)
    optimizer = torch.optim.AdamW(networks.parameters(), config.rate, weight_decay=config.weight_decay)
    parts = {"networks": networks, "optimizer": optimizer}
    checkpoint = None if out is None else out / "checkpoint.pt"
    schedule = Schedule(save_every=config.save_every, log_every=config.log_every)
    with training_loop("hggd", config.steps, parts, checkpoint, fingerprint(frames), schedule) as loop:
        if loop.start == 0:
            networks.gamma, networks.beta = anchors_of(frames)
        networks.train()
        for step in loop:
            losses = one_step(networks, optimizer, frames, step)
            loop.finish(step, losses, also={"rate": config.rate_at(step)})
    return networks.eval()


def untrained(config: HggdTraining) -> HggdNetworks:
    """Networks that say at first that there is hardly a grasp anywhere: else that is what they learn for long."""
    networks = HggdNetworks(config.network)
    for layer in (networks.anchor.hmap[-1], networks.anchor.cls_mask_conv[-1], networks.local.anchor_mlp[-1]):
        nn.init.normal_(layer.weight, std=0.01)
        nn.init.constant_(layer.bias, math.log(RARE))
    return networks


def one_step(networks: HggdNetworks, optimizer: torch.optim.Optimizer, frames: Frames, step: int) -> dict[str, float]:
    """One step of the optimizer. What it draws depends on the seed and the step alone."""
    config = frames.config
    torch.manual_seed(config.seed + step)  # of dropout and regions
    for group in optimizer.param_groups:
        group["lr"] = config.rate_at(step)
    batch = [
        augmented(*frames.frame(s, v), config, np.random.default_rng([config.seed, step, i]))
        for i, (s, v) in enumerate(drawn(frames, step))
    ]
    size = batch[0][0].image.shape[1:]
    said = networks.anchor(torch.stack([view.image for view, _ in batch]))
    targets = [maps_of(labels, size, config.network) for _, labels in batch]
    losses = anchor_losses(said, Maps(*(torch.cat(maps) for maps in zip(*targets, strict=True))))
    found = [
        _regions(AnchorMaps(*(m[i : i + 1].detach() for m in said)), view, labels, networks, config, step)
        for i, (view, labels) in enumerate(batch)
    ]
    points, info, likeness, apart = (torch.cat(rows) for rows in zip(*found, strict=True))
    if len(points) > 1:  # batch norm needs two
        losses |= local_losses(*networks.local(points, info), likeness, apart, config.same)
    weights = {"turn": config.turn_weight, "move": config.move_weight}
    optimizer.zero_grad(set_to_none=True)
    sum(weights.get(name, 1.0) * loss for name, loss in losses.items()).backward()
    nn.utils.clip_grad_norm_(networks.parameters(), config.clip)
    optimizer.step()
    return {name: loss.item() for name, loss in losses.items()}


def drawn(frames: Frames, step: int) -> list[tuple[int, int]]:
    """Scene and view of each frame of a step: all in turn, in another order in each pass."""
    views, size = frames.views, frames.config.batch_size
    places = range(step * size, (step + 1) * size)
    orders = {at // len(views): None for at in places}
    orders = {turn: np.random.default_rng([frames.config.seed, turn]).permutation(len(views)) for turn in orders}
    return [views[orders[at // len(views)][at % len(views)]] for at in places]


@torch.no_grad()
def _regions(
    maps: AnchorMaps, view: PreparedView, labels: Labels, networks: HggdNetworks, config: HggdTraining, step: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A view's regions, as the local network gets them, with `local_labels`."""
    parts = [given_centers(labels, config, view.points.shape[:2])]
    if config.found:
        parts.append(find_centers(maps, config.network, config.found, 0.0, view.known))
    centers = Centers(*(torch.cat(values) for values in zip(*parts, strict=True)))
    positions, known = lift(centers, view.points)
    centers, positions = centers.of(known), positions[known]
    radii = metric_width(centers.width, centers.theta, positions[:, 2], view.intrinsics)
    points = sample_points(view.points, view.known, config.network.points, step)
    numbers = torch.arange(len(points))
    groups, kept = regions(
        torch.cat([points, numbers[:, None]], 1), positions, radii, config.network.region_points, config.min_points
    )
    used, place = groups[..., 3].long().unique(return_inverse=True)  # features of these alone: neighbours are dear
    features = fuse(points[used], view.points, maps.features[0])[:, 3:]
    groups = torch.cat([groups[..., :3], features[place]], 2)
    centers, positions = centers.of(kept), positions[kept]
    return (
        groups,
        centers.info(),
        *local_labels(positions, centers.theta, labels, networks.gamma, networks.beta, config.near),
    )


def given_centers(labels: Labels, config: HggdTraining, size: tuple[int, int]) -> Centers:
    """Some of the true centres, about as wrong as found ones."""
    some = labels[torch.randperm(len(labels.theta))[: config.given]]
    count, jitter = len(some.theta), config.jitter
    pixel = (some.pixel + jitter * torch.randn(count, 2)).round().long()
    pixel = torch.minimum(pixel.clamp(min=0), torch.tensor(size) - 1)
    theta = some.theta + 0.1 * jitter * torch.randn(count)
    width = some.width * torch.exp(0.1 * jitter * torch.randn(count))
    reach = config.network.anchor_depth
    return Centers(pixel, torch.ones(count), theta, width, some.depth.clamp(-reach, reach))


def fingerprint(frames: Frames) -> dict[str, object]:
    """What a run must have in common with the checkpoint that it goes on from, plain values by name."""
    fields = dataclasses.asdict(frames.config)
    network = {f"network.{name}": value for name, value in fields.pop("network").items()}
    kept = {name: value for name, value in (fields | network).items() if name not in FREE}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in kept.items()} | {
        "scenes": len(frames.scenes)
    }
