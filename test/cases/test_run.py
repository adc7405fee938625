# SPDX-License-Identifier: Apache-2.0
"""Scripts that were written before the modules moved still find them; each starts a Python of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from run import ROOT, named, tables

MODULES, NAMES = tables((ROOT / "docs/moved.md").read_text(encoding="utf-8"))
CASES = ROOT.parent / "shared/cases"
OLD = """
import sys
sys.path[:0] = [".", "benchmarks"]
from rooms import OBJECT, rooms
import training.mvtod.scenes, training.mvtod.procedural.vocabulary
from dropclip_ros.grounding import similarities
from dropclip_ros.hggd.inputs import View
from dropclip_ros.sparse import LIMIT, make_grid
from dropclip_ros.table import *
from training.evaluate.pipeline import Method
from training.evaluate.report import Table
from training.mvtod.errors import MvtodError
from training.mvtod.procedural.objects import catalogue
import dropclip_ros, dropclip_ros.grounding.scoring as scoring, dropclip_ros.tabletop.table as table
import training.evaluate.report as report, training.objects.procedural.objects as objects
import training.runs.errors as errors
assert similarities is scoring.similarities is dropclip_ros.similarities
assert find_table is table.find_table and catalogue is objects.catalogue
assert MvtodError is errors.InputError and Table is report.ReportTable
print(sys.argv[1], __name__, rooms.__module__, flush=True)
import subprocess
subprocess.run([sys.executable, "-m", "training.mvtod.cli", "--help"], check=True)
"""


def run(script: Path, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "test/cases/run.py"), str(script), *arguments]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)


def test_old_modules_and_names_are_the_new_ones(tmp_path):
    (tmp_path / "old.py").write_text(OLD)
    done = run(tmp_path / "old.py", "argument")
    assert done.stdout.split()[:3] == ["argument", "__main__", "benchmarks.data.rooms"], done.stderr
    assert "dropclip-mvtod" in done.stdout, done.stderr


def test_a_name_that_never_was_is_still_an_error(tmp_path):
    (tmp_path / "wrong.py").write_text("from dropclip_ros.grounding import never_was\n")
    assert "cannot import name 'never_was'" in run(tmp_path / "wrong.py").stderr
    (tmp_path / "wrong.py").write_text("import dropclip_ros.never_was\n")
    assert "No module named 'dropclip_ros.never_was'" in run(tmp_path / "wrong.py").stderr


def test_every_new_place_is_there():
    files = {module.replace(".", "/") for module in MODULES.values()}
    assert MODULES and not [
        f for f in files if not ((ROOT / f"{f}.py").exists() or (ROOT / f / "__init__.py").exists())
    ]
    for new in sorted({new for names in NAMES.values() for new in names.values()}):
        assert named(new) is not None, new


def test_a_case_runs(tmp_path):
    if not CASES.is_dir():
        pytest.skip(f"the cases are not at {CASES}")
    done = run(CASES / "frame.py", str(tmp_path))
    assert done.returncode == 0 and {"a.png", "b.png", "k.json"} <= {f.name for f in tmp_path.iterdir()}, done.stderr
