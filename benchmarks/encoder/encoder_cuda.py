# SPDX-License-Identifier: Apache-2.0
"""Encoder on a CUDA device: forward and training step from 5 k to 500 k voxels, against its peers and the roofline.

    python -m benchmarks.encoder.encoder_cuda [--voxels 5000 50000] [--runs 20] [--dtypes float16 float32]

Every backend that can be had runs by turns in one process on the same voxels and weights: our Triton kernels, plain
torch, spconv, MinkowskiEngine (fp32 only); one that cannot is named as absent. Each is first compared with plain torch
in fp32. `forward`: a new frame, kernel maps included; `again`: the same voxels once more; `training`: maps, forward and
backward, without optimiser, half precision by autocast (which plain torch does not obey: it stays fp32). Medians of
CUDA events.

Roofline: each convolution takes at least its multiplications at the rate of a large dense product and its bytes (every
input, output, weight and neighbour index moved once) at the rate of a copy, both measured on the spot; a training step
three times that. Without a CUDA device nothing is timed.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
import torch
import tyro
from torch import Tensor

from dropclip_ros.networks.encoder import EncoderConfig, MinkUNet14D
from dropclip_ros.sparse.cpu import SparseGrid
from dropclip_ros.sparse.minkowski import MinkowskiGrid
from dropclip_ros.sparse.protocol import Grid, kernel_size

GridType = Callable[[Tensor], Grid]
SIZES = (5_000, 20_000, 50_000, 120_000, 500_000)


def tabletop(count: int, seed: int = 0) -> Tensor:
    """About `count` voxels (N, 3), int32, shuffled: the surface of a table with boxes and balls on it."""
    rng = np.random.default_rng(seed)
    side = math.isqrt(int(0.75 * count)) + 1
    x, y = np.meshgrid(np.arange(side), np.arange(side), indexing="ij")
    height = np.zeros((side, side), int)
    for nth in range(12):
        at, size = rng.uniform(0.1, 0.9, 2) * side, rng.uniform(0.04, 0.1) * side
        dx, dy = x - at[0], y - at[1]
        if nth % 2:
            top = np.sqrt(np.maximum(size**2 - dx**2 - dy**2, 0)) + size * (dx**2 + dy**2 < size**2)
        else:
            top = size * rng.uniform(0.5, 2) * ((abs(dx) < size) & (abs(dy) < size))
        height = np.maximum(height, top.astype(int))
    around = np.pad(height, 1, mode="edge")
    lowest = np.minimum.reduce([around[:-2, 1:-1], around[2:, 1:-1], around[1:-1, :-2], around[1:-1, 2:]])
    depth = np.maximum(height - lowest, 1)  # voxels of the side below the top one
    z = np.repeat(height.ravel(), depth.ravel()) - np.concatenate([np.arange(n) for n in depth.ravel()])
    coords = np.stack([np.repeat(x.ravel(), depth.ravel()), np.repeat(y.ravel(), depth.ravel()), z], 1)
    return torch.from_numpy(rng.permutation(coords).astype(np.int32))


class Counting:
    """A grid that notes what each convolution of a pass must do, and computes nothing: outputs are zeros."""

    def __init__(self, grid: SparseGrid):
        self._grid, self.operations, self.rows = grid, [], {0: len(grid)}

    def __len__(self) -> int:
        return len(self._grid)

    def permute(self, features: Tensor) -> Tensor:
        return features

    def restore(self, features: Tensor) -> Tensor:
        return features

    def convolve(
        self, features: Tensor, kernel: Tensor, bias, level: int, to_level: int, residual=None, relu=False
    ) -> Tensor:
        volume, inputs, outputs = kernel.shape
        if to_level not in self.rows:
            ones = torch.ones(len(features), 1, device=features.device)
            self.rows[to_level] = len(self._grid.convolve(ones, ones.new_ones(volume, 1, 1), None, level, to_level))
        out = features.new_zeros(self.rows[to_level], outputs)
        pairs = self._grid.pairs(level, to_level, kernel_size(volume))
        values = features.numel() + kernel.numel() + out.numel() * (1 if residual is None else 2)
        self.operations.append(Operation(2 * pairs * inputs * outputs, values, 4 * volume * len(out)))
        return out


class Operation(NamedTuple):
    """A layer's least work: floating-point operations, numbers moved once, bytes of neighbour indices."""

    flops: int
    values: int
    index_bytes: int

    def seconds(self, flops: float, bytes_per_second: float, size: int) -> float:
        """At these rates, with numbers of `size` bytes."""
        return max(self.flops / flops, (self.values * size + self.index_bytes) / bytes_per_second)


