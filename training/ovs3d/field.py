# SPDX-License-Identifier: Apache-2.0
"""A radiance field on vector-matrix decompositions (TensoRF): density, colour, and which cells hold anything."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_max_pool3d, embedding_bag, interpolate, max_pool3d, softplus

POSSIBLE = 64  # cells along each axis of what depth images leave
FINEST = 160  # cells along each axis, at most, that are told apart as empty or not
MODES = ((0, 1, 2), (0, 2, 1), (1, 2, 0))  # the two axes of each plane, and that of its line


class VectorMatrix(nn.Module):
    """`channels` values at every point of [-1, 1]^3: sums over plane times line, mixed by a matrix.

    ranks: of the planes xy, xz, yz; one number is for all three. resolution: knots along x, y, z, which can `grow`.
    Between the knots all is linear, so the field is what trilinear interpolation of the full grid would give.
    """

    def __init__(self, ranks: tuple[int, int, int] | int, channels: int, resolution: tuple[int, int, int]) -> None:
        super().__init__()
        ranks = (ranks,) * 3 if isinstance(ranks, int) else tuple(ranks)
        self.planes = nn.ParameterList(
            0.1 * torch.randn(resolution[a], resolution[b], rank) for (a, b, _), rank in zip(MODES, ranks, strict=True)
        )
        self.lines = nn.ParameterList(
            0.1 * torch.randn(resolution[c], rank) for (_, _, c), rank in zip(MODES, ranks, strict=True)
        )
        self.basis = nn.Linear(sum(ranks), channels, bias=False)

    @property
    def resolution(self) -> tuple[int, int, int]:
        return tuple(line.shape[0] for line in (self.lines[2], self.lines[1], self.lines[0]))

    def forward(self, points: Tensor) -> Tensor:
        """Points (N,3) in [-1, 1], nearest edge outside -> (N, channels). No gradient goes to the points."""
        knots = torch.tensor(self.resolution, device=points.device)
        places = (points.detach().clamp(-1, 1) + 1) / 2 * (knots - 1)
        low = places.long().clamp(max=knots - 2)
        part = places - low
        products = []
        for (a, b, c), plane, line in zip(MODES, self.planes, self.lines, strict=True):
            corner = low[:, a] * plane.shape[1] + low[:, b]
            corners = torch.stack([corner, corner + 1, corner + plane.shape[1], corner + plane.shape[1] + 1], 1)
            u, v, w = part[:, a], part[:, b], part[:, c]
            shares = torch.stack([(1 - u) * (1 - v), (1 - u) * v, u * (1 - v), u * v], 1)
            of_plane = _Gather.apply(plane.flatten(0, 1), corners, shares)
            ends = torch.stack([low[:, c], low[:, c] + 1], 1)
            products.append(of_plane * _Gather.apply(line, ends, torch.stack([1 - w, w], 1)))
        return self.basis(torch.cat(products, 1))

    @torch.no_grad()
    def dense(self) -> Tensor:
        """The first channel at all knots: (X,Y,Z)."""
        found = torch.zeros(self.resolution, device=self.basis.weight.device)
        weights = self.basis.weight[0].split([line.shape[1] for line in self.lines])
        for mode, plane, line, weight in zip(MODES, self.planes, self.lines, weights, strict=True):
            product = torch.einsum("abr,cr->abc", plane * weight, line)
            found += product.permute(*(mode.index(axis) for axis in range(3)))
        return found

    @torch.no_grad()
    def grow(self, resolution: tuple[int, int, int]) -> None:
        """Takes finer knots; the values stay. Parameters stay the same objects, what an optimizer kept of them not."""
        for (a, b, c), plane, line in zip(MODES, self.planes, self.lines, strict=True):
            size = resolution[a], resolution[b]
            wide = interpolate(plane.data.permute(2, 0, 1)[None], size, mode="bilinear", align_corners=True)
            plane.data = wide[0].permute(1, 2, 0).contiguous()
            long = interpolate(line.data.T[None], resolution[c], mode="linear", align_corners=True)
            line.data = long[0].T.contiguous()
            plane.grad = line.grad = None

    def _load_from_state_dict(self, state: dict, prefix: str, *rest) -> None:
        """A grown state is loaded at the resolution that it has."""
        for name, parameter in self.named_parameters():
            found = state.get(prefix + name)
            if found is not None and not name.startswith("basis") and found.shape[-1] == parameter.shape[-1]:
                parameter.data = parameter.data.new_empty(found.shape)
        super()._load_from_state_dict(state, prefix, *rest)


class _Gather(torch.autograd.Function):
    """Weighted sums of rows of a table; torch's own backward of embedding_bag sorts the indices, which takes longer."""

    @staticmethod
    def forward(ctx, table: Tensor, rows: Tensor, shares: Tensor) -> Tensor:
        ctx.save_for_backward(rows, shares)
        ctx.rows = table.shape[0]
        return embedding_bag(rows, table, mode="sum", per_sample_weights=shares)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None]:
        rows, shares = ctx.saved_tensors
        found = gradient.new_zeros(ctx.rows, gradient.shape[1])
        for k in range(rows.shape[1]):
            found.index_add_(0, rows[:, k], gradient * shares[:, k : k + 1])
        return found, None, None


