# SPDX-License-Identifier: Apache-2.0
"""The encoder through spconv against plain torch, on CPU and, where there is one, on a CUDA device."""

import pytest
import torch

from dropclip_ros.networks.encoder import EncoderConfig, MinkUNet14D
from dropclip_ros.sparse.cpu import SparseGrid

pytest.importorskip("spconv.pytorch", reason="spconv, an optional backend, is not installed", exc_type=ImportError)

from dropclip_ros.sparse.spconv import SpconvGrid

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def scene(device: str, batches: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """Two batches, coordinates on both sides of zero, shuffled."""
    generator = torch.Generator().manual_seed(0)
    xyz = torch.randint(-20, 15, (900, 3), generator=generator)
    coords = torch.cat([torch.randint(batches, (900, 1), generator=generator), xyz], 1).unique(dim=0)
    coords = coords[torch.randperm(len(coords), generator=generator)]
    return coords.to(device), torch.rand(len(coords), 3, generator=generator).to(device)


def small_encoder(device: str) -> MinkUNet14D:
    torch.manual_seed(0)
    return MinkUNet14D(EncoderConfig(out_channels=8, stem=8, planes=(8, 8, 8, 16, 16, 8, 8, 8))).to(device)


@pytest.mark.parametrize("device", DEVICES)
def test_encoder_agrees_and_a_grid_serves_twice(device):
    coords, feats = scene(device)
    encoder, grid = small_encoder(device).eval(), SpconvGrid(coords)
    rows = torch.tensor([5, 0, 17], device=device)
    with torch.no_grad():
        expected = encoder(SparseGrid(coords), feats)
        for _ in range(2):
            torch.testing.assert_close(encoder(grid, feats), expected, rtol=1e-4, atol=1e-4)
        encoder.fuse()
        torch.testing.assert_close(encoder(grid, feats), expected, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(encoder(grid, feats, rows), expected[rows], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("device", DEVICES)
def test_gradients_agree(device):
    coords, feats = scene(device)
    gradients = []
    for grid in (SparseGrid(coords), SpconvGrid(coords)):
        encoder = small_encoder(device).train()
        encoder(grid, feats).square().sum().backward()
        gradients.append([parameter.grad for parameter in encoder.parameters()])
    for plain, found in zip(*gradients, strict=True):
        torch.testing.assert_close(found, plain, rtol=1e-3, atol=1e-4 * float(plain.abs().max()) + 1e-5)


@pytest.mark.parametrize(
    ("coords", "message"),
    [
        (torch.zeros(0, 3, dtype=torch.int32), "non-empty"),
        (torch.zeros(2, 3, dtype=torch.int32), "1 voxels occur more than once"),
        (torch.tensor([[40000, 0, 0]]), "must lie within"),
    ],
)
def test_refuses_coordinates_that_mean_nothing(coords, message):
    with pytest.raises(ValueError, match=message):
        SpconvGrid(coords)


def test_refuses_levels_it_has_not_seen():
    grid = SpconvGrid(torch.zeros(1, 3, dtype=torch.int32))
    with pytest.raises(ValueError, match="level 1 has not been reached"):
        grid.convolve(torch.zeros(1, 2), torch.zeros(8, 2, 2), None, 1, 2)
