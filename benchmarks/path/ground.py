# SPDX-License-Identifier: Apache-2.0
"""Milliseconds of a new frame and of a repeated query, by stage, beside what this machine could do at best.

    python -m benchmarks.path.ground [--runs 50] [--no-ros] [--hd] [--device cuda]

Floors are measured on the spot, on the CPU. Encoder: every convolution as one dense product with as many rows as its
kernel maps hold pairs, without gathering them, and the projections and heads as they are; image and new phrase: the
network's multiplications at the rate of a large dense product; all other stages: bytes that must be read and written
once, at the speed of a copy. No stage can be faster than its floor; those that search or sort (table, voxels,
instances) cannot reach it.

With OMP_NUM_THREADS=1 the thread's own time is counted, but for what goes over DDS, so that other jobs disturb less.

With ROS 2: a client of the real node over DDS, as a camera and as the caller. `transport` is what the caller waited
beyond the stages that the node names.
"""

from __future__ import annotations

import resource
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
import tyro
from torch.utils.flop_counter import FlopCounterMode

from dropclip_ros.base.errors import Status
from dropclip_ros.grounding.pipeline import EncodedScene, Grounder
from dropclip_ros.networks.encoder import BasicBlock, SparseConv
from dropclip_ros.networks.image import to_images
from dropclip_ros.sparse.protocol import kernel_size
from dropclip_ros.vision.bags import load_bag_frame
from dropclip_ros.vision.geometry import RgbdFrame

Times = dict[str, list[float]]
COLORS = ("red", "blue", "green", "yellow", "black", "white")


@contextmanager
def own_time() -> Iterator[None]:
    """With one thread, `time.perf_counter` is the time that the thread had a processor, the pipeline's too."""
    with patch.object(time, "perf_counter", time.thread_time if torch.get_num_threads() == 1 else time.perf_counter):
        yield


def best_of(call: Callable[[], object], repeats: int = 7) -> float:
    """The least time of a call, ms: what else runs on the machine only adds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1e3 * min(times)


def product_ms(rows: int, inputs: int, outputs: int) -> float:
    """A dense product (rows, inputs) x (inputs, outputs)."""
    a, b = torch.rand(rows, inputs), torch.rand(inputs, outputs)
    out = torch.empty(rows, outputs)
    return best_of(lambda: torch.mm(a, b, out=out))


def encoder_floor(grounder: Grounder, scene: EncodedScene) -> tuple[float, float]:
    """Milliseconds of the encoder's products alone, and its useful GFLOP: convolutions, projections, heads."""
    shapes: list[tuple[int, int, int]] = []

    def convolution(conv: SparseConv, args: tuple, _) -> None:
        _, grid, level, to_level = args
        shapes.append((grid.pairs(level, to_level, kernel_size(len(conv.kernel))), *conv.kernel.shape[1:]))

    def product(kernel: torch.Tensor) -> Callable:
        return lambda _, args, __: shapes.append((len(args[0]), *kernel.shape))

    modules = list(grounder.encoder.modules())
    hooks = [module.register_forward_hook(convolution) for module in modules if isinstance(module, SparseConv)]
    for block in modules:
        if (
            isinstance(block, BasicBlock) and block.downsample is not None
        ):  # no call of its own: see what comes after it
            hooks.append(block.downsample[1].register_forward_hook(product(block.downsample[0].kernel)))
    for head in filter(None, (grounder.thin_head, grounder.encoder.offset)):
        hooks.append(head.register_forward_hook(product(head.weight.T)))
    grounder._features(scene.voxels)
    for hook in hooks:
        hook.remove()
    timed = {shape: product_ms(*shape) for shape in set(shapes)}
    return sum(timed[shape] for shape in shapes), sum(2e-9 * n * i * o for n, i, o in shapes)


