# SPDX-License-Identifier: Apache-2.0
"""Data sets for evaluation: three ray-cast boxes written in each published layout come back as they were."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import open3d as o3d
import pytest
from mvtod_support import cast, describe, write_scenes
from PIL import Image

from dropclip_ros.base.errors import DropclipError
from dropclip_ros.vision.geometry import transform_points
from training.evaluate.data import (
    OCID_VLG_SCALES,
    load_folder,
    load_lerf,
    load_mvtod,
    load_ocid_vlg,
    load_osd,
    load_regrad,
    scale_sweep,
    scaled,
)
from training.evaluate.data.ocid_vlg import XTION, without_verb
from training.evaluate.data.regrad import CAMERA, POSES, TABLE_TOP
from training.evaluate.metrics import localised
from training.fusion.clouds import full_cloud, view_cloud
from training.runs.errors import InputError
from training.scenes.scene import View

SHAPE = (240, 320)
RED, BLUE, TIN = 2, 3, 4


@pytest.fixture(scope="module")
def views() -> list[View]:
    """Two views of three boxes on a table: red_box (label 2), blue_box (3) and tin (4)."""
    description = describe(np.random.default_rng(0), views=3, shape=SHAPE)
    return [cast(description, camera) for camera in description.cameras[1:]]


def save(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


def save_json(path: Path, table) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(table))


def millimetres(view: View) -> np.ndarray:
    return np.round(1000 * view.depth).astype(np.uint16)


def camera_of(view: View) -> dict:
    k, (height, width) = view.intrinsics, view.mask.shape
    return {"fx": k[0, 0], "fy": k[1, 1], "cx": k[0, 2], "cy": k[1, 2], "width": width, "height": height}


def box_of(view: View, label: int) -> list[int]:
    rows, columns = np.nonzero(view.mask == label)
    return [int(columns.min()), int(rows.min()), int(columns.max()), int(rows.max())]


def write_ocid(root: Path, view: View) -> None:
    for folder, image in (("rgb", view.rgb), ("depth", millimetres(view))):
        save(root / "ARID20/table/top/seq05" / folder / "a.png", image)
    instances = np.array([0, 0, 3, 1, 7], np.uint8)[view.mask]  # its own numbers, with gaps
    save(root / "ARID20/table/top/seq05/seg_mask_instances_combi/a.png", instances)
    said = [
        ("Pick the cereal box to the left of the lemon", 3, "cereal_box_3"),
        ("Pick the Kleenex tissues.", 1, "kleenex_2"),
        ("Grab the tin", 7, "soda_can_1"),
    ]
    rows = [
        {"image_filename": "ARID20/table/top/seq05,a.png", "question": question, "answer": answer, "target": target}
        for question, answer, target in said
    ]
    save_json(root / "refer/unique/val_expressions.json", {"info": {"split": "val"}, "data": rows})
    save_json(root / "k.json", camera_of(view))


def write_regrad(root: Path, view: View) -> None:
    names = {RED: "mug", BLUE: "sofa", TIN: "mug"}
    entries = [{"obj_id": label - 1, "model_name": name, "category": "0"} for label, name in names.items()]
    values = np.array([0, 255, 1, 2, 3], np.uint8)[view.mask]
    for v in range(1, 10):
        save(root / f"seen_valid/RGBImages/00007_{v}.jpg", view.rgb)
        save(root / f"seen_valid/DepthImages/00007_{v}.png", millimetres(view))
        save(root / f"seen_valid/SegmentationImages/00007_{v}.png", values)
    furniture = [{"obj_id": 1, "model_name": "sofa"}]
    tables = {"00007": {str(v): entries for v in range(1, 10)}, "00008": {"1": furniture}}
    save_json(root / "seen_valid/objects_16k.json", tables)


def write_osd(root: Path, view: View) -> None:
    for what, image in (("color", view.rgb), ("depth", millimetres(view)), ("label", view.mask)):
        save(root / f"learn0_{what}.png", image)
    height, width = view.mask.shape
    scenes = [{"id": "learn0", "category": "boxes", "n_objects": 3}]
    save_json(root / "index.json", {"K": view.intrinsics.tolist(), "width": width, "height": height, "scenes": scenes})


def write_lerf(root: Path, view: View) -> None:
    """With its own boxes: the whole of the red one, its left half, and the tin."""
    x0, y0, x1, y1 = box_of(view, RED)
    tin = np.reshape(box_of(view, TIN), (2, 2)).tolist()
    shapes = [("bear", [[x0, y0], [x1, y1]]), ("bear nose", [[(x0 + x1) // 2, y1], [x0, y0]]), ("tin", tin)]
    height, width = view.mask.shape
    labels = {"imageWidth": width, "imageHeight": height, "shapes": [{"label": a, "points": p} for a, p in shapes]}
    save_json(root / "teatime/0_rgb.json", labels)
    save(root / "teatime/0_rgb.png", view.rgb)
    save(root / "teatime/0_rgb_depth.png", millimetres(view))
    angle = 2 * np.degrees(np.arctan(height / 2 / view.intrinsics[1, 1]))
    keyframes = [{"matrix": "[]", "properties": json.dumps([["FOV", angle], ["NAME", "a"]])}]
    save_json(root / "teatime/keyframes.json", {"render_height": 1080, "keyframes": keyframes})


def write_lerf_ovs(root: Path, view: View) -> None:
    """With polygons, and depth in metres."""
    x0, y0, x1, y1 = box_of(view, RED)
    entry = {"category": "bear", "bbox": [x0, y0, x1, y1], "segmentation": [[x0, y0], [x1, y0], [x1, y1], [x0, y1]]}
    height, width = view.mask.shape
    info = {"width": width, "height": height, "name": "frame_00002.jpg"}
    save_json(root / "label/teatime/frame_00002.json", {"info": info, "objects": [entry, entry | {"category": "toy"}]})
    save(root / "label/teatime/frame_00002.jpg", view.rgb)
    np.save(root / "label/teatime/frame_00002_depth.npy", view.depth.astype(np.float32))
    k = camera_of(view)
    names = {"fx": "fl_x", "fy": "fl_y", "width": "w", "height": "h"}
    save_json(root / "teatime/transforms.json", {names.get(key, key): value for key, value in k.items()})


def write_folder(root: Path, view: View, name: str = "a", posed: bool = False) -> None:
    save(root / "rgb" / f"{name}.png", view.rgb)
    save(root / "depth" / f"{name}.png", millimetres(view))
    save(root / "mask" / f"{name}.png", view.mask)
    save_json(root / "k.json", camera_of(view))
    save_json(root / "objects.json", {"2": {"name": "red box", "category": "box"}, "3": "box"})
    save_json(root / "queries.json", {"box": [2, 3], "banana": []})
    if posed:
        save_json(root / "pose" / f"{name}.json", view.world_from_camera.tolist())


@dataclass(frozen=True)
class Layout:
    """How a data set is written and read; one of its files for each kind that a user may lack."""

    write: Callable[[Path, View], None]
    load: Callable
    image: str
    table: str


LAYOUTS = {
    "ocid-vlg": Layout(
        write_ocid, load_ocid_vlg, "ARID20/table/top/seq05/depth/a.png", "refer/unique/val_expressions.json"
    ),
    "regrad": Layout(write_regrad, load_regrad, "seen_valid/DepthImages/00007_1.png", "seen_valid/objects_16k.json"),
    "osd": Layout(write_osd, load_osd, "learn0_depth.png", "index.json"),
    "lerf": Layout(write_lerf, load_lerf, "teatime/0_rgb_depth.png", "teatime/0_rgb.json"),
    "lerf_ovs": Layout(
        write_lerf_ovs, load_lerf, "label/teatime/frame_00002_depth.npy", "label/teatime/frame_00002.json"
    ),
    "folder": Layout(write_folder, load_folder, "depth/a.png", "queries.json"),
}


def heights(view: View, labels: np.ndarray) -> np.ndarray:
    """Of the points of some pixels (H,W), over the table."""
    points = view_cloud(View(view.rgb, view.depth, np.where(labels, 2, 0), view.intrinsics, view.world_from_camera), 0)
    return points.points[:, 2]


@pytest.mark.parametrize("name", [name for name in LAYOUTS if name != "regrad"])
def test_depth_comes_back_in_metres_and_stands_on_the_table(name, views, tmp_path):
    """Cameras without a pose are stood on the table they see: whatever is on it is as high as it is."""
    LAYOUTS[name].write(tmp_path, views[0])
    (scene,) = LAYOUTS[name].load(tmp_path)
    view = scene.view(0)
    red = views[0].mask == RED
    assert np.allclose(view.depth, views[0].depth, atol=6e-4)
    assert np.allclose(heights(view, red), heights(views[0], red), atol=0.004)
    assert np.abs(heights(view, views[0].mask == 1)).max() < 0.004
    assert view.mask.dtype == np.uint8 and set(np.unique(view.mask[view.mask > 1])) <= set(scene.objects)
    assert len(view_cloud(view, 0)) > 0 and [v for v, _ in scene.views()] == [0]


@pytest.mark.parametrize("name", LAYOUTS)
def test_what_is_missing_or_broken_is_said_in_one_sentence(name, views, tmp_path):
    """Never a traceback of a library: for no folder, another folder, and broken or missing images and tables."""
    layout = LAYOUTS[name]

    def complaint(root: Path) -> str:
        with pytest.raises((InputError, DropclipError)) as caught:
            scene = layout.load(root)[0]
            scene.view(0)
        return str(caught.value)

    (tmp_path / "empty").mkdir()
    assert str(tmp_path) in complaint(tmp_path / "none") and str(tmp_path) in complaint(tmp_path / "empty")
    layout.write(tmp_path / "data", views[0])
    for file in (layout.image, layout.table):
        path = tmp_path / "data" / file
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        assert path.stem in complaint(tmp_path / "data")
        path.write_bytes(b"[1, 2]" if path.suffix == ".json" else whole)
        if path.suffix == ".json":
            assert path.stem in complaint(tmp_path / "data")
            path.write_bytes(whole)
    (tmp_path / "data" / layout.image).unlink()
    assert Path(layout.image).stem in complaint(tmp_path / "data")


def test_an_image_of_another_size_is_refused(views, tmp_path):
    write_osd(tmp_path, views[0])
    save(tmp_path / "learn0_label.png", views[0].mask[:, :-4])
    with pytest.raises(InputError, match=r"learn0: colour .* one size"):
        load_osd(tmp_path)[0].view(0)


def test_ocid_vlg_asks_one_name_of_each_scene(views, tmp_path):
    """A.6.1: the verb is parsed out, sentences that tell a place are not names; classes are those of the targets."""
    write_ocid(tmp_path, views[0])
    (scene,) = load_ocid_vlg(tmp_path)
    (question,) = scene.questions(0)
    assert (question.phrase, question.family) == ("Kleenex tissues", "name")
    assert scene.objects[question.labels[0]]["category"] == "kleenex"
    assert (scene.view(0).mask == question.labels[0]).sum() == (views[0].mask == BLUE).sum()
    assert set(scene.categories(0)) == {"cereal box", "kleenex", "soda can"}
    everything = load_ocid_vlg(tmp_path, per_scene=None)[0].questions(0)
    assert [(q.phrase, q.family) for q in everything] == [
        ("cereal box to the left of the lemon", "place"),
        ("Kleenex tissues", "name"),
        ("tin", "name"),
    ]
    with pytest.raises(InputError, match="expected one of train, val, test"):
        load_ocid_vlg(tmp_path, split="validation")


def test_ocid_cameras_are_fitted_to_organised_clouds(views, tmp_path):
    """Where no k.json says them; a cloud of another frame than the camera's fits none, and the nominal is taken."""
    write_ocid(tmp_path, views[0])
    (tmp_path / "k.json").unlink()
    path = tmp_path / "ARID20/table/top/seq05/pcd/a.pcd"
    path.parent.mkdir()
    v, u = np.mgrid[: SHAPE[0], : SHAPE[1]]
    rays = np.stack([u, v, np.ones_like(u)], -1) @ np.linalg.inv(views[0].intrinsics).T
    points = (rays * np.where(views[0].depth > 0, views[0].depth, np.nan)[..., None]).reshape(-1, 3)
    for moved, expected in ((np.eye(4), views[0].intrinsics), (views[0].world_from_camera, None)):
        cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(transform_points(moved, points)))
        o3d.io.write_point_cloud(str(path), cloud)
        found = load_ocid_vlg(tmp_path)[0].view(0).intrinsics
        assert np.allclose(found, XTION.scaled_to(*SHAPE[::-1]).matrix if expected is None else expected, atol=0.1)


