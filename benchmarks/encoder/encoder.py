# SPDX-License-Identifier: Apache-2.0
"""Encoder on the CPU: against its peers and the floor, what a query may skip, widths, and bf16's agreement.

    python -m benchmarks.encoder.encoder peers [--voxels 5000 20000] [--runs 5] [--network shipped|paper]
    [--no-training]
    python -m benchmarks.encoder.encoder skipped | widths | bf16

All that is compared runs by turns in one process, on the same voxels (a synthetic tabletop) and weights; a peer that
cannot be imported is named as absent. With OMP_NUM_THREADS=1 the thread's own time is counted, so that other jobs on
the machine disturb less. A forward pass is a new frame: kernel maps included. A training step is maps, forward and
backward, without the optimiser.

Two floors, of rates measured in the same run. GEMM: every convolution as one dense product with as many rows as its
maps hold pairs, without gathering them. Roofline: multiplications at the rate of a product of 2048^3 or bytes (inputs,
outputs, weights and neighbour indices, each moved once) at the rate of a copy, whichever is slower, layer by layer.
"""

from __future__ import annotations

import collections
import collections.abc
import copy
import resource
import time
from collections.abc import Callable
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
import tyro

from benchmarks.data.osd import FOLDER as OSD
from benchmarks.data.osd import osd_frames
from benchmarks.encoder.encoder_cuda import Counting, tabletop, training_step, work
from dropclip_ros.grounding.pipeline import MODEL_FOLDER, Grounder
from dropclip_ros.networks.encoder import EncoderConfig, MinkUNet14D
from dropclip_ros.networks.model_folder import load_config, load_model, quickest
from dropclip_ros.sparse import native
from dropclip_ros.sparse.cpu import SparseGrid
from dropclip_ros.sparse.minkowski import MinkowskiGrid
from dropclip_ros.sparse.protocol import kernel_size
from dropclip_ros.vision.bags import load_bag_frame

WIDTHS = {  # those of docs/decisions.md
    "24,32,48,64,96,64,48,48": EncoderConfig(out_channels=384, stem=24, planes=(24, 32, 48, 64, 96, 64, 48, 48)),
    "32,48,64,96,128,96,64,64": EncoderConfig(out_channels=384, stem=32, planes=(32, 48, 64, 96, 128, 96, 64, 64)),
    "24,64,128,192,192,128,64,48 (shipped)": EncoderConfig(
        out_channels=384, stem=24, planes=(24, 64, 128, 192, 192, 128, 64, 48)
    ),
    "the paper's": EncoderConfig(),
}
BAG = Path("demo/tabletop")
Call = Callable[[], object]


@contextmanager
def plain_torch():
    """Without the compiled kernels."""
    available, native.available = native.available, lambda: False
    yield
    native.available = available


def backends() -> tuple[dict[str, Callable], list[str]]:
    """Grids that can be had here, ours first, and why others cannot."""
    found, absent = {"compiled": SparseGrid, "torch": SparseGrid}, []
    if not native.available():
        del found["compiled"]
        absent.append("compiled: no sparse_cpu.so beside native.py; build the package")
    for name in (
        "Callable",
        "Iterable",
        "Mapping",
        "MutableMapping",
        "Sequence",
    ):  # MinkowskiEngine is older
        if not hasattr(collections, name):
            setattr(collections, name, getattr(collections.abc, name))
    try:
        MinkowskiGrid(torch.zeros(1, 3, dtype=torch.int32))
        found["MinkowskiEngine"] = MinkowskiGrid
    except ImportError as error:
        absent.append(f"MinkowskiEngine: {error}")
    try:
        from dropclip_ros.sparse.spconv import SpconvGrid

        SpconvGrid(torch.zeros(1, 3, dtype=torch.int32))
        found["spconv"] = SpconvGrid
    except ImportError as error:
        absent.append(f"spconv: {error}")
    return found, absent


def by_turns(calls: dict[str, Call], runs: int) -> dict[str, list[float]]:
    """Milliseconds of each call, after one to warm up; of one thread the time that it had a processor."""
    clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    times: dict[str, list[float]] = {name: [] for name in calls}
    for run in range(runs + 1):
        for name, call in calls.items():
            start = clock()
            call()
            if run:
                times[name].append(1e3 * (clock() - start))
    return times


def product_ms(rows: int, inputs: int, outputs: int, most: int = 1 << 15) -> float:
    """A dense product (rows, inputs) x (inputs, outputs); of more rows than `most`, in as many parts."""
    a, b = torch.rand(min(rows, most), inputs), torch.rand(inputs, outputs)
    out = torch.empty(len(a), outputs)
    return min(by_turns({"": lambda: torch.mm(a, b, out=out)}, 5)[""]) * rows / len(a)


