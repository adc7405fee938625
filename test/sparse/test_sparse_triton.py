# SPDX-License-Identifier: Apache-2.0
"""The Triton kernels against plain torch: on a CUDA device where there is one, else in Triton's interpreter.

conftest.py switches the interpreter on before anything imports Triton.
"""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cosine_similarity
from torch.utils._python_dispatch import TorchDispatchMode

from dropclip_ros.networks.encoder import EncoderConfig, MinkUNet14D
from dropclip_ros.sparse import make_grid
from dropclip_ros.sparse.cpu import SparseGrid

pytest.importorskip("dropclip_ros.sparse.triton", reason="no Triton 3.6 or newer", exc_type=ImportError)

from dropclip_ros.sparse import triton as sparse_triton
from dropclip_ros.sparse.triton import TritonGrid

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
if DEVICE == "cpu":
    sparse_triton.PROGRAMS = 1  # the interpreter runs one after the other
# level, to_level, offsets
WITHIN, WIDE, DOWN, UP = (0, 0, 27), (0, 0, 125), (0, 1, 8), (1, 0, 8)


def voxels(count: int, spread: int, seed: int = 0, batches: int = 1) -> torch.Tensor:
    """About so many distinct voxels (b, x, y, z), shuffled."""
    generator = torch.Generator().manual_seed(seed)
    xyz = torch.randint(-spread, spread, (count, 3), generator=generator)
    coords = torch.cat([torch.randint(batches, (count, 1), generator=generator), xyz], 1).unique(dim=0)
    return coords[torch.randperm(len(coords), generator=generator)].to(DEVICE)


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(DEVICE, dtype)


def through(grid, x, kernel, kind, bias=None):
    """A convolution in the caller's order. Coarse rows have no such order: these are entered or left by pooling, with
    weights that tell the children apart."""
    level, to_level, _ = kind
    inputs, outputs = kernel.shape[1:]
    weights = torch.arange(1, 9, device=x.device, dtype=x.dtype)[:, None, None] / 8
    x = grid.permute(x)
    if level == 1:
        x = grid.convolve(x, weights * torch.eye(inputs, device=x.device, dtype=x.dtype), None, 0, 1)
    x = grid.convolve(x, kernel, bias, level, to_level)
    if to_level == 1:
        x = grid.convolve(x, weights * torch.eye(outputs, device=x.device, dtype=x.dtype), None, 1, 0)
    return grid.restore(x)


def outputs_and_gradients(grid_type, coords, kind, inputs, outputs, dtype=torch.float32):
    volume = kind[2]
    x = random(len(coords), inputs, seed=1, dtype=dtype).requires_grad_()
    kernel = (random(volume, inputs, outputs, seed=2) / (volume * inputs) ** 0.5).to(dtype).requires_grad_()
    bias = random(1, outputs, seed=3, dtype=dtype).requires_grad_()
    out = through(grid_type(coords), x, kernel, kind, bias)
    out.backward(random(*out.shape, seed=4, dtype=dtype))
    return out.detach(), x.grad, kernel.grad, bias.grad


clouds = st.lists(st.tuples(st.integers(0, 2), *[st.integers(-3, 3)] * 3), min_size=1, max_size=24, unique=True).map(
    lambda rows: torch.tensor(rows, device=DEVICE)
)


@given(coords=clouds, kind=st.sampled_from([WITHIN, DOWN, UP]), inputs=st.integers(1, 40), outputs=st.integers(1, 40))
@settings(max_examples=12, deadline=None)
def test_agrees_with_plain_torch(coords, kind, inputs, outputs):
    """One voxel, several batches, negative coordinates, offsets that nothing has, channels that fill no block."""
    expected = outputs_and_gradients(SparseGrid, coords, kind, inputs, outputs)
    for found, plain in zip(outputs_and_gradients(TritonGrid, coords, kind, inputs, outputs), expected, strict=True):
        torch.testing.assert_close(found, plain, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("kind", "inputs", "outputs"), [(WIDE, 3, 20), (WITHIN, 70, 80), (DOWN, 16, 33), (UP, 65, 8)])
