# SPDX-License-Identifier: Apache-2.0
"""The semantic stage: features and the selection volume on a fitted field, first alone, then along with colour."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, mse_loss, normalize
from tqdm import tqdm

from training.ovs3d.config import SemanticConfig
from training.ovs3d.field import Field
from training.ovs3d.guidance import Guidance
from training.ovs3d.losses import fda_loss, rda_loss
from training.ovs3d.relevancy import class_distribution
from training.ovs3d.render import Samples, composite, march
from training.ovs3d.semantic import CHUNK, Segmentation, SemanticBranch, save_segmentation
from training.ovs3d.views import PosedViews
from training.runs.errors import InputError
from training.runs.loop import Schedule, training_loop

SOLID = 0.5  # opacity from which a ray meets something that features can be learnt for
LOG_EVERY = 20


class RayPool:
    """Rays of the fitted views, marched once: density does not change in this stage.

    views: numbers of these; pixels[i] (p,2), x and y, of the rays of the i-th of them.
    """

    def __init__(self, field: Field, views: PosedViews, pool: int, generator: torch.Generator) -> None:
        self.views = [v for v in range(len(views)) if not views.held_out[v]]
        width, height = views.size
        self.pixels: list[Tensor] = []
        self._marched: list[tuple[Samples, Tensor, Tensor, Tensor]] = []
        for v in tqdm(self.views, "rays", unit="view", mininterval=5):
            chosen = torch.randperm(width * height, generator=generator)[: pool or None]
            origins, directions = views.rays(v, chosen)
            samples = _marched(field, origins, directions)
            counts = torch.bincount(samples.ray, minlength=len(chosen))
            colours = torch.from_numpy(views.images[v].reshape(-1, 3))[chosen].float() / 255
            self._marched.append((samples, counts, directions, colours))
            self.pixels.append(torch.stack([chosen % width, chosen // width], dim=1).float())

    def take(self, i: int, rays: Tensor) -> tuple[Samples, Tensor, Tensor]:
        """Of the i-th view the samples of rays (n,), numbered anew 0..n-1; their directions and colours (n,3)."""
        samples, counts, directions, colours = self._marched[i]
        lengths, starts = counts[rays], (counts.cumsum(0) - counts)[rays]
        ray = torch.repeat_interleave(torch.arange(len(rays)), lengths)
        index = starts[ray] + torch.arange(len(ray)) - (lengths.cumsum(0) - lengths)[ray]
        taken = Samples(samples.points[index], samples.weights[index], ray, samples.distance[index])
        return taken, directions[rays], colours[rays]


@torch.no_grad()
def _marched(field: Field, origins: Tensor, directions: Tensor) -> Samples:
    """Samples of any number of rays, on the CPU."""
    parts, before = [], 0
    for o, d in zip(origins.split(CHUNK), directions.split(CHUNK), strict=True):
        samples = march(field, o.to(field.bounds.device), d.to(field.bounds.device))
        parts.append(Samples(samples.points, samples.weights, samples.ray + before, samples.distance))
        before += len(o)
    return Samples(*(torch.cat(columns).cpu() for columns in zip(*parts, strict=True)))


def learn_semantics(
    field: Field,
    views: PosedViews,
    guidance: Guidance,
    phrases: list[str],
    config: SemanticConfig,
    out: Path | None = None,
    pool: RayPool | None = None,
) -> Segmentation:
    """Fits the semantic branch to what image models say of the views that are not held out.

    guidance: of the fitted views, in their order. out: a folder for semantic.pt (it goes on from there), losses.jsonl
    and, at last, segmentation.pt. pool: the field's rays, where they are at hand. The field that is given stays as it
    is: the one of the result has its density, and colours that were learnt on. Raises InputError where a loss is not
    finite, CheckpointError where the checkpoint is of another fit.
    """
    torch.manual_seed(config.seed)
    device = field.bounds.device
    pool = pool or RayPool(field, views, config.pool, torch.Generator().manual_seed(config.seed))
    field = copy.deepcopy(field).requires_grad_(False)
    branch = SemanticBranch(
        field.colour_grid.basis.out_features, guidance.patches.channels, guidance.patches.scales, config
    ).to(device)
    optimizer = make_optimizer(field, branch, config)
    parts = {"field": field, "branch": branch, "optimizer": optimizer}
    checkpoint = None if out is None else out / "semantic.pt"
    schedule = Schedule(save_every=config.save_every, log_every=LOG_EVERY)
    made_of, advice = fingerprint(config, phrases, views), "lower semantic.grid_lr"
    with training_loop("semantics", config.steps, parts, checkpoint, made_of, schedule, advice) as loop:
        for step in loop:
            loop.finish(step, one_step(field, branch, pool, guidance, config, optimizer, step))
    found = Segmentation(field.eval(), branch.eval(), phrases, guidance.text.to(device), config.temperature)
    if out is not None:
        save_segmentation(out / "segmentation.pt", found, config)
    return found


def one_step(
    field: Field,
    branch: SemanticBranch,
    pool: RayPool,
    guidance: Guidance,
    config: SemanticConfig,
    optimizer: torch.optim.Optimizer,
    step: int,
) -> dict[str, float]:
    """One step of the optimizer; the losses by name."""
    learns_colour = step >= config.joint_at
    if learns_colour:
        field.colour_grid.requires_grad_(True)
        field.colour_net.requires_grad_(True)
    losses = losses_of(field, branch, pool, guidance, config, step, learns_colour)
    for group in optimizer.param_groups:
        group["lr"] = group["first"] * config.final_lr ** (step / config.steps)
    optimizer.zero_grad(set_to_none=True)
    sum(losses.values()).backward()
    optimizer.step()
    return {name: float(loss.detach()) for name, loss in losses.items()}


def losses_of(
    field: Field,
    branch: SemanticBranch,
    pool: RayPool,
    guidance: Guidance,
    config: SemanticConfig,
    step: int,
    learns_colour: bool,
) -> dict[str, Tensor]:
    """The losses of a step, weighted, by name: of some pixels of some views, drawn by seed and step alone."""
    generator = torch.Generator().manual_seed(1_000_003 * config.seed + step)
    chosen = torch.randperm(len(pool.views), generator=generator)[: config.views].tolist()
    losses: dict[str, list[Tensor]] = {}

    def add(name: str, weight: float, loss: Tensor) -> None:
        losses.setdefault(name, []).append(weight / len(chosen) * loss)

    for i in chosen:
        rays = torch.randperm(len(pool.pixels[i]), generator=generator)[: config.pixels]
        samples, directions, colours = (part for part in pool.take(i, rays))
        samples = Samples(*(part.to(field.bounds.device) for part in samples))
        feature, shares, opacity = branch.render(field, samples, len(rays))
        if learns_colour:
            seen = field.colour(samples.points, directions.to(feature)[samples.ray])
            rendered = composite(samples, seen, len(rays)) + (1 - opacity[:, None]) * torch.sigmoid(field.background)
            add("colour", 1.0, mse_loss(rendered, colours.to(feature)))
        solid = (opacity > SOLID).nonzero()[:, 0]
        if len(solid) < 2:
            continue
        feature, shares, rays = feature[solid], shares[solid], rays[solid.cpu()]
        said = guidance.at(i, pool.pixels[i][rays])
        selected = (shares[..., None] * said.features.to(feature)).sum(1)
        add("feature", 1.0, 1 - cosine_similarity(feature, selected, dim=-1).mean())
        text = guidance.text.to(feature)
        rendered = class_distribution(normalize(feature, dim=-1) @ text.T, config.temperature)
        if config.rda:
            relevancy = (shares[..., None] * said.relevancy.to(feature)).sum(1)
            add("rda", config.rda_weight, rda_loss(rendered, class_distribution(relevancy, config.temperature)))
        if config.fda and said.dense is not None:
            alike, unlike = fda_loss(rendered, said.dense.to(feature), config.fda_shift)
            add("fda+", config.fda_positive, alike)
            add("fda-", config.fda_negative, unlike)
    if "feature" not in losses:
        raise InputError("no ray of a step meets anything: the field is empty; reconstruct it anew, or for longer")
    return {name: torch.stack(parts).sum() for name, parts in losses.items()}


def make_optimizer(field: Field, branch: SemanticBranch, config: SemanticConfig) -> torch.optim.Optimizer:
    """Adam over the branch, and over the field's colours for when they are learnt on."""
    volumes = [branch.volume] + ([branch.selection] if branch.selection is not None else [])
    groups = [
        {"params": [*(p for v in volumes for p in (*v.planes, *v.lines))], "lr": config.grid_lr},
        {"params": [*(v.basis.weight for v in volumes), branch.decoder.weight], "lr": config.net_lr},
        {"params": [*field.colour_grid.planes, *field.colour_grid.lines], "lr": config.colour_grid_lr},
        {"params": [field.colour_grid.basis.weight, *field.colour_net.parameters()], "lr": config.colour_net_lr},
    ]
    for group in groups:
        group["first"] = group["lr"]
    return torch.optim.Adam(groups, betas=(0.9, 0.99))


def fingerprint(config: SemanticConfig, phrases: list[str], views: PosedViews) -> dict[str, object]:
    """What a fit must have in common with the checkpoint that it goes on from, plain values by name."""
    fields = {name: value for name, value in dataclasses.asdict(config).items() if name != "save_every"}
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}
    return plain | {"phrases": phrases, "views": list(views.names)}
