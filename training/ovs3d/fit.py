# SPDX-License-Identifier: Apache-2.0
"""Reconstruction: a field fitted to posed images, coarse to fine, from checkpoints as if nothing had been."""

from __future__ import annotations

import dataclasses
import math
import time
import warnings
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import mse_loss
from tqdm import tqdm

from training.ovs3d.bounds import bounds_tensor, carve, check_overlap, find_range
from training.ovs3d.config import Ovs3dConfig
from training.ovs3d.field import Field
from training.ovs3d.render import Samples, candidates, composite, march, render_colour
from training.ovs3d.views import PosedViews
from training.runs.loop import Schedule, training_loop

# A fit may go on with others: they change nothing, or the views themselves tell.
FREE = {"save_every", "log_every", "validate_every", "every", "width", "hold_out", "semantic"}
PROBES = 512  # rays by which samples of a step are reckoned
CHUNK = 4096  # rays rendered at a time
GAIN = 6.0  # dB by which held-out views must come out better than one plain colour would
GAP = 8.0  # dB by which they may fall short of fitted ones
DEPTH_SHARE = 0.02  # of the distance, within which a ray's light comes from its depth


class Rays:
    """All rays of the fitted views: origins, unit directions, colours (N,3), depth (N,) along the ray, 0 unknown."""

    def __init__(self, views: PosedViews, device: torch.device) -> None:
        kept = [v for v in range(len(views)) if not views.held_out[v]]
        rays = [views.rays(v) for v in kept]
        self.origins = torch.cat([origins for origins, _ in rays]).to(device)
        self.directions = torch.cat([directions for _, directions in rays]).to(device)
        self.colours = torch.from_numpy(views.images[kept].reshape(-1, 3)).to(device)
        self.depth = None
        if views.depth is not None:
            along = [torch.from_numpy(views.depth[v].ravel() * views.along(v)) for v in kept]
            self.depth = torch.cat(along).to(device)

    def __len__(self) -> int:
        return len(self.origins)


def make_field(views: PosedViews, config: Ovs3dConfig) -> Field:
    """The field that a fit begins with, seeded."""
    return empty_field(config, bounds_tensor(views, config.bounds), find_range(views))


def empty_field(config: Ovs3dConfig, bounds: Tensor | None = None, reach: tuple[float, float] = (0.0, 1.0)) -> Field:
    """A field with its first values; without `bounds`, one to load a checkpoint into."""
    torch.manual_seed(config.seed)
    bounds = torch.tensor([[-1.0] * 3, [1.0] * 3]) if bounds is None else bounds
    return Field(
        bounds,
        *reach,
        config.resolution,
        config.density_ranks,
        config.colour_ranks,
        config.colour_features,
        config.hidden,
        config.inside,
        config.shift,
    )


def reconstruct(
    views: PosedViews, config: Ovs3dConfig, out: Path | None = None, device: torch.device | str = "cpu"
) -> Field:
    """Fits a field to the views that are not held out.

    out: a folder for field.pt (it goes on from there) and losses.jsonl. Raises InputError where views do not overlap or
    a loss is not finite, CheckpointError where the checkpoint is of another fit. Warns where held-out views come out
    so badly that poses must be wrong.
    """
    check_overlap(views)
    device = torch.device(device)
    field = make_field(views, config).to(device)
    if config.depth_weight and views.depth is not None:
        carve(field, views)
        field.find_occupied(0.0)
    optimizer = make_optimizer(field, config)
    rays = Rays(views, device)
    parts = {"field": field, "optimizer": optimizer}
    checkpoint = None if out is None else out / "field.pt"
    schedule = Schedule(save_every=config.save_every, log_every=config.log_every, validate_every=config.validate_every)
    if views.held_out.any():
        schedule.validate = lambda: told(validate(field, views))
    advice, made_of = "lower grid_lr, or look at the views", fingerprint(config, views)
    with training_loop("reconstruct", config.steps, parts, checkpoint, made_of, schedule, advice) as loop:
        began, count = time.perf_counter(), None
        for step in loop:
            if step in config.grow_at:
                grow(field, optimizer, config.resolution_at(step))
            if step % config.occupied_every == 0 and step:
                field.find_occupied(config.occupied_threshold)
            if count is None or step % config.occupied_every == 0 or step in config.grow_at:
                count = affordable(field, rays, config)
            losses = one_step(field, optimizer, rays, count, config, step)
            also = {"rays": count, "seconds": round(time.perf_counter() - began, 2)}
            loop.finish(step, losses, also, shown={"psnr": f"{psnr(losses['colour']):.2f}"})
        if loop.found:
            complain(loop.found)
    return field.eval()