def test_agrees_over_several_tiles(kind, inputs, outputs):
    coords = voxels(90, 4, batches=2)
    expected = outputs_and_gradients(SparseGrid, coords, kind, inputs, outputs)
    for found, plain in zip(outputs_and_gradients(TritonGrid, coords, kind, inputs, outputs), expected, strict=True):
        torch.testing.assert_close(found, plain, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_close(dtype):
    coords = voxels(70, 3)
    expected = outputs_and_gradients(SparseGrid, coords, WITHIN, 24, 40)
    for found, plain in zip(outputs_and_gradients(TritonGrid, coords, WITHIN, 24, 40, dtype), expected, strict=True):
        assert found.dtype == dtype
        assert cosine_similarity(found.float().flatten(), plain.flatten(), 0) > 0.999


def test_obeys_autocast():
    coords = voxels(10, 3)
    kernel = random(27, 2, 3).requires_grad_()
    with torch.autocast(DEVICE, torch.bfloat16):
        out = TritonGrid(coords).convolve(random(len(coords), 2), kernel, None, 0, 0)
    out.sum().backward()
    assert (out.dtype, kernel.grad.dtype) == (torch.bfloat16, torch.float32)


@pytest.mark.parametrize("programs", [1, 64])  # enough work for the device, or the sum is split among more programs
def test_bias_residual_and_relu_are_part_of_the_convolution(programs, monkeypatch):
    monkeypatch.setattr(sparse_triton, "PROGRAMS", programs)
    coords = voxels(70, 3)
    grid = TritonGrid(coords)
    tensors = [random(*s, seed=i) for i, s in enumerate([(len(coords), 8), (27, 8, 12), (1, 12), (len(coords), 12)])]
    found, expected = ([t.clone().requires_grad_() for t in tensors] for _ in range(2))
    x, kernel, bias, residual = found
    fused = grid.convolve(x, kernel, bias, 0, 0, residual=residual, relu=True)
    with torch.no_grad():  # the path without autograd
        torch.testing.assert_close(grid.convolve(x, kernel, bias, 0, 0, residual=residual, relu=True), fused)
    x, kernel, bias, residual = expected
    plain = torch.relu(grid.convolve(x, kernel, None, 0, 0) + bias + residual)
    torch.testing.assert_close(fused, plain, rtol=1e-4, atol=1e-4)
    upstream = random(*plain.shape, seed=9)
    fused.backward(upstream)
    plain.backward(upstream)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-4)


def small_encoder() -> MinkUNet14D:
    torch.manual_seed(0)
    encoder = MinkUNet14D(EncoderConfig(out_channels=7, stem=6, planes=(6, 8, 8, 10, 12, 8, 8, 6)))
    for name, tensor in encoder.state_dict().items():
        if name.endswith("running_mean"):
            tensor.normal_(0, 0.2)
        elif name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)
    return encoder.to(DEVICE)


def test_whole_network_agrees():
    """Spread out, so that every level has voxels with and without neighbours."""
    coords = torch.cat([voxels(45, 3), voxels(15, 60, seed=1) + 100])
    feats, encoder = random(len(coords), 3), small_encoder().eval()
    with torch.no_grad():
        expected = encoder(SparseGrid(coords), feats)
        torch.testing.assert_close(encoder(TritonGrid(coords), feats), expected, rtol=1e-4, atol=1e-4)
        fused, grid, rows = encoder.fuse(), TritonGrid(coords), torch.tensor([3, 0, 40], device=DEVICE)
        torch.testing.assert_close(fused(grid, feats), expected, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(fused(grid, feats, rows), expected[rows], rtol=1e-4, atol=1e-4)
        half = small_encoder().eval().fuse(torch.bfloat16)(grid, feats)
    assert cosine_similarity(half.flatten(), expected.flatten(), 0) > 0.999


def test_describes_objects_alike(monkeypatch):
    coords, encoder, found = voxels(60, 3), small_encoder().eval(), []
    feats, owner = random(len(coords), 3), torch.arange(len(coords), device=DEVICE) % 4 - 1
    for grid in ("torch", "triton"):
        monkeypatch.setenv("DROPCLIP_GRID", grid)
        with torch.no_grad():
            found.append(encoder.object_descriptors(encoder.activations(coords, feats), owner, 3))
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-3)


def test_voxels_at_the_borders_of_the_range_do_not_meet():
    edge = 32767
    coords = torch.tensor([[b, s * edge, s * edge, s * edge] for b in (0, 1, 16383) for s in (-1, 1)], device=DEVICE)
    grid, weights = TritonGrid(coords), torch.ones(27, 1, 1, device=DEVICE)
    ones = torch.ones(len(coords), 1, device=DEVICE)
    for level in range(5):  # alone at every level
        torch.testing.assert_close(grid.convolve(ones, weights, None, level, level), ones)


