# SPDX-License-Identifier: Apache-2.0
"""Scenes of the generator: `python -m benchmarks.training.scenes overlaps | kills | workers | renderers`.

overlaps: how deep the visible meshes of settled scenes reach into each other and into the table.
kills: kills a generator at random moments until it is done, and compares what it left with an undisturbed run.
workers: scenes an hour with one worker and with two, by turns.
renderers: scenes an hour and core of MuJoCo and Blender, by stage, beside what the renderer alone needs.
"""

from __future__ import annotations

import filecmp
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import trimesh
import tyro
from scipy.spatial import ConvexHull
from tqdm import tqdm

from training.objects.catalogue import PROCEDURAL, open_catalogue
from training.objects.spec import SPLITS
from training.scenes import render_mujoco
from training.scenes.clutter import make_scene
from training.scenes.description import SceneConfig
from training.scenes.generate import GenerateRecipe, draw_objects, generate_scene
from training.scenes.scene import Scene
from training.scenes.shards import load_scenes

SAMPLES = 2000  # points on each mesh


def overlaps(scenes: int = 200, split: str = "train", seed: int = 0, catalogue: str = PROCEDURAL) -> None:
    """How deep points on the visible mesh of one object lie in the convex parts of another, or under the table."""
    objects, config, worst, pairs = open_catalogue(catalogue), SceneConfig(views=1), [], {}
    for index in tqdm(range(scenes)):
        rng = np.random.default_rng([seed, SPLITS.index(split), index])
        models = [objects.build(spec) for spec in draw_objects(objects.of_split(split), config, rng)]
        by_name = {model.name: model for model in models}
        description, _ = make_scene(models, config, rng)
        clouds, hulls, names = [], [], []
        for one in description.objects:
            model, pose = by_name[one.name], one.pose
            mesh = trimesh.Trimesh(model.vertices, model.faces, process=False)
            points = trimesh.sample.sample_surface(mesh, SAMPLES, seed=0)[0]
            clouds.append(one.scale * points @ pose[:3, :3].T + pose[:3, 3])
            parts = [one.scale * part @ pose[:3, :3].T + pose[:3, 3] for part in model.hull_parts]
            hulls.append([ConvexHull(part).equations for part in parts])
            names.append(model.category)
        deepest = 0.0
        for i, cloud in enumerate(clouds):
            depths = {"table": -cloud[:, 2].min()}
            for j in set(range(len(hulls))) - {i}:
                depths[names[j]] = max((-(cloud @ h[:, :3].T + h[:, 3]).max(axis=1)).max() for h in hulls[j])
            for name, depth in depths.items():
                pairs[names[i], name] = max(pairs.get((names[i], name), 0), depth)
            deepest = max(deepest, *depths.values())
        worst.append(deepest)
    worst = 1000 * np.array(worst)
    print(
        f"{scenes} scenes of {split}: deepest overlap, mm: median {np.median(worst):.2f}, 95 % "
        f"{np.quantile(worst, 0.95):.2f}, worst {worst.max():.2f}; {(worst > 2).mean():.1%} of the scenes over 2 mm"
    )
    for (a, b), depth in sorted(pairs.items(), key=lambda item: -item[1])[:12]:
        print(f"  {a} in {b}: {1000 * depth:.1f} mm")


def _command(out: Path, scenes: int, workers: int, *more: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "training.mvtod",
        "generate",
        "--out",
        str(out),
        "--scenes",
        str(scenes),
        "--workers",
        str(workers),
        *more,
    ]