def make_optimizer(field: Field, config: Ovs3dConfig) -> torch.optim.Optimizer:
    """Adam with one learning rate for planes and lines, another for what mixes them."""
    grids = [*field.density_grid.planes, *field.density_grid.lines, *field.colour_grid.planes, *field.colour_grid.lines]
    of_grids = {id(parameter) for parameter in grids}
    rest = [parameter for parameter in field.parameters() if id(parameter) not in of_grids]
    groups = [{"params": grids, "lr": config.grid_lr}, {"params": rest, "lr": config.net_lr}]
    for group in groups:
        group["first"] = group["lr"]
    return torch.optim.Adam(groups, betas=(0.9, 0.99))


def grow(field: Field, optimizer: torch.optim.Optimizer, resolution: int) -> None:
    """Finer knots; what the optimizer kept of the old ones is dropped."""
    field.grow(resolution)
    for parameter in optimizer.param_groups[0]["params"]:
        optimizer.state.pop(parameter, None)


@torch.no_grad()
def affordable(field: Field, rays: Rays, config: Ovs3dConfig) -> int:
    """How many rays a step can take so that it stays within its budget of samples."""
    generator = torch.Generator().manual_seed(config.seed)
    probes = torch.randint(len(rays), (PROBES,), generator=generator)
    found = len(
        candidates(field, rays.origins[probes], rays.directions[probes], far=reach(field, rays, probes, config))[0]
    )
    return max(64, min(config.rays, int(config.budget * PROBES / max(1, found))))


def reach(field: Field, rays: Rays, chosen: Tensor, config: Ovs3dConfig) -> Tensor | None:
    """How far rays go, (R,) m: a little beyond their depth where it is used and known."""
    if not config.depth_weight or rays.depth is None:
        return None
    depth = rays.depth[chosen]
    return torch.where(depth > 0, (1 + 2 * DEPTH_SHARE) * depth + 4 * field.cell, field.range[1])


def one_step(
    field: Field, optimizer: torch.optim.Optimizer, rays: Rays, count: int, config: Ovs3dConfig, step: int
) -> dict[str, float]:
    """One step of the optimizer on `count` rays; the losses by name."""
    generator = torch.Generator().manual_seed(1_000_003 * config.seed + step)  # of the step alone: for exact resume
    chosen = torch.randint(len(rays), (count,), generator=generator).to(rays.origins.device)
    directions = rays.directions[chosen]
    samples = march(
        field, rays.origins[chosen], directions, far=reach(field, rays, chosen, config), generator=generator
    )
    colours, _ = render_colour(field, samples, directions)
    losses = {"colour": mse_loss(colours, rays.colours[chosen].float() / 255)}
    if config.depth_weight and rays.depth is not None:
        losses["depth"] = config.depth_weight * depth_loss(samples, rays.depth[chosen], 2 * field.cell)
    if config.sparsity:
        parts = [*field.density_grid.planes, *field.density_grid.lines]
        losses["sparsity"] = config.sparsity * sum(part.abs().mean() for part in parts)
    if config.smoothness:
        losses["smoothness"] = config.smoothness * roughness(field)
    rate = config.final_lr ** (step / config.steps)
    for group in optimizer.param_groups:
        group["lr"] = group["first"] * rate
    optimizer.zero_grad(set_to_none=True)
    sum(losses.values()).backward()
    optimizer.step()
    return {name: float(loss.detach()) for name, loss in losses.items()}