def floors(grounder: Grounder, scene: EncodedScene) -> dict[str, float]:
    """Least ms of each stage."""
    block = np.ones(1 << 25, np.float32)
    copy = np.empty_like(block)
    bytes_per_ms = 2 * block.nbytes / best_of(lambda: np.copyto(copy, block))
    gflop_per_ms = 2e-9 * 2048**3 / product_ms(2048, 2048, 2048)
    encoder_ms, gflop = encoder_floor(grounder, scene)
    print(
        f"this machine, {torch.get_num_threads()} threads: copies {bytes_per_ms / 1e6:.1f} GB/s, multiplies "
        f"{1e3 * gflop_per_ms:.0f} GFLOP/s (2048^3); the encoder needs {gflop:.2f} GFLOP, at its shapes "
        f"{gflop / encoder_ms * 1e3:.0f} GFLOP/s"
    )

    def network_ms(call: Callable[[], object]) -> float:
        with FlopCounterMode(display=False) as counter:
            call()
        return 1e-9 * counter.get_total_flops() / gflop_per_ms

    seen, above, voxels = int((scene.frame.depth > 0).sum()), len(scene.points), len(scene.voxels)
    features = scene.features.numel() * 4
    moved = {
        "backproject": scene.frame.depth.nbytes + seen * (12 + 8),  # depth; points and pixels
        "table": seen * (12 + 1) + above * (12 + 8),  # points, mask; what is kept
        "voxels": above * (12 + 3 + 8) + voxels * (12 + 12 + 12),  # points, colours, way back; voxels
        "instances": features + voxels * (12 + 8),
        "similarity": scene.instance_features.numel() * 4,
        "objects": voxels * (4 + 12) + above * (8 + 12),  # scores, centres; what points are of an object
    }
    least = {stage: count / bytes_per_ms for stage, count in moved.items()} | {"encoder": encoder_ms}
    if grounder.image is not None:
        size = grounder.image.size
        crops = np.zeros((len(scene.instance_features), size, size, 3), np.uint8)
        least["image"] = network_ms(lambda: grounder.image.network(to_images(crops, None)))
    least["text, new phrase"] = network_ms(lambda: grounder.text.encode(["a phrase never said before"]))
    return least


def bare(grounder: Grounder, frame: RgbdFrame, runs: int, query: str) -> tuple[Times, EncodedScene]:
    """A new frame, a phrase said before and a new phrase, `runs` times each, without ROS."""
    times: Times = defaultdict(list)
    for run in range(-3, runs):  # the first ones warm up
        start = time.perf_counter()
        scene = grounder.encode(frame)
        encoded = time.perf_counter()
        known = grounder.encode(frame, last=scene.table).timing_ms["table"]
        asking = time.perf_counter()
        again = grounder.ground(scene, query)
        asked = time.perf_counter()
        other = grounder.ground(scene, f"a {COLORS[run % len(COLORS)]} thing that is called {run}")
        end = time.perf_counter()
        if run < 0:
            continue
        for stage, ms in again.timing_ms.items():
            times[stage].append(ms)
        times["text, new phrase"].append(other.timing_ms["text"])
        times["table, camera that stays"].append(known)
        times["NEW FRAME"].append(1e3 * (encoded - start + asked - asking))
        times["REPEATED QUERY"].append(1e3 * (asked - asking))
        times["NEW PHRASE"].append(1e3 * (end - asked))
    return times, scene