class Field(nn.Module):
    """Density and colour of a scene.

    bounds (2,3): corners of the box of interest, m, in the world's frame. It takes the share `inside` of the grid along
    each axis; what lies farther is contracted into the rest, and infinity is at 1. near, far: m along the rays.
    """

    def __init__(
        self,
        bounds: Tensor,
        near: float,
        far: float,
        resolution: int,
        density_ranks: tuple[int, int, int] = (16, 4, 4),
        colour_ranks: tuple[int, int, int] = (48, 12, 12),
        colour_features: int = 27,
        hidden: int = 64,
        inside: float = 0.75,
        shift: float = -4.0,
    ) -> None:
        super().__init__()
        self.inside, self.shift = inside, shift
        self.register_buffer("bounds", torch.as_tensor(bounds, dtype=torch.float32))
        self.register_buffer("range", torch.tensor([near, far], dtype=torch.float32))
        self.register_buffer("occupied", torch.ones((resolution - 1,) * 3, dtype=torch.bool))
        self.register_buffer("possible", torch.ones((POSSIBLE,) * 3, dtype=torch.bool))
        self.density_grid = VectorMatrix(density_ranks, 1, (resolution,) * 3)
        nn.init.ones_(self.density_grid.basis.weight)
        self.colour_grid = VectorMatrix(colour_ranks, colour_features, (resolution,) * 3)
        self.colour_net = nn.Sequential(
            nn.Linear(colour_features + 15, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, 3),
        )
        nn.init.zeros_(self.colour_net[-1].bias)
        self.background = nn.Parameter(torch.zeros(3))  # logits of the colour at infinity
        self.register_buffer("unit", torch.tensor(self.cell))  # m; density is per first cell

    @property
    def resolution(self) -> int:
        return self.density_grid.resolution[0]

    @property
    def cell(self) -> float:
        """Edge of a cell inside the box, m (the longest)."""
        return float((self.bounds[1] - self.bounds[0]).max()) / (self.inside * (self.resolution - 1))

    def normalise(self, points: Tensor) -> Tensor:
        """World metres (N,3) -> [-1, 1], contracted outside the box."""
        centre, half = self.bounds.mean(0), (self.bounds[1] - self.bounds[0]) / 2
        x = (points - centre) / half
        far = x.abs().clamp(min=1)
        return torch.where(far > 1, x.sign() * (1 - (1 - self.inside) / far), self.inside * x)

    def unnormalise(self, x: Tensor) -> Tensor:
        """The inverse of `normalise`: (N,3) in (-1, 1) -> world metres."""
        centre, half = self.bounds.mean(0), (self.bounds[1] - self.bounds[0]) / 2
        outside = x.sign() * (1 - self.inside) / (1 - x.abs().clamp(min=self.inside, max=1 - 1e-6))
        return centre + half * torch.where(x.abs() > self.inside, outside, x / self.inside)

    def density(self, points: Tensor) -> Tensor:
        """Of world points (N,3): (N,) per metre."""
        return softplus(self.density_grid(self.normalise(points))[:, 0] + self.shift) / self.unit

    def appearance(self, points: Tensor) -> Tensor:
        """Of world points (N,3): the features (N,A) that their colour is made of."""
        return self.colour_grid(self.normalise(points))

    def colour(self, points: Tensor, directions: Tensor) -> Tensor:
        """Of world points (N,3) seen along unit directions (N,3): (N,3) in [0, 1]."""
        waves = [f(scale * directions) for scale in (1.0, 2.0) for f in (torch.sin, torch.cos)]
        return torch.sigmoid(self.colour_net(torch.cat([self.appearance(points), directions, *waves], 1)))

    @torch.no_grad()
    def find_occupied(self, threshold: float) -> None:
        """Marks the cells, and those beside them, in which a ray may lose more than this share on a cell's length.

        Nothing between knots is denser than the densest of them, so no cell is missed. Where the mean over all cells is
        less than the threshold, as in the fog that a fit begins with, half of it counts: something is always left.
        """
        knots = softplus(self.density_grid.dense() + self.shift) / self.unit
        knots = max_pool3d(knots[None], 4, stride=1, padding=1)[0]  # the eight of a cell, and those of its neighbours
        cells = min(self.resolution - 1, FINEST)
        taken = 1 - torch.exp(-adaptive_max_pool3d(knots[None], cells)[0] * self.cell)
        possible = adaptive_max_pool3d(self.possible[None].float(), cells)[0] > 0
        self.occupied = (taken > min(threshold, 0.5 * float(taken.mean()))) & possible

    def is_occupied(self, points: Tensor) -> Tensor:
        """Whether world points (N,3) lie in a cell that may hold something: (N,) bool."""
        size = self.occupied.shape[0]
        cells = ((self.normalise(points) + 1) / 2 * size).long().clamp(0, size - 1)
        return self.occupied[cells[:, 0], cells[:, 1], cells[:, 2]]

    def grow(self, resolution: int) -> None:
        """Finer knots for density and colour."""
        self.density_grid.grow((resolution,) * 3)
        self.colour_grid.grow((resolution,) * 3)
        self.find_occupied(0.0)

    def _load_from_state_dict(self, state: dict, prefix: str, *rest) -> None:
        """A grown state is loaded with the cells that it has."""
        if (found := state.get(prefix + "occupied")) is not None:
            self.occupied = self.occupied.new_empty(found.shape)
        super()._load_from_state_dict(state, prefix, *rest)
