# SPDX-License-Identifier: Apache-2.0
"""Grasps of scenes: ACRONYM's frame and ours, physical trials, and what collides in a scene."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import trimesh
from grasp_support import BOX, FROM_ABOVE, one_grasp, pose, solid
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

pytest.importorskip("mujoco", reason="mujoco is not installed (make setup)")

from dropclip_ros.grasping.grasps import Grasps
from dropclip_ros.grasping.grippers import FRANKA_HAND, GRIPPERS, ROBOTIQ_2F_140
from training.objects.catalogue import Catalogue
from training.objects.spec import ObjectModel, ObjectSpec
from training.runs.errors import InputError
from training.scenes.description import SceneConfig, rows
from training.scenes.generate import GenerateRecipe, generate_scene
from training.scenes.grasps.acronym import QUALITIES, TIP, TRANSFORMS, read_grasps, scaled, write_grasps
from training.scenes.grasps.grasp_trials import TrialConfig, Trials, fingerprint, sample_grasps, try_grasps
from training.scenes.grasps.scene_grasps import grasps as add_grasps
from training.scenes.grasps.scene_grasps import load_grasps, place
from training.scenes.shards import load_scenes

FEW = TrialConfig(samples=400, wanted=6)


def test_acronyms_frame_has_z_to_the_front_and_closes_along_x(tmp_path):
    """A Panda hand above a box: origin 11.2 cm above the tips, z down, x between the fingers."""
    down = np.array([[1.0, 0, 0, 0], [0, -1, 0, 0], [0, 0, -1, 0.112 + 0.03], [0, 0, 0, 1]])
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file[TRANSFORMS], file[QUALITIES] = down[None], np.array([1])
    (grasps,) = [read_grasps(tmp_path / "a.h5")]
    assert np.allclose(grasps.approach, (0, 0, -1)) and np.allclose(grasps.rotation[0, :, 1], (1, 0, 0))
    assert np.allclose(grasps.tips(), (0, 0, 0.03), atol=3e-4) and grasps.width[0] == FRANKA_HAND.max_width


def test_a_mesh_of_another_scale_than_acronyms(tmp_path):
    write_grasps(tmp_path / "g.h5", one_grasp(FROM_ABOVE, tip=(0, 0, 0.03)), "mesh.obj", 0.3)
    with h5py.File(tmp_path / "g.h5", "a") as file:
        file["object/scale"][()] = 0.01
    assert np.allclose(read_grasps(tmp_path / "g.h5", scale=0.02).tips(), (0, 0, 0.06))
    assert np.allclose(read_grasps(tmp_path / "g.h5").tips(), (0, 0, 0.03))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.5, 2.0))
def test_moving_the_object_and_then_grasping_is_moving_the_grasp(seed, factor):
    rng = np.random.default_rng(seed)
    rotation = Rotation.random(random_state=seed % 2**31)
    grasps = one_grasp(rotation.as_matrix(), rng.uniform(-0.1, 0.1, 3))
    move = pose(Rotation.random(random_state=(seed + 1) % 2**31), rng.uniform(-1, 1, 3))
    moved = scaled(grasps, factor).transformed(move)
    assert np.allclose(moved.tips()[0], move[:3, :3] @ (factor * grasps.tips()[0]) + move[:3, 3])
    assert np.allclose(moved.rotation[0], move[:3, :3] @ grasps.rotation[0])
    assert moved.width[0] == pytest.approx(factor * grasps.width[0]) and moved.depth[0] == grasps.depth[0]


def test_files_are_read_back(tmp_path):
    rng = np.random.default_rng(0)
    rotation = Rotation.random(5, random_state=0).as_matrix()
    grasps = Grasps(
        rng.integers(0, 2, 5),
        rng.uniform(0, 0.1, 5),
        np.full(5, 0.03),
        np.full(5, 0.02),
        rotation,
        rng.normal(size=(5, 3)),
        np.full(5, -1),
    )
    write_grasps(tmp_path / "g.h5", grasps, "mesh.obj", 0.3)
    back = read_grasps(tmp_path / "g.h5")
    assert np.allclose(back.tips(), grasps.tips()) and np.allclose(back.rotation, rotation)
    assert np.array_equal(back.score, grasps.score) and np.allclose(back.width, grasps.width)
    with h5py.File(tmp_path / "g.h5") as file:
        assert file["object/file"][()] == b"mesh.obj" and file["object/scale"][()] == 1.0
    assert [path.name for path in tmp_path.iterdir()] == ["g.h5"]


def write_broken(path: Path, change) -> None:
    transforms, held = np.tile(np.eye(4), (3, 1, 1)), np.ones(3)
    transforms, held = change(transforms, held)
    with h5py.File(path, "w") as file:
        file[TRANSFORMS], file[QUALITIES] = transforms, held


def with_nan(transforms, held):
    transforms[1, 0, 3] = np.nan
    return transforms, held


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (with_nan, r"grasp 1 \(of 3, 1 such\) is no rigid transform"),
        (lambda t, h: (2 * t, h), r"grasp 0 \(of 3, 3 such\)"),
        (lambda t, h: (t * np.array([1, 1, -1, 1]), h), "no rigid transform"),
        (lambda t, h: (t[:, :3], h), r"shape \(3, 3, 4\)"),
        (lambda t, h: (t, h[:2]), r"expected \(N, 4, 4\) and \(N,\)"),
    ],
)
def test_broken_transforms_are_named(tmp_path, change, words):
    write_broken(tmp_path / "b.h5", change)
    with pytest.raises(InputError, match=words):
        read_grasps(tmp_path / "b.h5")


@pytest.mark.parametrize("data", [b"no hdf5", None])
def test_other_files_are_named(tmp_path, data):
    path = tmp_path / "x.h5"
    if data:
        path.write_bytes(data)
    else:
        with h5py.File(path, "w") as file:
            file["meshes"] = np.zeros(3)
    with pytest.raises(InputError, match=r"x.h5 is no file of ACRONYM"):
        read_grasps(path)


@pytest.mark.parametrize("gripper", GRIPPERS.values(), ids=lambda g: g.name)
def test_samples_are_antipodal_fit_the_hand_and_repeat(gripper):
    grasps = sample_grasps(BOX, gripper, TrialConfig(samples=600, wanted=40))
    assert len(grasps) >= 10 and (grasps.width <= gripper.max_width).all()
    assert np.array_equal(grasps.rows(), sample_grasps(BOX, gripper, TrialConfig(samples=600, wanted=40)).rows())
    across = np.abs(grasps.rotation[:, :, 1]).max(axis=1)  # a box is held by opposite faces
    assert (across > np.cos(np.arctan(0.35)) - 1e-6).all()
    half = np.array((0.02, 0.03, 0.06))
    for side in (-1, 1):  # both pads begin outside of the box
        pads = grasps.translation + side * 0.5 * grasps.width[:, None] * grasps.rotation[:, :, 1]
        assert (np.abs(pads) > half).any(axis=1).all()


def test_a_trial_tells_a_good_grasp_from_bad_ones():
    trials = Trials(BOX, ROBOTIQ_2F_140, FEW)
    good = one_grasp(FROM_ABOVE, tip=(0, 0, 0.03), width=0.06)
    edge = one_grasp(FROM_ABOVE, tip=(0, 0.045, 0.03), width=0.06)  # beside it: nothing between the fingers
    assert trials.hold(good).tolist() == [True] and trials.hold(edge).tolist() == [False]
    heavy = Trials(replace(BOX, density=50000.0), ROBOTIQ_2F_140, FEW)
    assert heavy.hold(good).tolist() == [False]
    oily = Trials(replace(BOX, friction=0.01), ROBOTIQ_2F_140, replace(FEW, friction=0.01))
    assert oily.hold(good).tolist() == [False]


def test_what_cannot_be_grasped():
    wide = solid(trimesh.creation.box((0.3, 0.3, 0.3)))
    assert len(try_grasps(wide, ROBOTIQ_2F_140, FEW)) == 0
    point = solid(trimesh.Trimesh(np.zeros((3, 3)), [[0, 1, 2]], process=False))
    with pytest.raises(InputError, match="thing: the mesh has no surface to grasp"):
        sample_grasps(point, ROBOTIQ_2F_140, FEW)
    with pytest.raises(ValueError, match="force"):
        TrialConfig(force=0.0)


def test_cached_grasps_are_of_the_object_the_gripper_and_the_trial():
    own = fingerprint(BOX, ROBOTIQ_2F_140, FEW)
    assert own == fingerprint(replace(BOX), ROBOTIQ_2F_140, FEW)
    others = {
        fingerprint(replace(BOX, density=800.0), ROBOTIQ_2F_140, FEW),
        fingerprint(BOX, FRANKA_HAND, FEW),
        fingerprint(BOX, ROBOTIQ_2F_140, replace(FEW, seed=1)),
        fingerprint(replace(BOX, vertices=1.1 * BOX.vertices), ROBOTIQ_2F_140, FEW),
    }
    assert own not in others and len(others) == 4


class Boxes(Catalogue):
    """One kind of thing."""

    def build(self, spec: ObjectSpec) -> ObjectModel:
        return replace(BOX, name=spec.name)


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A scene of the generator in which two boxes stand: (scene, file of two grasps of the box)."""
    root = tmp_path_factory.mktemp("boxes")
    generate_scene(
        root / "scene_00000", GenerateRecipe(renderer="none", config=SceneConfig(min_objects=2, max_objects=2)), 0
    )
    file = root / "scene_00000/scene.json"
    coco = json.loads(file.read_text())
    for k, (entry, placed) in enumerate(zip(coco["objects"], coco["description"]["objects"], strict=True)):
        entry["name"] = placed["name"] = f"box_{k}"
        placed["scale"], placed["world_from_mesh"] = 1.0, rows(pose(Rotation.identity(), (0.3 * k, 0, 0.0601)))
    file.write_text(json.dumps(coco))
    grasps = [
        one_grasp(FROM_ABOVE, tip=(0, 0, 0.03)),  # free, from above
        one_grasp(-FROM_ABOVE * (1, 1, -1), tip=(0, 0, -0.03)),
    ]  # from below: through the table
    both = Grasps.from_rows(np.concatenate([g.rows() for g in grasps]))
    write_grasps(root / "box.h5", both, "box", 0.2)
    (found,) = load_scenes(root)
    return found, root / "box.h5"


