# SPDX-License-Identifier: Apache-2.0
"""Every path that a GPU takes, checked and timed in under eight minutes: no network, data made on the spot.

    python -m benchmarks.gpu [--out out/gpu.json]

`golden`: each sparse grid against tensors that were made on a CPU. `encoder`: forward and training step of the paper's
network at 50,000 voxels, beside spconv where it is installed and beside the roofline. `ground`: a 720p frame and a
phrase, the encoder alone; `names`: with the crops of its objects through ViT-B/16 (random weights: it takes as long).
`distillation`: a minute of steps with AMP. Each check's result is written when it is there: the same command goes on.
Without a CUDA device nothing is run, and no figure stands anywhere.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
import tyro
from safetensors.torch import load_file, save_file

from benchmarks.encoder.encoder_cuda import ceilings, compare, grids, tabletop, training_step, work
from dropclip_ros.commands import models
from dropclip_ros.grounding.pipeline import Grounder
from dropclip_ros.networks.clip import FOLDER_CONFIG
from dropclip_ros.networks.encoder import EncoderConfig, MinkUNet14D
from dropclip_ros.vision.geometry import Intrinsics, RgbdFrame

GOLDEN = Path(__file__).resolve().parents[1] / "test" / "golden" / "encoder.safetensors"
TINY = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


@dataclass(frozen=True)
class Size:
    """How much of it: of a GPU by default, `SMALL` for a test."""

    voxels: int = 50_000
    scenes: int = 1  # that the voxels are of, each
    runs: int = 20
    frames: int = 100
    height: int = 720
    seconds: float = 60.0
    clouds: int = 8  # of a distillation step
    cloud: int = 8_000  # voxels of each
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    tower: str = "ViT-B-16"


SMALL = Size(40, 2, 1, 2, 240, 0.1, 2, 40, EncoderConfig(3, 5, 4, (4,) * 8), "")
AIMS = {  # check, number, what is hoped for
    ("golden", "worst"): 1e-3,
    ("encoder", "over_spconv"): 1.0,
    ("encoder", "over_roofline"): 2.0,
    ("ground", "p95_ms"): 50.0,
    ("names", "p95_ms"): 50.0,
}


def golden(device: str, size: Size) -> dict[str, Any]:
    """The largest relative error of any grid."""
    kept = load_file(GOLDEN)
    weights = {k.removeprefix("weights."): v for k, v in kept.items() if k.startswith("weights.")}
    widths = tuple(weights[f"block{n}.0.conv2.kernel"].shape[2] for n in range(1, 9))
    _, channels, stem = weights["conv0p1s1.kernel"].shape
    encoder = MinkUNet14D(EncoderConfig(channels, weights["final.kernel"].shape[-1], stem, widths))
    encoder.load_state_dict(weights)
    encoder.eval().to(device)
    coords, feats, expected = (kept[name].to(device) for name in ("coords", "feats", "output"))
    found, absent = grids(device, torch.float32)
    with torch.no_grad():
        errors = {name: _error(encoder(grid(coords), feats), expected) for name, grid in found.items()}
    return errors | {"worst": max(errors.values()), "absent": absent}


def _error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def encoder(device: str, size: Size) -> dict[str, Any]:
    """Milliseconds of every backend, and ours over spconv's and over the roofline's."""
    dtype = torch.float16 if device != "cpu" else torch.float32
    torch.manual_seed(0)
    network, coords = MinkUNet14D(size.encoder).to(device), tabletops(size.scenes, size.voxels).to(device)
    found, absent = grids(device, dtype)
    rows = compare(network, coords, found, dtype, size.runs)
    ms = {name: {column: 1e3 * row[column] for column in ("forward", "training")} for name, row in rows.items()}
    ours = rows["triton" if "triton" in rows else "torch"]["forward"]
    flops, bytes_per_second = ceilings(dtype, device, 8192 if device != "cpu" else 64)
    operations = work(MinkUNet14D(size.encoder).to(device).fuse(), coords, torch.zeros(len(coords), 3, device=device))
    floor = sum(one.seconds(flops, bytes_per_second, dtype.itemsize) for one in operations)
    over = {"over_roofline": ours / floor} | (
        {"over_spconv": ours / rows["spconv"]["forward"]} if "spconv" in rows else {}
    )
    return {"voxels": len(coords), "ms": ms, "absent": absent} | over


def tabletops(count: int, voxels: int) -> torch.Tensor:
    """Voxels (N, 4) b, x, y, z of several scenes."""
    scenes = [tabletop(voxels, seed) for seed in range(count)]
    return torch.cat([torch.nn.functional.pad(scene, (1, 0), value=b) for b, scene in enumerate(scenes)])


def boxes(height: int) -> RgbdFrame:
    """Twelve boxes on a table, 60 cm below a camera that looks straight down."""
    width = height * 16 // 9
    rng = np.random.default_rng(0)
    depth, rgb = np.full((height, width), 0.6, np.float32), np.full((height, width, 3), 150, np.uint8)
    for row in range(3):
        for column in range(4):
            top, left, side = height * (row + 0.25) / 3, width * (column + 0.3) / 4, height // 7
            place = slice(round(top), round(top) + side), slice(round(left), round(left) + side)
            depth[place], rgb[place] = 0.6 - rng.uniform(0.04, 0.1), rng.integers(0, 255, 3)
    focal = 0.9 * height * 16 / 9
    return RgbdFrame(rgb, depth, Intrinsics(focal, focal, (width - 1) / 2, (height - 1) / 2, width, height))


def _latency(grounder: Grounder, size: Size) -> dict[str, float]:
    """A frame in, an answer out, each phrase new to nobody: milliseconds."""
    frame, times = boxes(size.height), []
    grounder.warm_up()
    grounder.ground(grounder.encode(frame), "the red box")
    for _ in range(size.frames):
        start = time.perf_counter()
        result = grounder.ground(grounder.encode(frame), "the red box")
        times.append(1e3 * (time.perf_counter() - start))
    objects = float(grounder.encode(frame).instances.max())
    return {"p50_ms": float(np.median(times)), "p95_ms": float(np.percentile(times, 95)), "objects": objects} | {
        f"{stage}_ms": ms for stage, ms in result.timing_ms.items()
    }


def ground(device: str, size: Size) -> dict[str, float]:
    """The shipped model, the encoder alone."""
    return _latency(Grounder.from_pretrained(device=device), size)


def names(device: str, size: Size) -> dict[str, float]:
    """The same objects, named by a CLIP with random weights on their crops."""
    with tempfile.TemporaryDirectory() as place:
        tower = random_clip(Path(place) / "clip", size.tower)
        args = ["model", "create", str(Path(place) / "model"), "--tower", str(tower), "--activation", "gelu"]
        if create(args):
            raise RuntimeError("no model was made")
        return _latency(Grounder.from_pretrained(Path(place) / "model", device), size)


def create(args: list[str]) -> int:
    """`dropclip model create`, in this process."""
    import argparse

    parser = argparse.ArgumentParser()
    models.add_parser(parser.add_subparsers(dest="command", required=True), "")
    said = parser.parse_args(args)
    return said.run(said)


def random_clip(folder: Path, name: str) -> Path:
    """A folder with an architecture of open_clip, or a tiny one, and random weights."""
    folder.mkdir()
    config = open_clip.get_model_config(name) if name else TINY
    torch.manual_seed(0)
    kind = open_clip.CustomTextCLIP if config.get("custom_text") else open_clip.CLIP
    model = kind(**{key: value for key, value in config.items() if key != "custom_text"})
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    (folder / FOLDER_CONFIG).write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
    return folder


def distillation(device: str, size: Size) -> dict[str, float]:
    """Steps a second of the paper's network with AMP and AdamW, and the most memory it took."""
    grid = (
        next(reversed(grids(device, torch.float32)[0].values()))
        if device != "cpu"
        else grids(device, torch.float32)[0]["torch"]
    )
    half = torch.bfloat16 if device != "cpu" else torch.float32
    coords = tabletops(size.clouds, size.cloud).to(device)
    feats = torch.rand(len(coords), 3, device=device)
    network = MinkUNet14D(size.encoder).to(device).train()
    target = torch.randn(len(coords), size.encoder.out_channels, device=device)
    optimizer = torch.optim.AdamW(network.parameters())
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
    steps, start = 0, time.perf_counter()
    while time.perf_counter() - start < size.seconds or not steps:
        training_step(network, grid, coords, feats, target, half)
        optimizer.step()
        steps += 1
        if device != "cpu":
            torch.cuda.synchronize()
    finite = all(torch.isfinite(parameter).all().item() for parameter in network.parameters())
    peak = torch.cuda.max_memory_allocated() / 1e9 if device != "cpu" else 0.0
    seconds = time.perf_counter() - start
    return {"clouds_per_s": steps * size.clouds / seconds, "voxels": len(coords), "peak_gb": peak, "finite": finite}


