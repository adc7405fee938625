# SPDX-License-Identifier: Apache-2.0
"""The CUDA benchmark's logic on tiny clouds, without a GPU: conftest.py switches Triton's interpreter on."""

import importlib.util
from pathlib import Path

import pytest
import torch

from dropclip_ros.networks.encoder import EncoderConfig, MinkUNet14D
from dropclip_ros.sparse.cpu import SparseGrid

PATH = Path(__file__).resolve().parents[2] / "benchmarks" / "encoder" / "encoder_cuda.py"
spec = importlib.util.spec_from_file_location("encoder_cuda", PATH)
benchmark = importlib.util.module_from_spec(spec)
spec.loader.exec_module(benchmark)

NARROW = EncoderConfig(out_channels=5, stem=4, planes=(4, 4, 4, 4, 6, 4, 4, 4))


def test_clouds_have_about_the_size_asked_for_and_no_voxel_twice():
    for count in (1000, 20_000):
        coords = benchmark.tabletop(count)
        assert len(coords) == len(coords.unique(dim=0)) == pytest.approx(count, rel=0.25)


def test_work_of_a_lone_voxel_is_one_product_a_layer():
    """Level by level one row, one pair: twice the numbers of each kernel's one offset."""
    encoder = MinkUNet14D(NARROW).eval()
    shapes = [p.shape[-2:] for name, p in encoder.named_parameters() if name.endswith("kernel")]
    operations = benchmark.work(encoder, torch.zeros(1, 3, dtype=torch.int32), torch.zeros(1, 3))
    assert sorted(one.flops for one in operations) == sorted(2 * shape.numel() for shape in shapes)
    assert all(one.seconds(1e3, 1e30, 4) == pytest.approx(one.flops / 1e3) for one in operations)
    assert all(one.seconds(1e30, 1e3, 4) >= 4 * one.values / 1e3 for one in operations)


def test_compares_backends_and_names_absent_ones(monkeypatch):
    pytest.importorskip("dropclip_ros.sparse.triton", reason="no Triton 3.6 or newer", exc_type=ImportError)
    monkeypatch.setattr("dropclip_ros.sparse.triton.PROGRAMS", 1)  # the interpreter runs one after the other
    backends, absent = benchmark.grids("cpu", torch.float32)
    assert {"torch", "triton"} <= set(backends) and backends["torch"] is SparseGrid
    assert len(backends) + len(absent) == 4
    torch.manual_seed(0)  # of the weights: unlucky ones leave next to nothing to compare
    coords = torch.randint(-20, 20, (30, 3), generator=torch.Generator().manual_seed(0)).unique(dim=0)
    backends = {name: backends[name] for name in ("torch", "triton")}
    results = benchmark.compare(MinkUNet14D(NARROW), coords, backends, torch.float32, runs=1)
    assert all(row["error"] < 1e-4 and row["forward"] > 0 and row["training"] > 0 for row in results.values())
    text = benchmark.table(results, floor=1e-3)
    assert "| triton |" in text and "| roofline | 1.00 |" in text


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_says_that_nothing_was_timed_without_a_device(capsys):
    benchmark.main()
    assert capsys.readouterr().out == "no CUDA device: nothing timed\n"
