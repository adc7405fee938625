# SPDX-License-Identifier: Apache-2.0
"""Every fast path of the encoder against the plain one: compiled kernels, tables, some rows, the thin head, bf16."""

import copy
from contextlib import contextmanager, nullcontext
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cosine_similarity, normalize

from dropclip_ros.networks.encoder import LEAST_VARIANCE, OFFSET_UNIT, EncoderConfig, MinkUNet14D
from dropclip_ros.sparse import native
from dropclip_ros.sparse.cpu import SparseGrid

CONFIG = EncoderConfig(out_channels=40, stem=24, planes=(24, 32, 48, 20, 50, 64, 17, 16), offsets=True, objects=30)
KINDS = [(0, 0, 27), (0, 0, 125), (0, 1, 8), (1, 0, 8), (1, 1, 27)]  # level, to_level, offsets
compiled = pytest.mark.skipif(not native.available(), reason="the compiled kernels were not built")


@st.composite
def clouds(draw, most: int = 3000):
    """Voxels (N, 4) of up to three scenes, from one to a few thousand, dense or far apart, around zero or not."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    spread, corner = draw(st.integers(1, 40)), draw(st.integers(-60, 60))
    coords = torch.randint(spread, (draw(st.integers(1, most)), 3), generator=generator) + corner
    batch = torch.randint(draw(st.integers(1, 3)), (len(coords), 1), generator=generator)
    coords = torch.cat([batch, coords], 1).unique(dim=0)
    return coords[torch.randperm(len(coords), generator=generator)]


@contextmanager
def plain_torch():
    with patch.object(native, "available", lambda: False):
        yield


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def close(found: torch.Tensor, expected: torch.Tensor) -> None:
    """To 1e-4 of the largest number."""
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= 1e-4 * expected.abs().max().clamp(min=1e-3)


def rows_at(grid: SparseGrid, level: int) -> int:
    grid.pairs(0, 1, 2)
    return len(grid._levels[level])


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    encoder = MinkUNet14D(CONFIG)
    for name, tensor in encoder.state_dict().items():
        if name.endswith("running_mean"):
            tensor.normal_(0, 0.2)
        elif name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)
    return encoder.requires_grad_(False).fuse()


@compiled
@settings(deadline=None, max_examples=30)
@given(clouds(), st.sampled_from(KINDS), st.integers(1, 70), st.integers(1, 140), st.booleans(), st.booleans())
def test_compiled_kernels_are_plain_torch(coords, kind, inputs, outputs, finished, some):
    level, to_level, volume = kind
    results = []
    for available in (True, False):
        with patch.object(native, "available", lambda available=available: available), torch.no_grad():
            grid = SparseGrid(coords)
            x, kernel = random(rows_at(grid, level), inputs), random(volume, inputs, outputs, seed=1)
            count = rows_at(grid, to_level)
            rows = torch.randperm(count, generator=torch.Generator().manual_seed(0))[: count // 3 + 1]
            rows = rows if some and level == to_level else None
            bias = random(1, outputs, seed=2) if finished else None
            residual = random(count if rows is None else len(rows), outputs, seed=3) if finished else None
            results.append(grid.convolve(x, kernel, bias, level, to_level, residual, finished, rows))
    close(*results)


@compiled
@settings(deadline=None, max_examples=20)
@given(clouds(1000), st.sampled_from(KINDS), st.integers(1, 40), st.integers(1, 100))
def test_compiled_gradients_are_plain_torchs(coords, kind, inputs, outputs):
    level, to_level, volume = kind
    results = []
    for available in (True, False):
        with patch.object(native, "available", lambda available=available: available):
            grid = SparseGrid(coords)
            x, kernel = random(rows_at(grid, level), inputs), random(volume, inputs, outputs, seed=1)
            bias = random(1, outputs, seed=2)
            leaves = [leaf.requires_grad_() for leaf in (x, kernel, bias)]
            out = grid.convolve(x, kernel, bias, level, to_level)
            results.append(torch.autograd.grad(out, leaves, random(*out.shape, seed=3)))
    for found, expected in zip(*results, strict=True):
        close(found, expected)


@settings(deadline=None, max_examples=15)
@given(clouds())
def test_searching_finds_what_the_table_does(encoder, coords):
    feats = random(len(coords), 3)
    with torch.no_grad():
        by_table = encoder(coords, feats)
        with patch("dropclip_ros.sparse.cpu.CELLS", (0, 0)):
            close(encoder(coords, feats), by_table)


@settings(deadline=None, max_examples=15)
@given(clouds(1000), st.integers(1, 5), st.integers(0, 2**31))
def test_objects_are_described_by_what_every_block_says_of_their_voxels(encoder, coords, count, seed):
    generator = torch.Generator().manual_seed(seed)
    feats, owner = random(len(coords), 3), torch.randint(-1, count, (len(coords),), generator=generator)
    with torch.no_grad():
        passed = encoder.activations(coords, feats)
        described = encoder.object_descriptors(passed, owner, count)
    values, parent = [feats], torch.arange(len(coords))
    for level, outputs in enumerate(reversed(passed.levels)):
        parent = passed.grid._parents[level - 1][parent] if level else parent
        values.append(passed.grid.restore(outputs[parent]))
    values = torch.cat(values, 1)
    for k in range(count):
        of = values[owner == k]
        if not len(of):
            assert torch.isfinite(described[k]).all()
            continue
        mean, deviation = of.mean(0), of.var(0, correction=0).clamp(min=LEAST_VARIANCE).sqrt()
        moments = zip(mean.split([3, 16, 17, 64, 50]), deviation.split([3, 16, 17, 64, 50]), strict=True)
        expected = torch.cat([part for both in moments for part in both])
        assert (described[k, 4:] - expected).abs().max() < 2e-3 * expected.abs().max().clamp(min=1)
        xyz = coords[owner == k, 1:].float() / OFFSET_UNIT
        assert described[k, 0] == pytest.approx(np.log(len(of)), abs=1e-4)
        assert described[k, 3] == pytest.approx(max(float(xyz[:, 2].std(correction=0)), LEAST_VARIANCE**0.5), abs=1e-2)
        flat = torch.cov(xyz[:, :2].T, correction=0).reshape(2, 2)
        spread = torch.linalg.eigvalsh(flat).flip(0).clamp(min=LEAST_VARIANCE).sqrt()
        assert torch.allclose(described[k, 1:3], spread, atol=1e-2)


def test_an_untrained_head_for_objects_says_what_the_mean_voxel_does(encoder):
    coords = torch.cartesian_prod(torch.arange(12), torch.arange(9), torch.arange(2))
    feats, owner = random(len(coords), 3), torch.arange(len(coords)) % 4 - 1
    with torch.no_grad():
        passed = encoder.activations(coords, feats)
        found = encoder.object_features(passed, owner, 3)
        assert torch.equal(passed.decoded, encoder.decode(coords, feats))
        mean = torch.stack([encoder.head(passed.decoded)[owner == k].mean(0) for k in range(3)])
    close(found, normalize(mean, dim=1))


@settings(deadline=None, max_examples=15)
@given(clouds(), st.integers(0, 2**31))
def test_some_rows_are_those_of_all(encoder, coords, seed):
    rows = torch.randperm(len(coords), generator=torch.Generator().manual_seed(seed))[: len(coords) // 2 + 1]
    feats = random(len(coords), 3)
    with torch.no_grad():
        whole = encoder.decode(coords, feats)
        close(encoder.decode(coords, feats, rows), whole[rows])
        close(encoder(coords, feats, rows), encoder.head(whole[rows]))


def test_batch_norm_sees_all_voxels_whichever_rows_are_asked_for():
    torch.manual_seed(0)
    network, coords = MinkUNet14D(CONFIG).train(), torch.cartesian_prod(*[torch.arange(edge) for edge in (34, 34, 1)])
    rows, feats = torch.arange(5), random(len(coords), 3)
    close(network.decode(coords, feats, rows).detach(), network.decode(coords, feats)[rows].detach())


@pytest.mark.parametrize("channels", [8, 40])  # fewer and more than the head's input
def test_thin_head_keeps_features_norms_and_cosines(channels):
    torch.manual_seed(0)
    network = MinkUNet14D(EncoderConfig(out_channels=channels, planes=(8,) * 7 + (16,)))
    network.final.bias.data.normal_()
    decoded, phrases = random(100, 16), normalize(random(7, channels, seed=1), dim=1)
    with torch.no_grad():
        full, (thin, basis) = network.head(decoded), network.thin_head()
        close(thin(decoded) @ basis.T, full)
        close(thin(decoded).norm(dim=1), full.norm(dim=1))
        close(normalize(thin(decoded), dim=1) @ (phrases @ basis).T, normalize(full, dim=1) @ phrases.T)
    assert basis.shape == (channels, min(channels, 17))


@settings(deadline=None, max_examples=5)
@given(clouds(1500))
def test_bf16_says_nearly_the_same(coords):
    torch.manual_seed(0)
    network = MinkUNet14D(CONFIG)
    full, half = copy.deepcopy(network).fuse(), network.fuse(torch.bfloat16)
    feats = random(len(coords), 3).abs()
    with torch.no_grad():
        expected, found = full(coords, feats), half(coords, feats)
    assert found.dtype == torch.float32
    assert cosine_similarity(found, expected).min() > 0.999


def test_buffers_serve_inference_mode_and_training_by_turns():
    coords, kernel = torch.cartesian_prod(*[torch.arange(4)] * 3), torch.rand(27, 2, 2)
    with plain_torch():
        grid = SparseGrid(coords)
        with torch.inference_mode():
            grid.convolve(torch.rand(64, 2), kernel, None, 0, 0)
        grid.convolve(torch.rand(64, 2), kernel.requires_grad_(), None, 0, 0).sum().backward()
    assert kernel.grad.abs().sum() > 0


def test_half_a_million_voxels_come_out_the_same_on_every_path():
    """Negative coordinates too; compiled, plain torch, searched instead of looked up, and bf16."""
    generator = torch.Generator().manual_seed(0)
    cells = torch.randint(1 << 24, (510_000,), generator=generator).unique()[:500_000]
    coords = torch.stack([cells >> 16, cells >> 8 & 255, cells & 255], dim=1) - 128
    x, kernel = random(len(coords), 4), random(27, 4, 8, seed=1)

    def convolved(dtype: torch.dtype = torch.float32) -> torch.Tensor:
        grid = SparseGrid(coords)
        return grid.restore(grid.convolve(grid.permute(x.to(dtype)), kernel.to(dtype), None, 0, 0)).float()

    with torch.no_grad():
        expected = convolved()
        with plain_torch():
            close(convolved(), expected)
        with patch("dropclip_ros.sparse.cpu.CELLS", (0, 0)):
            close(convolved(), expected)
        assert cosine_similarity(convolved(torch.bfloat16), expected).min() > 0.999


def test_no_voxels_and_voxels_that_repeat_are_refused_on_every_path():
    twice = torch.tensor([[0, -1, 2], [5, 5, 5], [0, -1, 2]])
    for coords, message in ((twice[:0], "non-empty"), (twice, "more than once")):
        for context in (nullcontext(), plain_torch()):
            with context, pytest.raises(ValueError, match=message):
                SparseGrid(coords)
