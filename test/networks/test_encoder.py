# SPDX-License-Identifier: Apache-2.0
"""Sparse convolution against dense convolution, and the encoder against an independent implementation."""

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.nn.functional import conv3d, conv_transpose3d

from dropclip_ros.networks.encoder import EncoderConfig, MinkUNet14D
from dropclip_ros.sparse.cpu import SparseGrid
from dropclip_ros.sparse.minkowski import MinkowskiGrid

GOLDEN = Path(__file__).parents[1] / "golden"
LISTING = Path(__file__).resolve().parents[3] / "shared" / "sparse" / "minkunet14d_state_dict.txt"
SMALL = EncoderConfig(out_channels=7, stem=6, planes=(6, 8, 8, 10, 12, 8, 8, 6))


def random_voxels(count: int = 400, spread: int = 12, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    coords = torch.randint(-spread, spread, (count, 3), generator=generator).unique(dim=0)
    coords = coords[torch.randperm(len(coords), generator=generator)]
    return coords.int(), torch.rand(len(coords), 3, generator=generator)


def small_encoder(seed: int = 0) -> MinkUNet14D:
    """With batch norms that do something."""
    torch.manual_seed(seed)
    encoder = MinkUNet14D(SMALL).eval()
    for name, tensor in encoder.state_dict().items():
        if name.endswith("running_mean"):
            tensor.normal_(0, 0.2)
        elif name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)
    return encoder


class Cube:
    """A cube of voxels, 40 % filled, from `corner` on: the same features sparse and dense."""

    def __init__(self, corner: int, edge: int = 8, channels: int = 3, seed: int = 0):
        generator = torch.Generator().manual_seed(seed)
        self.filled = torch.rand(edge, edge, edge, generator=generator) < 0.4
        self.index = self.filled.nonzero()
        self.index = self.index[torch.randperm(len(self.index), generator=generator)]
        self.features = torch.randn(len(self.index), channels, generator=generator, dtype=torch.float64)
        self.coords = self.index + corner
        self.dense = torch.zeros(1, channels, edge, edge, edge, dtype=torch.float64)
        x, y, z = self.index.T
        self.dense[0, :, x, y, z] = self.features.T

    def at(self, dense: torch.Tensor) -> torch.Tensor:
        x, y, z = self.index.T
        return dense[0, :, x, y, z].T


def dense_weight(kernel: torch.Tensor, size: int) -> torch.Tensor:
    """Offsets run x fastest: (size^3, Ci, Co) to (Co, Ci, x, y, z)."""
    return kernel.view(size, size, size, *kernel.shape[1:]).permute(4, 3, 2, 1, 0)


