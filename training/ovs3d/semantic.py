# SPDX-License-Identifier: Apache-2.0
"""Features and scales on a radiance field (3D-OVS): the feature branch, and the selection volume."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from dropclip_ros.base.reading import Unreadable, read_checkpoint
from training.ovs3d.config import SemanticConfig
from training.ovs3d.field import Field, VectorMatrix
from training.ovs3d.relevancy import class_distribution
from training.ovs3d.render import Samples, composite, march
from training.runs.errors import InputError
from training.runs.files import write_atomically

CHUNK = 8192  # rays or points at a time


class SemanticBranch(nn.Module):
    """What is added to a `Field`: at each point the channels that features are made of, and weights of the scales.

    channels: of the image tower's space, `appearance`: of the field's, which both branches share. What leads into the
    tower's space is linear, so it comes after rendering, once a ray instead of once a sample.
    """

    def __init__(self, appearance: int, channels: int, scales: int, config: SemanticConfig) -> None:
        super().__init__()
        knots = (config.resolution,) * 3
        self.volume = VectorMatrix(config.feature_ranks, config.feature_channels, knots)
        self.selection = VectorMatrix(config.selection_ranks, scales, knots) if config.selection else None
        self.scales = scales
        self.decoder = nn.Linear(config.feature_channels + appearance, channels, bias=False)

    def channels_at(self, field: Field, points: Tensor) -> Tensor:
        """World points (n,3) m -> (n,D), which `decoder` takes, rendered or not."""
        return torch.cat([self.volume(field.normalise(points)), field.appearance(points)], dim=1)

    def scales_at(self, field: Field, points: Tensor) -> Tensor:
        """How much each scale counts at world points (n,3) m: softmax, (n,S)."""
        if self.selection is None:
            return points.new_full((len(points), self.scales), 1 / self.scales)
        return self.selection(field.normalise(points)).softmax(dim=-1)

    def render(self, field: Field, samples: Samples, rays: int) -> tuple[Tensor, Tensor, Tensor]:
        """Of each of R rays: feature (R,C), not of unit length, share of the scales (R,S), opacity (R,).

        The shares of a ray sum to 1, however much of it goes through.
        """
        channels = self.channels_at(field, samples.points)
        scales = self.scales_at(field, samples.points)
        width = channels.shape[1]
        ones = channels.new_ones(len(channels), 1)
        both = composite(samples, torch.cat([channels, scales, ones], dim=1), rays)
        opacity = both[:, -1]
        return self.decoder(both[:, :width]), both[:, width:-1] / opacity.clamp(min=1e-6)[:, None], opacity


@dataclass(eq=False)
class Segmentation:
    """A field with its features and the classes that it was segmented by: phrases, and their embeddings (K,C)."""

    field: Field
    branch: SemanticBranch
    phrases: list[str]
    text: Tensor
    temperature: float

    @torch.no_grad()
    def features(self, points: Tensor) -> Tensor:
        """Unit features (n,C) of world points (n,3) m."""
        found = [self.branch.decoder(self.branch.channels_at(self.field, part)) for part in points.split(CHUNK)]
        return normalize(torch.cat(found), dim=-1)

    @torch.no_grad()
    def rendered(self, origins: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        """Unit features (R,C) of rays (R,3) m, (R,3) unit vectors, and opacity (R,), of any number of rays."""
        found, opacities = [], []
        for o, d in zip(origins.split(CHUNK), directions.split(CHUNK), strict=True):
            feature, _, opacity = self.branch.render(self.field, march(self.field, o, d), len(d))
            found.append(normalize(feature, dim=-1))
            opacities.append(opacity)
        return torch.cat(found), torch.cat(opacities)

    def probabilities(self, features: Tensor) -> Tensor:
        """Class distribution (n,K) of unit features (n,C)."""
        return class_distribution(features @ self.text.T, self.temperature).exp()


def save_segmentation(path: Path, found: Segmentation, config: SemanticConfig) -> None:
    """What `load_segmentation` reads, the field with the colours that were learnt on; beside, then renamed."""
    branch = found.branch
    sizes = {
        "appearance": branch.decoder.in_features - config.feature_channels,
        "channels": branch.decoder.out_features,
        "scales": branch.scales,
    }
    config = {name: list(value) if isinstance(value, tuple) else value for name, value in vars(config).items()}
    buffer = io.BytesIO()
    torch.save(
        {
            "field": found.field.state_dict(),
            "branch": branch.state_dict(),
            "sizes": sizes,
            "config": config,
            "phrases": list(found.phrases),
            "text": found.text.cpu(),
        },
        buffer,
    )
    with write_atomically(path, replace=True) as part:
        part.write_bytes(buffer.getbuffer())


def load_segmentation(path: Path, field: Field) -> Segmentation:
    """The segmentation that was made of `field`, which takes on its colours. Raises InputError where it is not one."""
    try:
        state = read_checkpoint(path)
        given = {name: tuple(value) if isinstance(value, list) else value for name, value in state["config"].items()}
        config = SemanticConfig(**given)
        branch = SemanticBranch(**state["sizes"], config=config)
        branch.load_state_dict(state["branch"])
        field.load_state_dict(state["field"])
        device = field.bounds.device
        return Segmentation(
            field.eval(), branch.eval().to(device), state["phrases"], state["text"].to(device), config.temperature
        )
    except Exception as error:  # zip, pickle, key and runtime errors, by what is damaged
        there = isinstance(error, OSError) and not isinstance(error, Unreadable)
        what = error.strerror if there else "it is damaged, or of another field"
        raise InputError(f"{path} cannot be read ({what}); run fit with --classes again") from error