def over_dds(frame: RgbdFrame, runs: int, query: str) -> Times:
    """The same through the node: what the caller waits, and the part of it that the node does not name."""
    from live import Live

    from dropclip_ros.ros.launcher import running
    from dropclip_ros.srv import Ground

    times: Times = defaultdict(list)
    with running({"grounding_node": ["reliable:=true"]}, lambda _: Live()) as (_, live):
        live.wait_for({"color": 1, "depth": 1, "info": 1}, [live.ground_client])
        lost = 0
        for run in range(-3, runs):
            messages, start = live.frame_messages(frame), time.perf_counter()
            live.send(messages)
            request = Ground.Request(query=query, stamp=messages["color"].header.stamp)
            for name in ("new frame", "repeated query"):
                answer, _ = live.call(live.ground_client, request, timeout=600.0)  # the first one loads the model
                while answer and answer.status in (Status.NO_FRAME, Status.STALE_FRAME) and lost < runs:
                    lost += 1  # large images get lost now and then, on loopback too
                    start = time.perf_counter()
                    live.send(messages)
                    answer, _ = live.call(live.ground_client, request, timeout=600.0)
                if answer is None or answer.status:
                    raise SystemExit(f"the node answered {answer and answer.message!r}")
                end = time.perf_counter()
                if run >= 0:
                    stages = {stage.stage: stage.milliseconds for stage in answer.timing}
                    times[f"DDS {name}"].append(1e3 * (end - start))
                    times[f"DDS {name}: transport"].append(1e3 * (end - start) - sum(stages.values()))
                    for stage in ("frame", "decode", "messages"):
                        if stage in stages:
                            times[f"DDS {name}: {stage}"].append(stages[stage])
                start = time.perf_counter()
    print(f"{lost} of {runs + 3} frames were lost on the way and sent again")
    return times


def peak_memory() -> float:
    """Of this process so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def doubled(frame: RgbdFrame) -> RgbdFrame:
    """Its middle rows, 16:9, with each pixel four times: 1280x720 of 640x480."""
    k, height = frame.intrinsics, frame.intrinsics.width * 9 // 16
    top = (k.height - height) // 2
    k = replace(k, cy=k.cy - top, height=height).scaled_to(2 * k.width, 2 * height)
    rgb, depth = (image[top : top + height].repeat(2, 0).repeat(2, 1) for image in (frame.rgb, frame.depth))
    return RgbdFrame(rgb, depth, k)


def main(
    bag: Path = Path("demo/tabletop"),
    runs: int = 50,
    query: str = "the red mug",
    ros: bool = True,
    hd: bool = False,
    device: str = "cpu",
) -> None:
    """Prints p50 and p95 of every stage, its floor, the peak memory and the time to load the model.

    ros: over DDS too, which needs rclpy (extra `ros`) and the built interfaces. hd: at 1280x720. device: on a GPU there
    are no floors, and a stage may end before the GPU has: what it still does is counted in the next one that waits.
    """
    frame = doubled(load_bag_frame(bag)) if hd else load_bag_frame(bag)
    start, before = time.perf_counter(), peak_memory()
    grounder = Grounder.from_pretrained(device=device)
    loaded, with_model = time.perf_counter() - start, peak_memory()
    with own_time():
        times, scene = bare(grounder, frame, runs, query)
    peak, least = peak_memory(), {}
    if device == "cpu":
        with torch.inference_mode(), own_time():
            least = floors(grounder, scene)
    else:
        print(f"memory of the GPU: {torch.cuda.max_memory_allocated() / 2**20:.0f} MB at most")
    height, width = frame.depth.shape
    print(f"{width}x{height}, {len(scene.points)} points above the table, {len(scene.voxels)} voxels, {runs} runs")
    print(
        f"model loaded in {loaded:.1f} s; peak memory of the process (RSS): {before:.0f} MB with its libraries, "
        f"{with_model:.0f} once the model is loaded, {peak:.0f} after the runs"
    )
    report(times, least)
    if ros:
        report(over_dds(frame, runs, query), {})


def report(times: Times, least: dict[str, float]) -> None:
    """Markdown: a row for each stage."""
    print("\n| ms | p50 | p95 | floor |\n| --- | --- | --- | --- |")
    for stage, values in times.items():
        floor = f"{least[stage]:.2f}" if stage in least else ""
        print(f"| {stage} | {np.percentile(values, 50):.2f} | {np.percentile(values, 95):.2f} | {floor} |", flush=True)


if __name__ == "__main__":
    tyro.cli(main)