@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("corner", [0, -5])
def test_convolution_within_a_level_is_dense_convolution_at_the_voxels(size, corner):
    cube = Cube(corner)
    kernel = torch.randn(size**3, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    bias = torch.randn(1, 4, dtype=torch.float64)
    grid = SparseGrid(cube.coords)
    found = grid.restore(grid.convolve(grid.permute(cube.features), kernel, bias, 0, 0))
    expected = cube.at(conv3d(cube.dense, dense_weight(kernel, size), padding=size // 2)) + bias
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("corner", [0, -6])
def test_strided_and_transposed_convolutions_are_dense_ones(corner):
    cube = Cube(corner)
    generator = torch.Generator().manual_seed(1)
    down = torch.randn(8, 3, 4, dtype=torch.float64, generator=generator)
    up = torch.randn(8, 4, 5, dtype=torch.float64, generator=generator)
    grid = SparseGrid(cube.coords)
    coarse = grid.convolve(grid.permute(cube.features), down, None, 0, 1)
    fine = grid.restore(grid.convolve(coarse, up, None, 1, 0))

    dense = conv3d(cube.dense, dense_weight(down, 2), stride=2)
    occupied = torch.nn.functional.max_pool3d(cube.filled[None].double(), 2)[0] > 0
    torch.testing.assert_close(coarse, dense[0][:, occupied].T)  # both lie in order of x, y, z
    expected = conv_transpose3d(dense, dense_weight(up, 2).transpose(0, 1), stride=2)
    torch.testing.assert_close(fine, cube.at(expected))


def test_levels_halve_on_the_absolute_grid_also_below_zero():
    coords = torch.tensor([[-1, 0, 0], [0, 0, 0], [1, 0, 0], [-2, 0, 0]])
    grid = SparseGrid(coords)
    ones = torch.ones(4, 1)
    pooled = grid.convolve(ones, torch.ones(8, 1, 1), None, 0, 1)
    assert pooled.flatten().tolist() == [2, 2]  # {-2, -1} and {0, 1}


@pytest.mark.parametrize(("level", "to_level", "volume"), [(0, 0, 27), (0, 1, 8), (1, 0, 8)])
def test_gradients_are_the_derivatives(level, to_level, volume):
    grid = SparseGrid(random_voxels(40, 3)[0])
    rows = len(grid) if level == 0 else len(grid.convolve(torch.ones(len(grid), 1), torch.ones(8, 1, 1), None, 0, 1))
    generator = torch.Generator().manual_seed(0)
    arguments = [(rows, 2), (volume, 2, 3), (1, 3)]
    tensors = [torch.randn(s, dtype=torch.float64, generator=generator, requires_grad=True) for s in arguments]
    assert torch.autograd.gradcheck(lambda x, kernel, bias: grid.convolve(x, kernel, bias, level, to_level), tensors)


def test_output_does_not_depend_on_the_tile(monkeypatch):
    coords, feats = random_voxels()
    encoder = small_encoder()
    with torch.no_grad():
        whole = encoder(coords, feats)
        monkeypatch.setattr("dropclip_ros.sparse.native.available", lambda: False)
        torch.testing.assert_close(encoder(coords, feats), whole, rtol=1e-5, atol=1e-6)
        monkeypatch.setattr("dropclip_ros.sparse.cpu.TILE", 37)
        torch.testing.assert_close(encoder(coords, feats), whole, rtol=1e-5, atol=1e-6)


def test_agrees_with_an_independent_implementation():
    """Golden output: float64, by an implementation that agrees with MinkowskiEngine and spconv to 7e-7."""
    golden = load_file(GOLDEN / "encoder.safetensors")
    weights = {k.removeprefix("weights."): v for k, v in golden.items() if k.startswith("weights.")}
    encoder = MinkUNet14D(EncoderConfig(out_channels=6, stem=32, planes=(4, 6, 8, 8, 8, 8, 6, 4))).eval()
    encoder.load_state_dict(weights)
    with torch.no_grad():
        found = encoder(golden["coords"], golden["feats"])
    torch.testing.assert_close(found, golden["output"], rtol=1e-4, atol=1e-4)


def state_listing() -> list[str]:
    with torch.device("meta"):
        state = MinkUNet14D().state_dict()
    return [f"{name} {tuple(tensor.shape)}" for name, tensor in state.items()]


def test_state_dict_is_that_of_minkowski_engine():
    found = state_listing()
    assert found[0] == "conv0p1s1.kernel (125, 3, 32)"
    assert "block5.0.downsample.0.kernel (512, 384)" in found
    assert "convtr7p2s2.kernel (8, 384, 384)" in found
    assert found[-2:] == ["final.kernel (384, 768)", "final.bias (1, 768)"]
    digest = hashlib.sha256("\n".join(found).encode()).hexdigest()
    assert digest == "b5cdf1c464e24060157d1e6904ac05a88a8902f7d22eb66cb77746dfd1318608"
    with torch.device("meta"):
        assert sum(p.numel() for p in MinkUNet14D().parameters()) == 43_603_744


def test_state_dict_matches_the_reference_listing():
    if not LISTING.exists():
        pytest.skip(f"{LISTING} is not here")
    assert state_listing() == [line for line in LISTING.read_text().splitlines() if " " in line]


def test_rows_keep_the_callers_order():
    coords, feats = random_voxels()
    order = torch.randperm(len(coords), generator=torch.Generator().manual_seed(4))
    encoder = small_encoder()
    with torch.no_grad():
        torch.testing.assert_close(encoder(coords[order], feats[order]), encoder(coords, feats)[order])


def test_shift_by_a_multiple_of_16_changes_nothing_and_another_does():
    coords, feats = random_voxels()
    encoder = small_encoder()
    with torch.no_grad():
        still = encoder(coords, feats)
        torch.testing.assert_close(encoder(coords + torch.tensor([16, -32, 48]), feats), still)
        assert not torch.allclose(encoder(coords + 7, feats), still, atol=1e-2)


def test_scenes_of_a_batch_do_not_meet():
    coords, feats = random_voxels(seed=1)
    others, other_feats = random_voxels(seed=2)
    both = torch.cat(
        [torch.nn.functional.pad(coords, (1, 0), value=0), torch.nn.functional.pad(others, (1, 0), value=1)]
    )
    encoder = small_encoder()
    with torch.no_grad():
        together = encoder(both, torch.cat([feats, other_feats]))
        torch.testing.assert_close(together[: len(coords)], encoder(coords, feats))
        torch.testing.assert_close(together[len(coords) :], encoder(others, other_feats))


def test_fused_encoder_gives_the_same_features():
    coords, feats = random_voxels()
    encoder = small_encoder()
    with torch.no_grad():
        plain = encoder(coords, feats)
        torch.testing.assert_close(encoder.fuse()(coords, feats), plain, rtol=1e-4, atol=1e-5)
    assert not encoder.training


def test_repeats_to_the_bit():
    coords, feats = random_voxels()
    encoder = small_encoder()
    with torch.inference_mode():
        assert torch.equal(encoder(coords, feats), encoder(coords, feats))


def test_learns():
    coords, feats = random_voxels()
    grid, encoder = SparseGrid(coords), small_encoder().train()
    target = torch.nn.functional.normalize(coords.float() @ torch.randn(3, 7), dim=1)
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=1e-2)
    losses = []
    for _ in range(20):
        loss = 1 - torch.cosine_similarity(encoder(grid, feats), target).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_single_voxel():
    with torch.no_grad():
        assert small_encoder()(torch.zeros(1, 3, dtype=torch.int32), torch.ones(1, 3)).isfinite().all()


@pytest.mark.parametrize(
    ("coords", "message"),
    [
        (torch.zeros(0, 3, dtype=torch.int32), "non-empty"),
        (torch.zeros(4, 3), "integer"),
        (torch.zeros(4, 2, dtype=torch.int32), "N, 3"),
        (torch.zeros(2, 3, dtype=torch.int32), "1 voxels occur more than once"),
        (torch.tensor([[40000, 0, 0]]), "must lie within"),
        (torch.tensor([[-1, 0, 0, 0]]), "batch indices"),
    ],
)
def test_refuses_coordinates_that_mean_nothing(coords, message):
    with pytest.raises(ValueError, match=message):
        SparseGrid(coords)


def test_refuses_features_that_do_not_fit():
    coords, feats = random_voxels()
    with pytest.raises(ValueError, match=r"must be \(N, 3\)"):
        small_encoder()(coords, feats[:, :2])
    with pytest.raises(ValueError, match="feature rows"):
        small_encoder()(coords, feats[1:])


@pytest.mark.parametrize(
    "change", [{"planes": (8,) * 7}, {"stem": 0}, {"out_channels": 5000}, {"planes": (8,) * 7 + (-1,)}]
)
def test_config_names_what_is_wrong(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        EncoderConfig(**change)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_agrees_with_cpu():
    coords, feats = random_voxels(4000, 30)
    encoder = small_encoder()
    with torch.no_grad():
        cpu = encoder(coords, feats)
        torch.testing.assert_close(encoder.cuda()(coords.cuda(), feats.cuda()).cpu(), cpu, rtol=1e-3, atol=1e-4)


def test_agrees_with_minkowski_engine():
    pytest.importorskip("MinkowskiEngine", reason="MinkowskiEngine, the reference backend, is not installed")
    coords, feats = random_voxels(2000, 20)
    encoder = small_encoder()
    with torch.no_grad():
        torch.testing.assert_close(encoder(MinkowskiGrid(coords), feats), encoder(coords, feats), rtol=0, atol=1e-4)
