# SPDX-License-Identifier: Apache-2.0
"""A disk that is full at any write: one line, the file of before stays, and nothing is left beside it.

A limit on the size of files stands in for the disk; the libraries meet it in the same call, each with its own error.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mvtod_support import write_scenes

from training.runs.errors import InputError
from training.runs.files import alone, lock_place

WRITERS = {
    "text": "part.write_text('x' * 2_000_000)",
    "json": "part.write_text(json.dumps(list(range(500_000))))",
    "safetensors": "save_file({'a': torch.zeros(500_000)}, part)",
    "torch": "torch.save({'a': torch.zeros(500_000)}, part)",
    "npz": "np.savez(part.open('wb'), a=np.zeros(500_000))",
    "h5": "h5py.File(part, 'w').create_dataset('a', data=np.zeros(500_000)).file.close()",
    "image": "Image.fromarray(np.random.default_rng(0).integers(0, 255, (900, 900, 3), np.uint8)).save(part, 'PNG')",
}
CHILD = """
import json, resource, sys
from pathlib import Path
import h5py, numpy as np, torch
from PIL import Image
from safetensors.torch import save_file
from training.runs.errors import InputError
from training.runs.files import write_atomically
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
said = {}
for name, line in json.loads(sys.argv[1]).items():
    path = Path(sys.argv[2]) / name
    try:
        with write_atomically(path, replace=True) as part:
            exec(line)
        said[name] = "written"
    except InputError as error:
        said[name] = str(error)
    except BaseException as error:
        said[name] = repr(error)
print(json.dumps(said))
"""


def test_every_library_that_writes_ends_in_the_same_line(tmp_path):
    for name in WRITERS:
        (tmp_path / name).write_text("before")
    done = subprocess.run(
        [sys.executable, "-c", CHILD, json.dumps(WRITERS), str(tmp_path)], capture_output=True, text=True, check=True
    )
    said = json.loads(done.stdout.splitlines()[-1])
    assert {name for name, line in said.items() if "cannot be written" in line} == set(WRITERS), said
    assert {path.name for path in tmp_path.iterdir()} == set(WRITERS)
    assert all(path.read_text() == "before" for path in tmp_path.iterdir())


def full(size: int, *words: object) -> subprocess.CompletedProcess:
    """A command whose files may have `size` bytes at most."""
    code = "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({0}, {0})); "
    code += "sys.argv = sys.argv[1:]; runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)"
    return subprocess.run(
        [sys.executable, "-c", code.format(size), *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


SLOW = [pytest.param(kind, marks=pytest.mark.slow) for kind in ("bag", "webdataset")]


@pytest.mark.parametrize("kind", ["coco", *SLOW])
def test_an_export_to_a_full_disk_leaves_nothing_half(tmp_path, kind):
    write_scenes(tmp_path / "scenes", 2, 2, (120, 160))
    words = ["training.mvtod", "export", "--to", kind, "--scenes", tmp_path / "scenes", "--out", tmp_path / "out"]
    done = full(2000, *words)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "the disk is full" in done.stderr.splitlines()[-1] or "SQLite says" in done.stderr.splitlines()[-1]
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.parents[1] != tmp_path / "scenes"]
    assert full(10**9, *words).returncode == 0  # made room


@pytest.mark.slow
def test_features_on_a_full_disk_end_in_a_line_and_go_on(tmp_path):
    write_scenes(tmp_path / "scenes", 1, 2, (120, 160))
    words = ["training.fusion.run", "--scenes", tmp_path / "scenes", "--out", tmp_path / "out", "--min-pixels", 20]
    done = full(600, *words, "--no-fused")
    assert done.returncode == 2 and "Traceback" not in done.stderr and "the disk is full" in done.stderr
    assert full(10**9, *words, "--no-fused").returncode == 0


def test_a_second_command_at_the_same_place_is_refused_and_the_lock_goes_with_the_first(tmp_path):
    @alone
    def command(scenes: Path, out: Path) -> str:
        with pytest.raises(InputError, match="another such command is at work"), lock_place(out):
            pass
        code = "import sys; from pathlib import Path; from training.runs.files import lock_place\n"
        code += "with lock_place(Path(sys.argv[1])): pass"
        other = subprocess.run([sys.executable, "-c", code, str(out)], capture_output=True, text=True, check=False)
        assert other.returncode == 1 and "InputError" in other.stderr
        return "done"

    assert command(tmp_path, out=tmp_path / "deep" / "out") == "done"
    assert [*(tmp_path / "deep").iterdir()] == []
    assert command(tmp_path, tmp_path / "deep" / "out") == "done"


def test_a_broken_line_in_the_log_does_not_stop_a_run_that_goes_on(tmp_path):
    from training.runs.log import Log

    good = [json.dumps({"step": k, "loss": 0.5}) for k in range(4)]
    (tmp_path / "losses.jsonl").write_bytes(
        "\n".join([*good[:2], '{"st', "\x00\xff", "[1]", *good[2:], '{"step": 4, "lo']).encode()
    )
    log = Log(tmp_path, 3)
    log.write(3, {"loss": 0.25})
    log.close()
    lines = [json.loads(line) for line in (tmp_path / "losses.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [0, 1, 2, 3] and lines[-1]["loss"] == 0.25