def work(encoder: MinkUNet14D, coords: Tensor, feats: Tensor) -> list[Operation]:
    """Every convolution of a pass, and the products with the kernels of size 1."""
    counting = Counting(SparseGrid(coords))
    with torch.no_grad():
        encoder(counting, feats)
    ones = {0: [encoder.final.kernel]}
    for number in range(1, 9):  # down to level 4 and up again
        block = encoder.get_submodule(f"block{number}.0")
        if block.downsample is not None:
            ones.setdefault(number if number <= 4 else 8 - number, []).append(block.downsample[0].kernel)
    for level, kernels in ones.items():
        n = counting.rows[level]
        for kernel in kernels:
            inputs, outputs = kernel.shape
            counting.operations.append(Operation(2 * n * inputs * outputs, n * (inputs + outputs) + kernel.numel(), 0))
    return counting.operations


def grids(device: str, dtype: torch.dtype) -> tuple[dict[str, GridType], list[str]]:
    """Backends that run here in this dtype, plain torch first, and why others do not."""
    found, absent = {"torch": SparseGrid}, []
    for name, load in {"triton": _triton, "spconv": _spconv, "minkowski": _minkowski}.items():
        if name == "minkowski" and dtype != torch.float32:
            continue
        try:
            grid = load()
            grid(torch.zeros(1, 3, dtype=torch.int32, device=device))
            found[name] = grid
        except Exception as error:  # whatever keeps a peer from running, it is not there
            absent.append(f"{name}: {str(error).splitlines()[0]}")
    return found, absent


def _triton() -> GridType:
    from dropclip_ros.sparse.triton import TritonGrid

    return TritonGrid


def _spconv() -> GridType:
    from dropclip_ros.sparse.spconv import SpconvGrid

    return SpconvGrid


def _minkowski() -> GridType:
    return MinkowskiGrid


def seconds(call: Callable[[], object], device: str) -> float:
    """Of one call, on the device's clock."""
    if device == "cpu":
        start = time.perf_counter()
        call()
        return time.perf_counter() - start
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    begin.record()
    call()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) / 1e3