class NoWaiting(TorchDispatchMode):
    """Refuses what makes the host wait for a device: values read back, and results whose shape depends on values."""

    WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "equal", "is_nonzero", "repeat_interleave")

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        name = function.overloadpacket.__name__
        assert not name.startswith(self.WAITING), f"{name} waits for the device"
        return function(*arguments, **keywords or {})


def test_training_step_agrees_and_only_the_new_grid_waits_for_the_device_once(monkeypatch):
    coords, reads, tolist = voxels(50, 3), [], torch.Tensor.tolist
    feats = random(len(coords), 3)
    expected, found = small_encoder().train(), small_encoder().train()
    for encoder in (expected, found):  # the interpreter has enough to do with the outer ones; all pass gradients on
        for number in range(2, 8):
            encoder.get_submodule(f"block{number}").requires_grad_(False)
    expected(SparseGrid(coords), feats).square().sum().backward()
    monkeypatch.setattr(torch.Tensor, "tolist", lambda tensor: reads.append(tensor) or tolist(tensor))
    with NoWaiting():
        found(TritonGrid(coords), feats).square().sum().backward()
    assert len(reads) == 1
    for a, b in zip(found.parameters(), expected.parameters(), strict=True):
        if b.requires_grad:
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-3, atol=1e-4 * float(b.grad.abs().max()) + 1e-5)


@pytest.mark.skipif(DEVICE == "cpu", reason="no CUDA device")
def test_no_synchronisation_on_the_device():
    coords = voxels(5000, 20)
    feats, encoder = random(len(coords), 3), small_encoder()
    encoder(TritonGrid(coords), feats).sum().backward()  # compiles and tunes
    grid = TritonGrid(coords)
    torch.cuda.set_sync_debug_mode("error")
    try:
        encoder(grid, feats).sum().backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_repeats_to_the_bit():
    coords = voxels(50, 3)
    first, second = (outputs_and_gradients(TritonGrid, coords, WITHIN, 9, 12) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize(
    ("coords", "message"),
    [
        (torch.zeros(0, 3, dtype=torch.int32), "non-empty"),
        (torch.zeros(4, 3), "integer"),
        (torch.zeros(2, 3, dtype=torch.int32), "1 voxels occur more than once"),
        (torch.tensor([[40000, 0, 0]]), "must lie within"),
        (torch.tensor([[-1, 0, 0, 0]]), "batch indices"),
    ],
)
def test_refuses_coordinates_that_mean_nothing(coords, message):
    with pytest.raises(ValueError, match=message):
        TritonGrid(coords.to(DEVICE))


def test_refuses_what_it_cannot_compute():
    grid = TritonGrid(torch.zeros(1, 3, dtype=torch.int32, device=DEVICE))
    for kernel, level, to_level in ((64, 0, 0), (8, 0, 2), (8, 4, 5), (125, 4, 4)):
        with pytest.raises(ValueError, match=r"no convolution|levels|takes kernels"):
            grid.convolve(random(1, 2), random(kernel, 2, 2), None, level, to_level)
    with pytest.raises(ValueError, match="float64"):
        grid.convolve(random(1, 2).double(), random(27, 2, 2), None, 0, 0)


def test_the_encoder_takes_the_grid_that_the_environment_names(monkeypatch):
    coords = voxels(5, 2)
    monkeypatch.delenv("DROPCLIP_GRID", raising=False)
    assert isinstance(make_grid(coords), TritonGrid if DEVICE == "cuda" else SparseGrid)
    for name, grid in (("torch", SparseGrid), ("triton", TritonGrid)):
        monkeypatch.setenv("DROPCLIP_GRID", name)
        assert isinstance(make_grid(coords), grid)
    with pytest.raises(ValueError, match="more than once"):
        make_grid(torch.cat([coords, coords]))
    monkeypatch.setattr(sparse_triton, "link_kernel", None)  # say, no compiler
    with pytest.raises(RuntimeError, match=r"triton does not run on .* DROPCLIP_GRID=torch"):
        make_grid(coords)
    monkeypatch.setenv("DROPCLIP_GRID", "fast")
    with pytest.raises(ValueError, match="must be one of torch, triton, spconv, minkowski"):
        make_grid(coords)


def test_compiles_for_the_gpus_it_is_meant_for():
    """H200, RTX 4090 and Orin, without a GPU: what the interpreter runs, the compiler may still refuse."""
    script = Path(__file__).with_name("compile_triton.py")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
