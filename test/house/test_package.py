# SPDX-License-Identifier: Apache-2.0
"""The package as a whole: one version, and tests for a ROS install that need no training."""

import re
from pathlib import Path

import yaml

import dropclip_ros

ROOT = Path(__file__).resolve().parents[2]


def test_there_is_one_version():
    version = dropclip_ros.__version__
    texts = {
        name: (ROOT / name).read_text(encoding="utf-8") for name in ("package.xml", "pyproject.toml", "CHANGELOG.md")
    }
    assert re.search(r"<version>(.*)</version>", texts["package.xml"])[1] == version
    assert 'dynamic = ["version"]' in texts["pyproject.toml"] and "dropclip_ros.__version__" in texts["pyproject.toml"]
    assert f"\n## {version}\n" in texts["CHANGELOG.md"]
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["version"] == version


def test_colcon_tests_only_what_a_ros_install_holds():
    rooms = re.search(r"foreach\(room ([^)]*)\)", (ROOT / "CMakeLists.txt").read_text(encoding="utf-8"))[1].split()
    assert rooms
    for room in rooms:
        files = list((ROOT / "test" / room).glob("test_*.py"))
        assert files, room
        for file in files:
            assert not re.search(r"^\s*(?:from|import) (?:training|benchmarks)\b", file.read_text(), re.MULTILINE), file


def test_workflows_do_what_ci_does():
    steps = {}
    for file in (ROOT / ".github/workflows").glob("*.yml"):
        jobs = yaml.safe_load(file.read_text(encoding="utf-8"))["jobs"]
        steps[file.stem] = "\n".join(step.get("run", "") for job in jobs.values() for step in job["steps"])
    assert ".ci/run" in steps["ci"] and {"colcon build", "colcon test"} <= set(re.findall(r"colcon \w+", steps["ros"]))
    lint = re.search(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)[1]
    assert "ruff check" in lint and "ruff format --check" in lint and "make lint test" in (ROOT / ".ci/run").read_text()