class Shapes(Counting):
    """Notes the shape of each convolution's product as well."""

    def convolve(self, features, kernel, bias, level, to_level, residual=None, relu=False):
        out = super().convolve(features, kernel, bias, level, to_level, residual, relu)
        pairs = self._grid.pairs(level, to_level, kernel_size(len(kernel)))
        self.shapes = [*getattr(self, "shapes", []), (pairs, *kernel.shape[1:])]
        return out


def floors(fused: MinkUNet14D, coords: torch.Tensor, feats: torch.Tensor) -> tuple[float, float, float, float]:
    """GFLOP, GB moved, and the GEMM floor and the roofline of a forward pass in ms."""
    block = torch.rand(1 << 25)
    other = torch.empty_like(block)
    flops = 2e3 * 2048**3 / product_ms(2048, 2048, 2048)
    bandwidth = 8e3 * len(block) / min(by_turns({"": lambda: other.copy_(block)}, 5)[""])
    counted = Shapes(SparseGrid(coords))
    fused(counted, feats)
    operations = work(fused, coords, feats)
    timed = {shape: product_ms(*shape) for shape in set(counted.shapes)}
    dense = sum(1e3 * one.flops / flops for one in operations[len(counted.shapes) :])  # kernels of size 1
    gemm = sum(timed[shape] for shape in counted.shapes) + dense
    roofline = 1e3 * sum(one.seconds(flops, bandwidth, 4) for one in operations)
    print(f"products {flops / 1e9:.0f} GFLOP/s (2048^3), copies {bandwidth / 1e9:.1f} GB/s")
    moved = sum(4 * one.values + one.index_bytes for one in operations)
    return 1e-9 * sum(one.flops for one in operations), 1e-9 * moved, gemm, roofline


def of_network(network: Literal["shipped", "paper"]) -> EncoderConfig:
    return load_config(MODEL_FOLDER).encoder if network == "shipped" else EncoderConfig()


def report(title: str, times: dict[str, list[float]], floor: float, roofline: float) -> None:
    """Markdown: median, best, and how much longer than the first row and than the floor."""
    first = next(iter(times.values()))
    print(f"\n| {title} | median ms | least ms | median / first row's | least / GEMM floor |\n" + "| --- " * 5 + "|")
    for name, taken in times.items():
        ratio = np.median(np.array(taken) / np.array(first))  # of the same turn
        print(f"| {name} | {np.median(taken):.1f} | {min(taken):.1f} | {ratio:.2f} | {min(taken) / floor:.2f} |")
    print(f"| GEMM floor | {floor:.1f} | | | 1 |\n| roofline | {roofline:.1f} | | | |", flush=True)


def peers(
    voxels: tuple[int, ...] = (5_000, 20_000, 55_000),
    runs: int = 5,
    network: Literal["shipped", "paper"] = "shipped",
    training: bool = True,
) -> None:
    """Forward and training step of every backend; spconv's times hold the reordering of its weights at each pass."""
    grids, absent = backends()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {runs} runs, the {network} network")
    print("".join(f"absent: {reason}\n" for reason in absent), end="")
    torch.manual_seed(0)
    encoder = MinkUNet14D(of_network(network))
    for count in voxels:
        compare(encoder, tabletop(count), grids, runs, training)