def depth_loss(samples: Samples, depth: Tensor, tolerance: float) -> Tensor:
    """What of each ray's light comes from elsewhere than its depth (R,), m along it: the mean where depth is known."""
    known = depth > 0
    behind = (samples.distance - depth[samples.ray]).abs()
    there = behind < torch.clamp(DEPTH_SHARE * depth[samples.ray], min=tolerance)
    share = composite(samples, there.float()[:, None], len(depth))[:, 0]
    return (1 - share)[known].sum() / known.sum().clamp(min=1)


def roughness(field: Field) -> Tensor:
    """Mean squared difference of neighbouring knots of the planes."""
    planes = [*field.density_grid.planes, *field.colour_grid.planes]
    return sum(plane.diff(dim=axis).square().mean() for plane in planes for axis in (0, 1))


@torch.no_grad()
def render_rays(field: Field, origins: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    """Colours (R,3) in [0, 1] and depth along the ray (R,) m, of any number of rays; far where nothing is met."""
    colours, depths = [], []
    for o, d in zip(origins.split(CHUNK), directions.split(CHUNK), strict=True):
        samples = march(field, o, d)
        colour, opacity = render_colour(field, samples, d)
        colours.append(colour.clamp(0, 1))
        distance = composite(samples, samples.distance[:, None], len(d))
        depths.append((distance + (1 - opacity) * field.range[1])[:, 0])
    return torch.cat(colours), torch.cat(depths)


def validate(field: Field, views: PosedViews) -> dict[str, float]:
    """PSNR, dB: of held-out views, of as many fitted ones, and of one plain colour for the held-out ones."""
    held = [v for v in range(len(views)) if views.held_out[v]]
    fitted = [v for v in range(len(views)) if not views.held_out[v]]
    fitted = fitted[:: max(1, len(fitted) // len(held))][: len(held)]
    plain = psnr(float((views.images[held] / 255.0).reshape(-1, 3).var(axis=0).mean()))
    return {"psnr": mean_psnr(field, views, held), "psnr_fitted": mean_psnr(field, views, fitted), "psnr_plain": plain}


def mean_psnr(field: Field, views: PosedViews, which: list[int]) -> float:
    """Mean PSNR, dB, of these views."""
    found = []
    for v in which:
        colours, _ = render_rays(field, *(part.to(field.bounds.device) for part in views.rays(v)))
        truth = torch.from_numpy(views.images[v].reshape(-1, 3)).float() / 255
        found.append(psnr(float(mse_loss(colours.cpu(), truth))))
    return sum(found) / len(found)


def psnr(error: float) -> float:
    """dB of a mean squared error of colours in [0, 1]."""
    return -10 * math.log10(max(error, 1e-10))


def told(found: dict[str, float]) -> dict[str, float]:
    """The same, once it is printed."""
    tqdm.write("held-out views: " + ", ".join(f"{name} {value:.2f}" for name, value in found.items()))
    return found


def complain(found: dict[str, float]) -> None:
    """Warns where held-out views say that the fit is no good."""
    if found["psnr"] < found["psnr_plain"] + GAIN or found["psnr"] < found["psnr_fitted"] - GAP:
        warnings.warn(
            f"held-out views come out at {found['psnr']:.1f} dB, fitted ones at {found['psnr_fitted']:.1f}, one plain "
            f"colour at {found['psnr_plain']:.1f}: the field does not show the scene, so nothing made of it can be "
            "trusted; check the poses (their layout, their frames, their unit) and the intrinsics, or take more views",
            stacklevel=2,
        )


def fingerprint(config: Ovs3dConfig, views: PosedViews) -> dict[str, object]:
    """What a fit must have in common with the checkpoint that it goes on from, plain values by name."""
    fields = {name: value for name, value in dataclasses.asdict(config).items() if name not in FREE}
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}
    return plain | {"views": list(views.names), "size": list(views.size), "held_out": views.held_out.tolist()}
