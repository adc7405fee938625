# SPDX-License-Identifier: Apache-2.0
"""Many scenes: the same bytes from any number of workers, nothing half, nothing lost; what cannot go on says why."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="mujoco is not installed (make setup)")

from training.objects.catalogue import Catalogue
from training.runs.errors import InputError
from training.runs.jobs import locked_folder
from training.scenes import generate as module
from training.scenes.description import SceneConfig
from training.scenes.generate import GenerateRecipe, generate, generate_scene
from training.scenes.shards import load_scenes

ROOT = Path(__file__).resolve().parents[2]
SMALL = SceneConfig(min_objects=2, max_objects=3, views=2, width=64, height=48)
ARGUMENTS = ["--min-objects", "2", "--max-objects", "3", "--views", "2", "--width", "64", "--height", "48"]


def command(out: Path, scenes: int, *more: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "training.mvtod",
        "generate",
        "--out",
        str(out),
        "--scenes",
        str(scenes),
        *ARGUMENTS,
        *more,
    ]


def contents(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("scene_*/*")) if path.is_file()}


@pytest.fixture(scope="module")
def whole(off_screen, tmp_path_factory) -> Path:
    """Five scenes, made by one worker without a break."""
    out = tmp_path_factory.mktemp("scenes") / "whole"
    generate(out, 5, workers=1, config=SMALL)
    return out


def test_scenes_differ_and_name_their_recipe(whole):
    scenes = load_scenes(whole)
    assert len(scenes) == 5 and len({json.dumps(scene.coco["description"]) for scene in scenes}) == 5
    recipe = json.loads((whole / "recipe.json").read_text())
    assert recipe["seed"] == 0 and recipe["config"]["views"] == 2
    for scene in scenes:
        assert len(scene) == 2 and 1 <= len(scene.objects) <= 3
        for image in scene.coco["images"]:
            assert set(image["visible_fraction"]) <= {str(label) for label in scene.objects}


def test_killed_at_random_and_resumed_with_other_workers_gives_the_same_bytes(whole, tmp_path):
    out, rng = tmp_path / "killed", np.random.default_rng(0)
    for delay in rng.uniform(1.5, 4.0, 3):
        process = subprocess.Popen(command(out, 5, "--workers", "2"), cwd=ROOT, stderr=subprocess.DEVNULL)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        for path in out.glob("scene_?????/"):  # what is there is whole
            assert (
                contents(out).items()
                >= {f"{path.name}/{name}": data for name, data in contents(whole / path.name).items()}.items()
            )
    done = subprocess.run(command(out, 5, "--workers", "2"), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert contents(out) == contents(whole)
    assert not list(out.glob("*.part"))


def test_a_killed_run_leaves_no_workers_behind(off_screen, tmp_path):
    process = subprocess.Popen(command(tmp_path / "out", 500), cwd=ROOT, stderr=subprocess.DEVNULL)
    children: set[int] = set()
    end = time.monotonic() + 30
    while len(children) < 2 and time.monotonic() < end:
        children = {int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()}
        time.sleep(0.1)
    time.sleep(1)
    process.kill()
    process.wait()
    end = time.monotonic() + 10
    while any(alive(pid) for pid in children) and time.monotonic() < end:
        time.sleep(0.1)
    assert children and not any(alive(pid) for pid in children)


def alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_ray_loses_a_machine_and_no_scene(whole, tmp_path):
    """Three nodes on this machine, one of them killed at work."""
    cluster_utils = pytest.importorskip("ray.cluster_utils", reason="ray is not installed (pip install '.[ray]')")
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        lost, _ = (cluster.add_node(num_cpus=1) for _ in range(2))
        cluster.wait_for_nodes()
        out = tmp_path / "out"
        run = subprocess.Popen(command(out, 5, "--ray", cluster.address), cwd=ROOT, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 60
        while not list(out.glob("scene_?????")) and time.monotonic() < end:
            time.sleep(0.02)
        cluster.remove_node(lost, allow_graceful=False)
        assert run.wait(120) == 0
        assert contents(out) == contents(whole)
    finally:
        cluster.shutdown()


def test_scenes_can_be_counted_without_rendering_them(tmp_path):
    generate_scene(tmp_path / "scene_00000", GenerateRecipe(renderer="none", config=SMALL), 0)
    (scene,) = load_scenes(tmp_path)
    assert len(scene) == 0 and scene.objects and scene.coco["queries"]["class"]


def test_another_recipe_in_the_same_folder_is_refused(whole):
    before = contents(whole)
    with pytest.raises(InputError, match=r"another recipe \(differs in seed\)"):
        generate(whole, 6, seed=1, workers=1, config=SMALL)
    assert contents(whole) == before


def test_two_at_once_are_refused(whole):
    with (
        locked_folder(whole, GenerateRecipe(config=SMALL), "scenes"),
        pytest.raises(InputError, match="another such command is at"),
    ):
        generate(whole, 5, workers=1, config=SMALL)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file/out cannot be written: Not a directory"):
        generate(tmp_path / "file/out", 1, config=SMALL)


def test_a_full_disk_leaves_whole_scenes_only(off_screen, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(module, "run_on_processes", lambda _, function, jobs: map(function, jobs))
    generate(tmp_path, 1, workers=1, config=SMALL)
    monkeypatch.setattr(module, "write_view", full)
    with pytest.raises(InputError, match="the disk is full: 1 of 2 scenes are whole"):
        generate(tmp_path, 2, workers=1, config=SMALL)
    assert sorted(path.name for path in tmp_path.glob("scene*")) == ["scene_00000"]


def test_an_object_that_cannot_be_built_is_left_out_and_named(tmp_path, monkeypatch):
    build, broken = Catalogue.build, []

    def fail_once(self, spec):
        if not broken:
            broken.append(spec.name)
            raise InputError(f"{spec.name}: no volume")
        return build(self, spec)

    monkeypatch.setattr(Catalogue, "build", fail_once)
    outcome = generate_scene(tmp_path / "scene_00000", GenerateRecipe(renderer="none", config=SMALL), 0)
    assert outcome.broken == {broken[0]: f"{broken[0]}: no volume"}
    (scene,) = load_scenes(tmp_path)
    assert broken[0] not in {o["name"] for o in scene.objects.values()}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--split", "test"], "split 'test': expected one of"),
        (["--renderer", "povray"], "renderer 'povray'"),
        (["--workers", "0"], "expected at least 1"),
        (["--catalogue", "/nowhere"], "/nowhere"),
    ],
)
def test_bad_arguments_end_with_one_line(tmp_path, arguments, words):
    done = subprocess.run(command(tmp_path / "out", 1, *arguments), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and words in done.stderr and "Traceback" not in done.stderr, done.stderr