def test_grasps_move_with_their_objects_and_the_table_is_in_the_way_of_some(scene):
    found, file = scene
    catalogue = Boxes(tuple(ObjectSpec(f"box_{k}", "box", "train", {}) for k in range(2)))
    grasps, collides = place(found, {"box_0": file, "box_1": file}, catalogue, ROBOTIQ_2F_140, 10)
    assert grasps.object_id.tolist() == [2, 2, 3, 3] and collides.tolist() == [False, True, False, True]
    assert np.allclose(grasps.tips()[0], (0, 0, 0.0901), atol=1e-6)
    assert np.allclose(grasps.tips()[2], (0.3, 0, 0.0901), atol=1e-6)
    few, _ = place(found, {"box_0": file, "box_1": file}, catalogue, ROBOTIQ_2F_140, 1)
    assert few.object_id.tolist() == [2, 3] and (few.approach[:, 2] < -0.99).all()  # the free one is kept


@pytest.mark.parametrize(("size", "collides"), [(1.05, False), (2.1, True)])
def test_a_hand_that_is_open_all_the_way_still_serves_a_larger_object(scene, tmp_path, size, collides):
    """ACRONYM names no widths: a Panda hand's 8 cm. The box is 4 cm wide, and 8.4 cm in the second size."""
    found, _ = scene
    with h5py.File(tmp_path / "panda.h5", "w") as file:
        file[TRANSFORMS] = np.array([[1.0, 0, 0, 0], [0, -1, 0, 0], [0, 0, -1, TIP + 0.03], [0, 0, 0, 1]])[None]
        file[QUALITIES] = np.array([1])
    coco = json.loads(json.dumps(found.coco))
    coco["description"]["objects"] = coco["description"]["objects"][:1]
    coco["description"]["objects"][0] |= {"scale": size}
    coco["description"]["objects"][0]["world_from_mesh"][2][3] = 0.0601 * size
    (tmp_path / "scene_00000").mkdir()
    (tmp_path / "scene_00000/scene.json").write_text(json.dumps(coco))
    (larger,) = load_scenes(tmp_path)
    catalogue = Boxes((ObjectSpec("box_0", "box", "train", {}),))
    grasps, hits = place(larger, {"box_0": tmp_path / "panda.h5"}, catalogue, FRANKA_HAND, 10)
    assert grasps.width.tolist() == [FRANKA_HAND.max_width] and hits.tolist() == [collides]