CHECKS: dict[str, Callable[[str, Size], dict]] = {
    "golden": golden,
    "encoder": encoder,
    "ground": ground,
    "names": names,
    "distillation": distillation,
}


def report(results: dict[str, dict]) -> str:
    """One line a check, and which aims were reached."""
    lines = [f"{name}: {json.dumps(result, default=str)}" for name, result in results.items()]
    for (check, number), aim in AIMS.items():
        value = results.get(check, {}).get(number)
        said = "not measured" if value is None else f"{value:.3g}, {'reached' if value <= aim else 'missed'}"
        lines.append(f"aim {check} {number} <= {aim:g}: {said}")
    return "\n".join(lines)


def main(out: Path = Path("out/gpu.json"), device: str = "cuda", small: bool = False) -> int:
    """Runs what is not in OUT yet; 0 where every check ran.

    Args:
        out: JSON with the results.
        device: cuda, cuda:N, or cpu to try the script itself.
        small: sizes of a test.
    """
    if device != "cpu" and not torch.cuda.is_available():
        print("no CUDA device: not run")
        return 2
    results = json.loads(out.read_text()) if out.exists() else {}
    out.parent.mkdir(parents=True, exist_ok=True)
    for name, check in CHECKS.items():
        if name in results and "error" not in results[name]:
            continue
        start = time.perf_counter()
        try:
            results[name] = check(device, SMALL if small else Size())
        except Exception as error:  # the others are worth knowing all the same
            results[name] = {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
        results[name]["seconds"] = round(time.perf_counter() - start, 1)
        part = out.with_name(out.name + ".part")
        part.write_text(json.dumps(results, indent=1, default=str))
        part.replace(out)
    print(report(results))
    return int(any("error" in result for result in results.values()))


if __name__ == "__main__":
    raise SystemExit(tyro.cli(main))
