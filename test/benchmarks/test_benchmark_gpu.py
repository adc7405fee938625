# SPDX-License-Identifier: Apache-2.0
"""benchmarks/gpu.py, tiny, on the CPU and in Triton's interpreter (conftest.py switches it on)."""

import json

import pytest
import torch

from benchmarks import gpu


def test_every_check_runs_and_a_second_call_goes_on(tmp_path, monkeypatch, capsys):
    pytest.importorskip("dropclip_ros.sparse.triton", reason="no Triton 3.6 or newer", exc_type=ImportError)
    monkeypatch.setattr("dropclip_ros.sparse.triton.PROGRAMS", 1)  # the interpreter runs one after the other
    out = tmp_path / "gpu.json"
    assert gpu.main(out, "cpu", small=True) == 0, out.read_text()
    results = json.loads(out.read_text())
    assert list(results) == list(gpu.CHECKS)
    assert {"torch", "triton"} <= set(results["golden"]) and results["golden"]["worst"] < 1e-3
    assert results["encoder"]["over_roofline"] > 0 and results["names"]["image_ms"] > 0
    assert results["ground"]["objects"] >= 8 and results["distillation"]["finite"]
    assert "aim golden worst <= 0.001: " in capsys.readouterr().out
    del results["ground"]
    out.write_text(json.dumps(results))
    monkeypatch.setattr(gpu, "CHECKS", dict.fromkeys(results, pytest.fail) | {"ground": lambda *_: {"p95_ms": 60.0}})
    assert gpu.main(out, "cpu", small=True) == 0
    assert "aim ground p95_ms <= 50: 60, missed" in capsys.readouterr().out


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_device_it_says_so(tmp_path, capsys):
    assert gpu.main(tmp_path / "gpu.json") == 2
    assert capsys.readouterr().out == "no CUDA device: not run\n" and not (tmp_path / "gpu.json").exists()