def compare(encoder: MinkUNet14D, coords: torch.Tensor, grids: dict[str, Callable], runs: int, training: bool) -> None:
    """One cloud of `peers`."""
    feats, fused = torch.rand(len(coords), 3), copy.deepcopy(encoder).fuse()

    def calls(function: Callable) -> dict[str, Call]:
        def plain() -> None:
            with plain_torch():
                function(grids["torch"])

        found: dict[str, Call] = {name: partial(function, grid) for name, grid in grids.items()}
        return found | {"torch": plain}

    with torch.inference_mode():
        gflop, moved, gemm, roofline = floors(fused, coords, feats)
        print(f"\n{len(coords)} voxels, {gflop:.1f} GFLOP, {moved:.2f} GB")
        report("forward", by_turns(calls(lambda grid: fused(grid(coords), feats)), runs), gemm, roofline)
        outputs: list[torch.Tensor] = []
        for run in calls(lambda grid: outputs.append(fused(grid(coords), feats))).values():
            run()
        worst = max(float((out - outputs[0]).abs().max() / outputs[0].abs().max()) for out in outputs)
        print(f"largest difference between backends: {worst:.1e} of the largest feature")
        first = next(iter(grids.values()))
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        fused.decode(first(coords), feats)
        print(f"new pages of memory in a pass: {resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults}")
    if training:
        encoder.train()
        target = torch.randn(len(coords), encoder.config.out_channels)
        steps = calls(lambda grid: training_step(encoder, grid, coords, feats, target, torch.float32))
        report("training step", by_turns(steps, max(2, runs // 2)), 3 * gemm, 3 * roofline)


def skipped(runs: int = 20, bag: Path = BAG) -> None:
    """What the recorded frame costs with everything computed, without the head, and for some voxels; and a query."""
    frame, grounder = load_bag_frame(bag), Grounder.from_pretrained(device="cpu")
    scene = grounder.encode(frame)
    coords, feats = torch.from_numpy(scene.voxels.coords), torch.from_numpy(scene.voxels.feats)
    encoder, thin = grounder.encoder, grounder.thin_head
    grounder.ground(scene, "the red mug")
    tenth = torch.randperm(len(coords))[: len(coords) // 10]
    with torch.inference_mode():
        calls = {
            "all: encoder, head, unit features": lambda: F.normalize(encoder(coords, feats), dim=1),
            "in the head's own dimensions": lambda: F.normalize(thin(encoder.decode(coords, feats)), dim=1),
            "for a tenth of the voxels": lambda: F.normalize(thin(encoder.decode(coords, feats, tenth)), dim=1),
            "a query, the frame being encoded": lambda: grounder.ground(scene, "the red mug"),
        }
        first = None
        print(f"{len(coords)} voxels, {torch.get_num_threads()} threads\n\n| | median ms | least ms | all / this |")
        print("| --- " * 4 + "|")
        for name, taken in by_turns(calls, runs).items():
            first = first or taken
            ratio = np.median(np.array(first) / np.array(taken))
            print(f"| {name} | {np.median(taken):.1f} | {min(taken):.1f} | {ratio:.2f} |")


def widths(runs: int = 10, bag: Path = BAG, edges: tuple[float, ...] = (0.004, 0.005, 0.0075, 0.01)) -> None:
    """Latency of the widths of docs/decisions.md at some edges of voxels (m), on the recorded frame: maps, no head."""
    scene = Grounder.from_pretrained(device="cpu").encode(load_bag_frame(bag))
    points = torch.from_numpy(scene.points)
    print("| planes | parameters | " + " | ".join(f"{1e3 * edge:g} mm, ms" for edge in edges) + " |")
    print("| --- " * (2 + len(edges)) + "|")
    encoders = {name: MinkUNet14D(config) for name, config in WIDTHS.items()}
    sizes = {name: sum(p.numel() for p in encoder.parameters()) / 1e6 for name, encoder in encoders.items()}
    columns = []
    with torch.inference_mode():
        for encoder in encoders.values():
            encoder.fuse()
        for edge in edges:
            coords = (points / edge).floor().int().unique(dim=0)
            feats = torch.rand(len(coords), 3)
            calls = {n: lambda e=e, c=coords, f=feats: e.decode(c, f) for n, e in encoders.items()}
            columns.append({name: np.median(taken) for name, taken in by_turns(calls, runs).items()})
            columns[-1]["voxels"] = len(coords)
    for name in encoders:
        print(f"| {name} | {sizes[name]:.1f} M | " + " | ".join(f"{column[name]:.1f}" for column in columns) + " |")
    print("| voxels | | " + " | ".join(str(column["voxels"]) for column in columns) + " |")


def bf16(
    scenes: int = 5,
    data: Path = OSD,
    queries: tuple[str, ...] = ("the box", "the red mug", "the bowl", "a giraffe"),
) -> None:
    """How far bf16 is from fp32 on the recorded frame and on OSD's, where it is: features, masks. Slow if emulated."""
    encoder, _ = load_model(MODEL_FOLDER, fuse=False)
    chosen = quickest(copy.deepcopy(encoder)).conv0p1s1.kernel.dtype
    full, half = (Grounder.from_pretrained(device="cpu") for _ in range(2))
    full.encoder, half.encoder = copy.deepcopy(encoder).fuse(), encoder.fuse(torch.bfloat16)
    frames = [load_bag_frame(BAG)]
    if data.is_dir():
        frames += [scene.frame for scene in islice(osd_frames(data), scenes)]
    cosines, ious, same = [], [], []
    for frame in frames:
        a, b = full.encode(frame), half.encode(frame)
        cosines.append((a.features * b.features).sum(1))
        same.append((a.instances == b.instances).mean())
        for query in queries:
            first, second = (found.scores > found.threshold for found in (full.ground(a, query), half.ground(b, query)))
            if (first | second).any():
                ious.append((first & second).sum() / (first | second).sum())
    cosine = torch.cat(cosines)
    print(f"chosen on this machine: {chosen}; {len(frames)} frames, {len(cosine)} voxels, {len(ious)} masks")
    print(f"cosine of voxels: least {cosine.min():.5f}, mean {cosine.mean():.6f}")
    print(f"same instance: mean {np.mean(same):.4f}; IoU of masks: mean {np.mean(ious):.4f}, least {min(ious):.4f}")


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict({f.__name__: f for f in (peers, skipped, widths, bf16)})
