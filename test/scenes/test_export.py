# SPDX-License-Identifier: Apache-2.0
"""What other tools read of our scenes: COCO by pycocotools, BOP by its formulas, bags by the package itself."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
from mvtod_support import CATALOGUE, SHAPE, SIZES, write_scenes
from PIL import Image

pytest.importorskip("mujoco", reason="mujoco is not installed (make setup)")

from dropclip_ros.vision.bags import load_bag_frame
from training.runs.errors import InputError
from training.scenes.export import export as module
from training.scenes.export.export import export
from training.scenes.sensor import KINECT
from training.scenes.shards import load_scenes, pack


@pytest.fixture(scope="module")
def scenes(tmp_path_factory) -> Path:
    return write_scenes(tmp_path_factory.mktemp("export") / "scenes", 2, 3)


@pytest.fixture
def boxes(monkeypatch) -> None:
    """The catalogue that the scenes are of."""
    monkeypatch.setattr(module, "open_catalogue", lambda _: CATALOGUE)


def test_coco_is_what_pycocotools_reads(scenes, tmp_path):
    coco = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed")
    export(scenes, tmp_path / "coco", "coco")
    read = coco.COCO(str(tmp_path / "coco/annotations.json"))
    assert len(read.imgs) == 6 and {c["name"] for c in read.cats.values()} == {"box", "tin"}
    assert len(read.anns) == len({(a["image_id"], a["instance"]) for a in read.anns.values()}) and 0 not in read.anns
    found = load_scenes(scenes)
    for image in read.imgs.values():
        scene, v = found[(image["id"] - 1) // 3], (image["id"] - 1) % 3
        view, labels = scene.view(v), {o["name"]: o["id"] for o in scene.objects.values()}
        assert np.array_equal(np.asarray(Image.open(tmp_path / "coco/images" / image["file_name"])), view.rgb)
        assert np.allclose(image["world_from_camera"], view.world_from_camera)
        for note in read.loadAnns(read.getAnnIds(imgIds=image["id"])):
            assert np.array_equal(read.annToMask(note).astype(bool), view.mask == labels[note["instance"]])
            assert read.cats[note["category_id"]]["name"] in ("tin" if note["instance"] == "tin" else "box")
            assert note["visible_fraction"] == 1.0


def load_bop(folder: Path, name: str) -> dict[int, list | dict]:
    return {int(key): value for key, value in json.loads((folder / f"{name}.json").read_text()).items()}


def test_bop_poses_put_the_models_where_the_images_show_them(scenes, tmp_path, boxes):
    """P_m2i = K [R_m2c, t_m2c] of the format description, in mm, against depth and masks of the images."""
    trimesh = pytest.importorskip("trimesh")
    out = tmp_path / "bop"
    export(scenes, out, "bop")
    models = {int(key): value for key, value in json.loads((out / "models/models_info.json").read_text()).items()}
    assert sorted(models) == list(range(1, 7))
    for number, info in models.items():
        mesh, size = (
            trimesh.load(out / f"models/obj_{number:06d}.ply"),
            1000 * info["scale"] * np.array(SIZES[info["name"]]),
        )
        assert np.allclose(mesh.extents, size) and np.allclose([info[f"size_{a}"] for a in "xyz"], size)
        assert info["diameter"] == pytest.approx(np.linalg.norm(size)) and info["min_z"] == pytest.approx(-size[2] / 2)
        assert np.allclose(mesh.visual.vertex_colors[:, :3], (200, 40, 40))
    for index in range(2):
        folder = out / f"train/{index:06d}"
        cameras, truth, infos = (load_bop(folder, f"scene_{name}") for name in ("camera", "gt", "gt_info"))
        for v in range(3):
            k = np.array(cameras[v]["cam_K"]).reshape(3, 3)
            depth = np.asarray(Image.open(folder / f"depth/{v:06d}.png")) * cameras[v]["depth_scale"]
            assert np.asarray(Image.open(folder / f"rgb/{v:06d}.jpg")).shape == (*SHAPE, 3)
            for i, (one, info) in enumerate(zip(truth[v], infos[v], strict=True)):
                rotation = np.array(one["cam_R_m2c"]).reshape(3, 3)
                half = np.array([models[one["obj_id"]][f"size_{a}"] for a in "xyz"]) / 2
                mask, visible = (
                    np.asarray(Image.open(folder / f"{name}/{v:06d}_{i:06d}.png")) == 255
                    for name in ("mask", "mask_visib")
                )
                assert not (visible & ~mask).any()
                rows, columns = np.nonzero(visible)
                z = depth[rows, columns]
                camera = np.stack([(columns - k[0, 2]) * z / k[0, 0], (rows - k[1, 2]) * z / k[1, 1], z], 1)
                local = np.abs((camera - one["cam_t_m2c"]) @ rotation) - half  # on the faces of the box
                assert np.abs(local.max(axis=1)).max() < 0.5
                corners = np.array(np.meshgrid(*[(-1, 1)] * 3)).reshape(3, -1).T * half
                pixels = (corners @ rotation.T + one["cam_t_m2c"]) @ k.T
                pixels = pixels[:, :2] / pixels[:, 2:]
                x, y, w, h = info["bbox_obj"]
                assert np.allclose([x, y, x + w, y + h], [*pixels.min(0), *pixels.max(0)], atol=2)  # corners are thin
                assert info["px_count_visib"] == visible.sum() and info["px_count_valid"] == mask.sum()
                assert info["visib_fract"] == pytest.approx(info["px_count_visib"] / info["px_count_all"])


def test_bop_counts_what_the_image_cuts_off(tmp_path, boxes):
    root = write_scenes(tmp_path / "scenes", 1, 2, shape=(20, 24))  # so small a sensor cuts boxes
    for file in root.glob("*/scene.json"):
        coco = json.loads(file.read_text())
        assert len(coco["images"]) == 2
    whole, narrow = tmp_path / "scenes", tmp_path / "narrow"
    narrow.mkdir()
    shift = 9  # columns that the image loses on its left
    (narrow / "scene_00000").mkdir()
    for file in (whole / "scene_00000").iterdir():
        if file.suffix == ".json":
            for image in coco["images"]:
                image["width"] -= shift
                image["K"][0][2] -= shift
            (narrow / "scene_00000/scene.json").write_text(json.dumps(coco))
        else:
            pixels = Image.open(file)
            pixels.crop((shift, 0, *pixels.size)).save(narrow / "scene_00000" / file.name)
    infos = []
    for name in ("scenes", "narrow"):
        export(tmp_path / name, tmp_path / f"bop_{name}", "bop")
        infos.append(load_bop(tmp_path / f"bop_{name}/train/000000", "scene_gt_info"))
    cut = 0
    for v in range(2):
        for complete, part in zip(infos[0][v], infos[1][v], strict=True):
            assert part["px_count_all"] == pytest.approx(complete["px_count_all"], abs=2)
            assert part["visib_fract"] <= complete["visib_fract"] + 0.03
            if part["px_count_visib"]:
                assert part["bbox_obj"][0] == pytest.approx(complete["bbox_obj"][0] - shift, abs=1)
                cut += part["bbox_obj"][0] < 0
            else:
                assert part["bbox_obj"] == part["bbox_visib"] == [-1] * 4
    assert cut


def test_bags_are_read_by_the_package(scenes, tmp_path):
    rosbags = pytest.importorskip("rosbags.highlevel", reason="rosbags is not installed")
    export(scenes, tmp_path / "bags", "bag", sensor="kinect", rate=4.0)
    for scene in load_scenes(scenes):
        view, frame = scene.view(0, KINECT), load_bag_frame(tmp_path / "bags" / scene.name)
        assert np.array_equal(frame.rgb, view.rgb) and np.allclose(frame.depth, view.depth, atol=1e-3)
        assert (frame.depth == 0).mean() > (scene.view(0).depth == 0).mean()
        k = frame.intrinsics
        assert np.allclose([k.fx, k.fy, k.cx, k.cy], view.intrinsics[[0, 1, 0, 1], [0, 1, 2, 2]])
    from rosbags.typesys import Stores, get_typestore

    with rosbags.AnyReader([tmp_path / "bags/scene_00001"], default_typestore=get_typestore(Stores.ROS2_HUMBLE)) as bag:
        moves = [bag.deserialize(raw, c.msgtype).transforms[0] for c, _, raw in bag.messages() if c.topic == "/tf"]
        stamps = [t for c, t, _ in bag.messages() if c.topic.endswith("camera_info")]
    scene = load_scenes(scenes)[1]
    for v, move in enumerate(moves):
        place = move.transform.translation
        assert np.allclose((place.x, place.y, place.z), scene.view(v).world_from_camera[:3, 3])
        assert (move.header.frame_id, move.child_frame_id) == ("world", "camera_color_optical_frame")
    assert len(moves) == 3 and np.diff(stamps).tolist() == [250_000_000] * 2


def test_shards_go_out_as_folders_do(scenes, tmp_path):
    pack(scenes, tmp_path / "shards")
    for k, place in enumerate((scenes, tmp_path / "shards")):
        export(place, tmp_path / f"coco{k}", "coco")
    assert (tmp_path / "coco0/annotations.json").read_bytes() == (tmp_path / "coco1/annotations.json").read_bytes()


@pytest.mark.parametrize("to", ["coco", "bop", "bag"])
def test_a_folder_that_is_there_is_left_as_it_is(scenes, tmp_path, to, boxes):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine").write_text("mine")
    with pytest.raises(InputError, match=r"out exists; remove it, or choose another"):
        export(scenes, tmp_path / "out", to)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]


@pytest.mark.parametrize("to", ["coco", "bop", "bag"])
def test_a_broken_image_ends_an_export_or_is_left_out(tmp_path, to, boxes):
    root = write_scenes(tmp_path / "scenes", 1, 3)
    (root / "scene_00000/view_01.mask.png").write_bytes(b"broken")
    with pytest.raises(InputError, match=r"view_01\.mask\.png cannot be read"):
        export(root, tmp_path / "out", to)
    assert [path.name for path in tmp_path.iterdir()] == ["scenes"]
    with pytest.warns(UserWarning, match=r"left out: .*view_01\.mask\.png"):
        export(root, tmp_path / "out", to, skip_broken=True)
    if to == "bop":
        assert sorted(load_bop(tmp_path / "out/train/000000", "scene_gt")) == [0, 2]


@pytest.mark.parametrize("to", ["coco", "bop", "bag"])
def test_a_full_disk_leaves_nothing(scenes, tmp_path, to, boxes, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    monkeypatch.setattr("rosbags.rosbag2.Writer.write", full)
    with pytest.raises(InputError, match="out cannot be written: the disk is full"):
        export(scenes, tmp_path / "out", to)
    assert not list(tmp_path.iterdir())


def test_objects_of_another_catalogue_are_named(scenes, tmp_path):
    with pytest.raises(InputError, match="blue_box, red_box, tin not in the catalogue"):
        export(scenes, tmp_path / "out", "bop")
    assert not list(tmp_path.iterdir())