def by_turns(calls: dict[str, Callable[[], object]], runs: int, device: str) -> dict[str, float]:
    """Median seconds of each call; they take turns, so that what disturbs one disturbs all. A tenth is to warm up."""
    warm, times = -(-runs // 10) if runs > 1 else 0, {name: [] for name in calls}
    for run in range(warm + runs):
        for name, call in calls.items():
            taken = seconds(call, device)
            if run >= warm:
                times[name].append(taken)
    return {name: float(np.median(taken)) for name, taken in times.items()}


def ceilings(dtype: torch.dtype, device: str = "cuda", edge: int = 8192) -> tuple[float, float]:
    """FLOP/s of a dense product and bytes/s of a copy, the best of several."""
    a, b = (torch.randn(edge, edge, device=device).to(dtype) for _ in range(2))
    block = torch.empty(4 * edge * edge, device=device)
    other = torch.empty_like(block)
    product = min(seconds(lambda: a @ b, device) for _ in range(10))
    copied = min(seconds(lambda: other.copy_(block), device) for _ in range(10))
    return 2 * edge**3 / product, 2 * 4 * block.numel() / copied


def training_step(
    encoder: MinkUNet14D, grid: GridType, coords: Tensor, feats: Tensor, target: Tensor, dtype: torch.dtype
) -> None:
    """Maps, forward, cosine distance, backward; weights stay fp32."""
    encoder.zero_grad(set_to_none=True)
    with torch.autocast(coords.device.type, dtype, enabled=dtype != torch.float32):
        found = encoder(grid(coords), feats)
    (1 - torch.cosine_similarity(found.float(), target)).mean().backward()


def compare(
    encoder: MinkUNet14D, coords: Tensor, backends: dict[str, GridType], dtype: torch.dtype, runs: int
) -> dict[str, dict[str, float]]:
    """Median seconds of `forward`, `again`, `training` for each backend, and its relative `error` against plain torch
    in fp32.

    encoder: fp32 and not fused; it comes back with gradients.
    """
    device, feats = coords.device.type, torch.rand(len(coords), 3, device=coords.device)
    fused = copy.deepcopy(encoder).fuse(dtype)
    results = {name: {} for name in backends}
    with torch.no_grad():
        plain = encoder.eval()(SparseGrid(coords), feats)
        kept = {name: grid(coords) for name, grid in backends.items()}
        for name, grid in kept.items():
            results[name]["error"] = float((fused(grid, feats) - plain).norm() / plain.norm())
        calls = {name: partial(lambda grid: fused(grid(coords), feats), grid) for name, grid in backends.items()}
        again = {name: partial(fused, grid, feats) for name, grid in kept.items()}
        timed = {"forward": by_turns(calls, runs, device), "again": by_turns(again, runs, device)}
    encoder.train()
    target = torch.randn_like(plain)
    steps = {
        name: partial(training_step, encoder, grid, coords, feats, target, dtype) for name, grid in backends.items()
    }
    timed["training"] = by_turns(steps, runs, device)
    for column, values in timed.items():
        for name, value in values.items():
            results[name][column] = value
    return results


def table(results: dict[str, dict[str, float]], floor: float) -> str:
    """Markdown; `floor`: seconds of a forward pass at the roofline."""
    lines = ["| ms | forward | again | training | forward / roofline | relative error |", "| --- " * 6 + "|"]
    for name, row in results.items():
        times = " | ".join(f"{1e3 * row[column]:.2f}" for column in ("forward", "again", "training"))
        lines.append(f"| {name} | {times} | {row['forward'] / floor:.1f} | {row['error']:.1e} |")
    lines.append(f"| roofline | {1e3 * floor:.2f} | {1e3 * floor:.2f} | {3e3 * floor:.2f} | 1.0 | |")
    return "\n".join(lines)


def main(
    voxels: tuple[int, ...] = SIZES,
    runs: int = 20,
    dtypes: tuple[Literal["float16", "bfloat16", "float32"], ...] = ("float16", "float32"),
    stem: int = 32,
    planes: tuple[int, ...] = EncoderConfig.planes,
) -> None:
    """voxels: of each cloud; stem, planes: the encoder's widths, the paper's unless given."""
    if not torch.cuda.is_available():
        print("no CUDA device: nothing timed")
        return
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, CUDA {torch.version.cuda}, {runs} runs")
    torch.manual_seed(0)
    encoder = MinkUNet14D(EncoderConfig(stem=stem, planes=planes)).cuda()
    for name in dtypes:
        dtype = getattr(torch, name)
        flops, bytes_per_second = ceilings(dtype)
        backends, absent = grids("cuda", dtype)
        print(f"\n{name}: products {flops / 1e12:.0f} TFLOP/s (8192^3), copies {bytes_per_second / 1e12:.2f} TB/s")
        print("\n".join(f"absent: {reason}" for reason in absent))
        for count in voxels:
            coords = tabletop(count).cuda()
            operations = work(copy.deepcopy(encoder).fuse(), coords, torch.zeros(len(coords), 3, device="cuda"))
            floor = sum(one.seconds(flops, bytes_per_second, dtype.itemsize) for one in operations)
            print(f"\n{len(coords)} voxels, {sum(one.flops for one in operations) / 1e9:.1f} GFLOP\n")
            print(table(compare(encoder, coords, backends, dtype, runs), floor), flush=True)
            torch.cuda.empty_cache()


if __name__ == "__main__":
    tyro.cli(main)