@pytest.mark.parametrize(
    ("sentence", "phrase"),
    [
        ("Pick up the Choco Krispies corn flakes.", "Choco Krispies corn flakes"),
        ("Could you please hand me the hand towel?", "hand towel"),
        ("hand towel", "hand towel"),
        ("the pick", "pick"),
    ],
)
def test_verbs_are_parsed_out_and_names_kept(sentence, phrase):
    assert without_verb(sentence) == phrase


def test_regrad_asks_for_household_categories(views, tmp_path):
    """Two mugs and a sofa: the mugs are asked for, together; a scene of furniture alone is not drawn."""
    write_regrad(tmp_path, views[0])
    (scene,) = load_regrad(tmp_path)
    assert scene.name == "00007" and len(scene) == 9
    (question,) = scene.questions(8)
    assert (question.phrase, question.labels) == ("mug", [RED, TIN])
    assert set(scene.categories(0)) == {"mug", "sofa"}
    assert np.array_equal(scene.view(0).mask, views[0].mask)


def test_regrad_cameras_look_at_the_table_they_were_rendered_with(tmp_path):
    """A plane drawn as each published camera sees the table comes back at z = 0, as one, whatever the view."""
    height, width = 96, 128
    camera = CAMERA.scaled_to(width, height)
    v, u = np.mgrid[:height, :width]
    rays = np.stack([u, v, np.ones_like(u)], -1) @ np.linalg.inv(camera.matrix).T
    rows = {}
    for number, (position, target) in enumerate(POSES, 1):
        forward = np.subtract(target, position) / np.linalg.norm(np.subtract(target, position))
        side = np.cross(forward, (0, 0, 1)) if number != 8 else np.array([1.0, 0, 0])  # 8 looks straight down
        side /= np.linalg.norm(side)
        drop = rays @ np.stack([side, np.cross(forward, side), forward])[:, 2]
        depth = (TABLE_TOP - position[2]) / drop
        save(tmp_path / f"seen_valid/DepthImages/00001_{number}.png", np.round(1000 * depth).astype(np.uint16))
        save(tmp_path / f"seen_valid/RGBImages/00001_{number}.jpg", np.zeros((height, width, 3), np.uint8))
        save(tmp_path / f"seen_valid/SegmentationImages/00001_{number}.png", np.ones((height, width), np.uint8))
        rows[str(number)] = [{"obj_id": 1, "model_name": "mug"}]
    save_json(tmp_path / "seen_valid/objects.json", {"00001": rows})
    (scene,) = load_regrad(tmp_path)
    for number in range(9):
        points = view_cloud(scene.view(number), number).points
        assert np.abs(points[:, 2]).max() < 0.002
        middle = points[len(points) // 2 + width // 2, :2]
        position, target = map(np.array, POSES[number])
        share = (position[2] - TABLE_TOP) / (position[2] - target[2])
        assert np.allclose(middle, (position + share * (target - position))[:2], atol=0.02)


def test_lerf_phrases_that_overlap_keep_their_places(views, tmp_path):
    """The bear is where its nose is as well; boxes serve localisation; what no phrase is about is table or other."""
    write_lerf(tmp_path, views[0])
    (scene,) = load_lerf(tmp_path)
    asked = {question.phrase: question for question in scene.questions(0)}
    mask = scene.view(0).mask
    x0, y0, x1, y1 = box_of(views[0], RED)
    bear, nose = (np.isin(mask, asked[phrase].labels) for phrase in ("bear", "bear nose"))
    expected = np.zeros(mask.shape, bool)
    expected[y0 : y1 + 1, x0 : x1 + 1] = True
    assert np.array_equal(bear, expected)
    assert nose.any() and bear[nose].all() and nose.sum() < bear.sum()
    assert {scene.objects[label]["name"] for label in asked["bear"].labels} == {"bear", "bear, bear nose"}
    assert asked["bear nose"].boxes.tolist() == [[x0, y0, (x0 + x1) // 2, y1]]
    best = np.array([[x1, y1], [x0 + 1, y0 + 1]])
    assert localised(np.array([0.0, 1.0]), best, asked["bear nose"].boxes)
    assert not localised(np.array([1.0, 0.0]), best, asked["bear nose"].boxes)
    assert (mask[views[0].mask == BLUE] == 2).mean() > 0.8  # other
    assert np.isin(mask[(views[0].mask == 1)], (1, *range(3, 9))).mean() > 0.9


def test_lerf_without_depth_says_what_to_put_where(views, tmp_path):
    write_lerf_ovs(tmp_path, views[0])
    (tmp_path / "label/teatime/frame_00002_depth.npy").unlink()
    with pytest.raises(InputError, match=r"no depth, and frame_00002_depth.npy \(m\) .* render it"):
        load_lerf(tmp_path)[0].view(0)


def test_frames_with_poses_are_the_views_of_one_scene(views, tmp_path):
    """And agree in the world; without poses each is a scene of its own. A frame may have its own queries."""
    for name, view in zip("ab", views, strict=True):
        write_folder(tmp_path / "posed", view, name, posed=True)
        write_folder(tmp_path / "loose", view, name)
    (scene,) = load_folder(tmp_path / "posed")
    assert len(scene) == 2 and scene.objects[BLUE]["name"] == "box" and scene.objects[TIN]["name"] == "object"
    clouds = [view_cloud(view, v) for v, view in scene.views()]
    tops = [np.percentile(cloud.points[cloud.labels == RED], 99, axis=0) for cloud in clouds]
    assert np.allclose(tops[0], tops[1], atol=0.01)
    assert set(full_cloud(scene, voxel=0.004).labels) == {RED, BLUE, TIN}
    assert [(q.phrase, q.labels) for q in scene.questions(1)] == [("box", [RED, BLUE]), ("banana", [])]
    save_json(tmp_path / "loose/queries/b.json", {"class": {"can": [TIN]}})
    a, b = load_folder(tmp_path / "loose")
    assert (a.name, b.name) == ("a", "b")
    assert [q.phrase for q in a.questions(0)] == ["box", "banana"]
    assert [(q.phrase, q.family) for q in b.questions(0)] == [("can", "class")]


def test_files_beside_each_other_are_read_as_those_in_folders(views, tmp_path):
    write_folder(tmp_path / "folders", views[0])
    flat = tmp_path / "flat"
    for folder, ending in (("rgb", "color"), ("depth", "depth"), ("mask", "label")):
        save(flat / f"a_{ending}.png", np.array(Image.open(tmp_path / "folders" / folder / "a.png")))
    save_json(flat / "k.json", camera_of(views[0]))
    (one,), (other,) = load_folder(tmp_path / "folders"), load_folder(flat)
    for array, same in zip(vars(one.view(0)).values(), vars(other.view(0)).values(), strict=True):
        assert np.array_equal(array, same)


def test_objects_that_hardly_show_are_not_asked_for(views, tmp_path):
    hidden = views[0].mask.copy()
    hidden[(hidden == BLUE) & (np.cumsum(hidden == BLUE).reshape(hidden.shape) > 20)] = 0
    write_folder(tmp_path, View(views[0].rgb, views[0].depth, hidden, views[0].intrinsics, np.eye(4)))
    (scene,) = load_folder(tmp_path)
    assert scene.questions(0)[0].labels == [RED]


def test_mvtod_asks_in_the_words_of_its_catalogue_or_those_stored(tmp_path):
    """The recipe names the catalogue; where that is not on this machine the queries of scene.json are asked."""
    root = write_scenes(tmp_path / "scenes", 2, shape=SHAPE)
    save_json(root / "recipe.json", {"catalogue": str(tmp_path / "catalogue")})
    scene = load_mvtod(tmp_path, "scenes")[0]
    assert [(q.phrase, q.family, q.labels) for q in scene.questions(0)] == [
        ("a tin", "class", [TIN]),
        ("a box", "class", [RED, BLUE]),
    ]
    specs = [
        {"name": name, "category": "mug", "split": "train", "seed": 1, "attributes": {"color": color}}
        for name, color in (("red_box", "red"), ("blue_box", "blue"), ("tin", "red"))
    ]
    apart = {"name": "apart", "category": "orange", "split": "train", "seed": 2, "attributes": {"color": "orange"}}
    save_json(tmp_path / "catalogue2/catalogue.json", {"objects": [*specs, apart]})
    save_json(root / "recipe.json", {"catalogue": str(tmp_path / "catalogue2")})
    scene, other = load_mvtod(root)
    asked = scene.questions(1)
    assert asked == scene.questions(1) != other.questions(1)
    assert any(q.labels == [RED, TIN] for q in asked if q.family == "attribute")
    assert all(q.labels == [RED, BLUE, TIN] for q in asked if q.family == "class")
    assert not any(q.labels for q in asked if q.family in ("absent", "other"))
    with pytest.raises(InputError, match="no scenes there"):
        load_mvtod(tmp_path / "catalogue2")


def test_the_sweep_finds_the_scale_of_the_best_score():
    sweep = scale_sweep(lambda scale: -abs(scale - 1.2) if scale > 0.85 else float("nan"), OCID_VLG_SCALES)
    assert sweep.best == 1.2 and list(sweep.curve) == list(OCID_VLG_SCALES) and np.isnan(sweep.curve[0.8])
    with pytest.raises(ValueError, match="none of the 2 scales"):
        scale_sweep(lambda scale: float("nan"), (1.0, 2.0))


def test_scaled_points_stay_on_the_table():
    points = np.random.default_rng(0).uniform(0, 0.2, (50, 3)).astype(np.float32)
    larger = scaled(points, 1.5)
    assert larger.dtype == np.float32
    assert np.allclose(larger[:, 2], 1.5 * points[:, 2])
    assert np.allclose(larger[:, :2].mean(axis=0), points[:, :2].mean(axis=0), atol=1e-5)
    assert np.isclose(np.ptp(larger, axis=0), 1.5 * np.ptp(points, axis=0)).all()


def test_real_tabletops_stand_on_their_tables(shared_data):
    """OSD: labels are those of the index, objects stand above z = 0, and their lowest one on it."""
    scenes = load_osd(shared_data / "osd")
    test = load_osd(shared_data / "osd", "test")
    assert len(scenes) == len(list((shared_data / "osd").glob("*_label.png"))) and 0 < len(test) < len(scenes)
    for scene in scenes[::16]:
        view = scene.view(0)
        assert set(np.unique(view.mask[view.mask >= 2])) == set(scene.objects)
        cloud = view_cloud(view, 0)
        low = [np.percentile(cloud.points[cloud.labels == label, 2], 2) for label in scene.objects]
        assert -0.01 < min(low) < 0.025 and cloud.points[:, 2].min() > -0.02
        table = transform_points(view.world_from_camera, np.zeros((1, 3)))
        assert 0.3 < table[0, 2] < 1.5  # the camera's height over the table