def kills(count: int = 100, scenes: int = 500, seed: int = 0) -> None:
    """Small scenes; each run is killed (SIGKILL) after a random time, the last one is let through."""
    small = ["--views", "2", "--width", "64", "--height", "48", "--max-objects", "5"]
    root, rng = Path(tempfile.mkdtemp()), np.random.default_rng(seed)
    subprocess.run(_command(root / "whole", scenes, 2, *small), check=True)
    begun = 0
    for _ in tqdm(range(count), desc="kills"):
        before = len(list((root / "killed").glob("scene_?????")))
        process = subprocess.Popen(
            _command(root / "killed", scenes, 2, *small), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(rng.uniform(3.0, 9.0))  # a worker takes about 3 s to start
        process.kill()
        process.wait()
        begun += len(list((root / "killed").glob("scene_?????"))) > before
    subprocess.run(_command(root / "killed", scenes, 2, *small), check=True)
    names = [str(p.relative_to(root / "whole")) for p in (root / "whole").rglob("scene_*/*")]
    _, different, missing = filecmp.cmpfiles(root / "whole", root / "killed", names, shallow=False)
    left = list((root / "killed").glob("*.part"))
    print(
        f"{count} kills, {begun} of them after new scenes: of {len(names)} files {len(different)} differ, "
        f"{len(missing)} are missing, {len(left)} half scenes are left"
    )
    shutil.rmtree(root)


def workers(scenes: int = 8, views: int = 73, rounds: int = 3) -> None:
    """Both by turns; what a worker needs to start is in the time."""
    spent: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(rounds):
        for count, times in spent.items():
            out = Path(tempfile.mkdtemp())
            start = time.perf_counter()
            subprocess.run(_command(out, scenes, count, "--views", str(views)), check=True)
            times.append(time.perf_counter() - start)
            size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) / scenes
            shutil.rmtree(out)
    rate = {count: scenes / np.median(times) * 3600 for count, times in spent.items()}
    print(
        f"{views} views: {rate[1]:.0f} scenes an hour with one worker, {rate[2]:.0f} with two: "
        f"{rate[2] / rate[1]:.2f} times; {size / 1e6:.1f} MB a scene"
    )


def renderers(views: int = 73, blender_views: int = 4, rounds: int = 3, seed: int = 0) -> None:
    """One core. Blender (where bpy is) draws `blender_views` views; its hours are for `views` of them."""
    kinds = {"mujoco": views} | ({"blender": blender_views} if find_spec("bpy") else {})
    if len(kinds) == 1:
        print("bpy is not installed: MuJoCo only")
    spent, bare = {kind: [] for kind in kinds}, {kind: [] for kind in kinds}
    for index in range(rounds):
        for kind, count in kinds.items():
            root = Path(tempfile.mkdtemp())
            recipe = GenerateRecipe(seed=seed, renderer=kind, config=SceneConfig(views=count))
            spent[kind].append(generate_scene(root / "scene_00000", recipe, index).seconds)
            (scene,) = load_scenes(root)
            bare[kind].append(_bare_mujoco(scene) if kind == "mujoco" else _bare_blender())
            shutil.rmtree(root)
    for kind, count in kinds.items():
        seconds = {stage: float(np.median([one[stage] for one in spent[kind]])) for stage in spent[kind][0]}
        each = {stage: seconds[stage] / count for stage in ("render", "visibility", "write")}
        whole = seconds["build"] + seconds["settle"] + views * sum(each.values())
        stages = ", ".join(f"{stage} {1000 * each[stage]:.0f}" for stage in each)
        print(
            f"{kind}, {count} views drawn: {3600 / whole:.1f} scenes of {views} views an hour and core; a scene: "
            f"build {seconds['build']:.2f} s, settle {seconds['settle']:.2f} s; a view, ms: {stages}; the renderer "
            f"alone {1000 * np.median(bare[kind]):.0f}"
        )


def _bare_mujoco(scene: Scene) -> float:
    """Seconds a view of colours, depth and segmentation, with the scene compiled and nothing kept."""
    description = scene.description
    specs = {spec.name: spec for spec in open_catalogue(PROCEDURAL).specs}
    models = {one.name: open_catalogue(PROCEDURAL).build(specs[one.name]) for one in description.objects}
    model, _ = render_mujoco.compile_scene(description, models)
    mujoco = render_mujoco.mujoco  # imported once it was said how it draws
    data, camera = mujoco.MjData(model), description.cameras[0]
    mujoco.mj_forward(model, data)
    with mujoco.Renderer(model, camera.height, camera.width) as renderer:
        start = time.perf_counter()
        for index in range(len(description.cameras)):
            renderer.update_scene(data, f"camera{index}")
            renderer.render()
            renderer.enable_depth_rendering()
            renderer.render()
            renderer.disable_depth_rendering()
            renderer.enable_segmentation_rendering()
            renderer.render()
            renderer.disable_segmentation_rendering()
        return (time.perf_counter() - start) / len(description.cameras)


def _bare_blender() -> float:
    """Seconds of the picture and of the depth and labels of the last view, still in Blender; nothing is written."""
    import bpy

    cycles = bpy.context.scene.cycles
    start = time.perf_counter()
    bpy.ops.render.render()
    cycles.samples, cycles.use_denoising, cycles.max_bounces = 1, False, 0
    bpy.ops.render.render()
    return time.perf_counter() - start


if __name__ == "__main__":
    modes = (overlaps, kills, workers, renderers)
    tyro.extras.subcommand_cli_from_dict({mode.__name__: mode for mode in modes})