def test_a_neighbour_is_in_the_way(scene):
    found, file = scene
    catalogue = Boxes(tuple(ObjectSpec(f"box_{k}", "box", "train", {}) for k in range(2)))
    coco = json.loads(json.dumps(found.coco))
    coco["description"]["objects"][1]["world_from_mesh"][0][3] = 0.045  # 5 mm apart: no finger fits between
    folder = found.source.path.parent / "near"
    (folder / "scene_00000").mkdir(parents=True, exist_ok=True)
    (folder / "scene_00000/scene.json").write_text(json.dumps(coco))
    (near,) = load_scenes(folder)
    assert place(near, {"box_0": file, "box_1": file}, catalogue, ROBOTIQ_2F_140, 10)[1].all()


def test_the_command_adds_grasps_to_scenes_and_resumes(tmp_path, capsys):
    config = SceneConfig(min_objects=1, max_objects=2)
    for k in range(2):
        generate_scene(tmp_path / f"scenes/scene_{k:05d}", GenerateRecipe(renderer="none", config=config), k)
    add_grasps(tmp_path / "scenes", cache=tmp_path / "cache", workers=1, trial=FEW)
    scenes = load_scenes(tmp_path / "scenes")
    for found in scenes:
        grasps, collides, gripper = load_grasps(found)
        assert gripper == "robotiq_2f_140" and len(grasps) == len(collides) and (grasps.score == 1).all()
        assert set(grasps.object_id) <= set(found.objects)
    files = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()}
    (tmp_path / "scenes/scene_00001/grasps.h5").unlink()
    with pytest.raises(InputError, match="run `dropclip-mvtod grasps`"):
        load_grasps(scenes[1])
    add_grasps(tmp_path / "scenes", cache=tmp_path / "cache", workers=1, trial=FEW)
    assert files == {path.name: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()}
    assert load_grasps(scenes[1]) and "1 scenes" in capsys.readouterr().out
    with pytest.raises(InputError, match="holds grasps of robotiq_2f_140; remove such files"):
        add_grasps(tmp_path / "scenes", gripper="franka_hand", cache=tmp_path / "cache", workers=1, trial=FEW)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"gripper": "tongs"}, "gripper 'tongs': expected one of"),
        ({"per_object": 0}, "per_object 0"),
        ({"scenes": Path("/nowhere")}, "no scenes there"),
    ],
)
def test_bad_arguments_are_named(tmp_path, options, words):
    with pytest.raises(InputError, match=words):
        add_grasps(**({"scenes": tmp_path} | options))
