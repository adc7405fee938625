# SPDX-License-Identifier: Apache-2.0
"""Scenes on disk: folders and shards read the same; what is broken is named, and nothing else is lost."""

from __future__ import annotations

import errno
import io
import json
import os
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest

from training.runs.errors import InputError
from training.scenes.description import FIRST_OBJECT_ID
from training.scenes.export.export import export
from training.scenes.scene import Scene, View, run_lengths, write_view
from training.scenes.sensor import KINECT
from training.scenes.shards import load_scenes, pack

HEIGHT, WIDTH = 48, 64


def make_view(rng: np.random.Generator) -> View:
    mask = np.ones((HEIGHT, WIDTH), np.uint8)
    row, column = rng.integers(5, 25, 2)
    mask[row : row + 12, column : column + 20] = FIRST_OBJECT_ID
    depth = np.where(mask == FIRST_OBJECT_ID, 0.7, 0.9) + rng.normal(0, 0.001, mask.shape)
    rgb = np.repeat((60 * mask)[..., None], 3, axis=2)
    return View(rgb, depth, mask, np.array([[60.0, 0, 31.5], [0, 60.0, 23.5], [0, 0, 1]]), np.eye(4))


def write_scenes(root: Path, count: int) -> None:
    """Scenes of three views, without a renderer; those that are there stay."""
    for k in range(count):
        folder, rng = root / f"scene_{k:05d}", np.random.default_rng(k)
        if folder.exists():
            continue
        folder.mkdir(parents=True)
        objects = [{"id": FIRST_OBJECT_ID, "name": f"mug_{k}", "category": "mug"}]
        coco: dict = {"images": [], "annotations": [], "objects": objects}
        for v in range(3):
            write_view(folder, v, make_view(rng), coco, {FIRST_OBJECT_ID: 1.0})
        (folder / "scene.json").write_text(json.dumps(coco))


@pytest.fixture
def scenes(tmp_path) -> Path:
    write_scenes(tmp_path / "scenes", 5)
    return tmp_path / "scenes"


@pytest.fixture
def shards(scenes, tmp_path) -> Path:
    pack(scenes, tmp_path / "shards", per_shard=2)
    return tmp_path / "shards"


def same(a: Scene, b: Scene) -> bool:
    views = ((a.view(v), b.view(v)) for v in range(len(a)))
    return a.coco == b.coco and all(
        np.array_equal(getattr(x, name), getattr(y, name)) for x, y in views for name in ("rgb", "depth", "mask")
    )


def test_a_view_comes_back(tmp_path):
    view, coco = make_view(np.random.default_rng(1)), {"images": [], "annotations": [], "objects": []}
    (tmp_path / "scene_00000").mkdir()
    view.depth[0, 0], view.depth[0, 1] = 0, 7.0  # nothing; too far to keep
    write_view(tmp_path / "scene_00000", 0, view, coco, {FIRST_OBJECT_ID: 0.8126})
    (tmp_path / "scene_00000/scene.json").write_text(json.dumps(coco))
    (scene,) = load_scenes(tmp_path)
    back = scene.view(0)
    assert np.array_equal(back.mask, view.mask) and np.abs(back.rgb.astype(int) - view.rgb).mean() < 3
    assert not back.depth[0, :2].any() and np.abs(back.depth - view.depth)[1:].max() < 0.6e-4
    assert scene.coco["images"][0]["visible_fraction"] == {"2": 0.813}
    (note,) = scene.coco["annotations"]
    rows, columns = np.nonzero(view.mask == FIRST_OBJECT_ID)
    assert note["bbox"] == [columns.min(), rows.min(), 20, 12] and note["area"] == 240


@pytest.mark.parametrize(
    "mask",
    [
        np.zeros((3, 4), bool),
        np.ones((3, 4), bool),
        np.eye(4, 5, dtype=bool),
        np.random.default_rng(0).random((7, 9)) > 0.5,
    ],
)
def test_run_lengths_are_those_of_coco(mask):
    counts = run_lengths(mask)["counts"]
    assert np.array_equal(np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(mask.shape, order="F"), mask)
    coder = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed")
    packed = coder.frPyObjects(run_lengths(mask), *mask.shape)
    assert np.array_equal(coder.decode(packed).astype(bool), mask)


def test_shards_hold_the_same_scenes(scenes, shards):
    folders, packed = load_scenes(scenes), load_scenes(shards)
    assert [scene.name for scene in packed] == [scene.name for scene in folders] and len(packed) == 5
    assert all(same(a, b) for a, b in zip(folders, packed, strict=True))


def test_shards_are_webdatasets(shards):
    """Members of a sample stand side by side and share a name up to the first dot."""
    with tarfile.open(shards / "shard_00000.tar") as tar:
        names = tar.getnames()
        sample = [name for name in names if name.startswith("scene_00000/view_01.")]
        at = names.index(sample[0])
        assert names[at : at + 4] == sample and len(sample) == 4
        info = json.load(tar.extractfile("scene_00000/view_01.json"))
    assert np.array(info["K"]).shape == (3, 3) and np.array(info["world_from_camera"]).shape == (4, 4)
    webdataset = pytest.importorskip("webdataset", reason="webdataset is not installed")
    samples = list(webdataset.WebDataset(str(shards / "shard_00000.tar"), shardshuffle=False).decode("rgb8"))
    views = [sample for sample in samples if "rgb.jpg" in sample]
    assert len(views) == 6 and views[0]["rgb.jpg"].shape == (HEIGHT, WIDTH, 3)


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_packing_resumes_and_gives_the_same_bytes(scenes, shards):
    before = files_of(shards)
    (shards / "shard_00001.tar").unlink()  # killed before it was written
    (shards / "shard_00002.json").unlink()  # killed between the tar and its index
    damaged = bytearray(before["shard_00000.tar"])
    damaged[1000] ^= 1
    (shards / "shard_00000.tar").write_bytes(damaged)
    pack(scenes, shards, per_shard=2)
    assert files_of(shards) == before
    with pytest.raises(InputError, match=r"shard_00000.tar holds other scenes"):
        pack(scenes, shards, per_shard=1)


def test_the_last_shard_grows_and_keeps_all_files(scenes, shards):
    write_scenes(scenes, 6)  # one more than there were
    (scenes / "scene_00005/grasps.json").write_text("[1]")
    kept = (shards / "shard_00001.tar").stat().st_mtime_ns
    pack(scenes, shards, per_shard=2)
    assert len(load_scenes(shards)) == 6 and (shards / "shard_00001.tar").stat().st_mtime_ns == kept
    assert load_scenes(shards)[5].read("grasps.json") == b"[1]"


def test_shards_packed_from_shards_are_the_same(shards, tmp_path):
    pack(shards, tmp_path / "again", per_shard=2)
    assert files_of(tmp_path / "again") == files_of(shards)


@pytest.mark.parametrize("with_index", [True, False])
@pytest.mark.parametrize("keep", [0.99, 0.6, 0.3])
def test_a_shard_cut_short_is_named_and_loses_only_what_was_cut(scenes, tmp_path, keep, with_index):
    pack(scenes, tmp_path / "one", per_shard=5)
    path = tmp_path / "one/shard_00000.tar"
    data = path.read_bytes().rstrip(b"\0")
    path.write_bytes(data[: int(keep * len(data))])
    if not with_index:
        path.with_suffix(".json").unlink()
    with pytest.raises(InputError, match=r"shard_00000.tar: it is cut short, \d scenes before that are whole"):
        load_scenes(tmp_path / "one")
    with pytest.warns(UserWarning, match=r"shard_00000.tar: it is cut short"):
        left, folders = load_scenes(tmp_path / "one", skip_broken=True), load_scenes(scenes)
    assert len(left) == int(5 * keep) and all(same(a, b) for a, b in zip(folders[: len(left)], left, strict=True))


@pytest.mark.parametrize("index", ["", "[]", '{"bytes": 1}', '{"bytes": 1e9, "members": 3}'])
def test_a_foreign_index_is_not_believed(shards, index):
    before = load_scenes(shards)
    (shards / "shard_00000.json").write_text(index)
    found = load_scenes(shards)
    assert len(found) == 5 and all(same(a, b) for a, b in zip(before, found, strict=True))


def test_a_full_disk_while_packing_leaves_whole_shards(scenes, shards, monkeypatch):
    (shards / "shard_00001.tar").unlink()
    before, real = files_of(shards), tarfile.TarFile.addfile

    def full(self, member, data):
        if "scene_00003" in member.name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(self, member, data)

    monkeypatch.setattr(tarfile.TarFile, "addfile", full)
    with pytest.raises(InputError, match=r"shard_00001.tar cannot be written: the disk is full"):
        pack(scenes, shards, per_shard=2)
    assert files_of(shards) == before


def test_a_scene_that_lacks_an_image_is_not_packed(scenes, tmp_path):
    (scenes / "scene_00002/view_00.mask.png").unlink()
    with pytest.raises(InputError, match=r"scene_00002/view_00.mask.png is missing"):
        pack(scenes, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.warns(UserWarning, match=r"scene_00002/view_00.mask.png is missing"):
        pack(scenes, tmp_path / "out", skip_broken=True)
    assert [scene.name[-1] for scene in load_scenes(tmp_path / "out")] == ["0", "1", "3", "4"]


def test_what_is_no_shard_is_named_then_refused_or_left_out(shards):
    (shards / "shard_00009.tar").write_bytes(b"these are no scenes" * 100)
    with pytest.raises(InputError, match=r"shard_00009.tar is not a tar file"):
        load_scenes(shards)
    with pytest.warns(UserWarning, match=r"left out: .*shard_00009.tar"):
        assert len(load_scenes(shards, skip_broken=True)) == 5


def test_broken_tables_and_images_are_named(scenes):
    (scenes / "scene_00001/scene.json").write_text('{"images": [')
    (scenes / "scene_00002/view_01.depth.png").write_bytes(b"\x89PNG broken")
    (scenes / "scene_00003/view_00.rgb.jpg").unlink()
    found = load_scenes(scenes)
    with pytest.raises(InputError, match=r"scene_00001/scene.json cannot be read"):
        found[1].objects  # noqa: B018
    with pytest.warns(UserWarning, match="scene_00001/scene.json"):
        assert [scene.name[-1] for scene in load_scenes(scenes, skip_broken=True)] == ["0", "2", "3", "4"]
    for scene, v, file in ((found[2], 1, "view_01.depth.png"), (found[3], 0, "view_00.rgb.jpg")):
        with pytest.raises(InputError, match=f"{scene.name}/{file} cannot be read"):
            scene.view(v)
    assert found[2].view(0).mask.any()
    with pytest.warns(UserWarning, match=r"left out: .*view_01.depth.png"):
        assert [v for v, _ in found[2].views()] == [0, 2]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c["images"][0].update(file_name="../../etc/passwd"), "expected the name of a file"),
        (lambda c: c["images"][0].pop("K"), r"image 0 in scene\.json is not whole \('K'\)"),
        (lambda c: c["images"][0].update(width=65), "shapes of colour"),
        (lambda c: c["images"][0].update(mask_file=c["images"][0]["file_name"]), "shapes of colour"),
        (lambda c: c.update(objects=[{"id": 2}]), "objects: expected a list of objects with id, name, category"),
        (lambda c: c.pop("annotations"), "annotations: expected a list"),
    ],
)
def test_foreign_tables_are_refused(scenes, change, words):
    file = scenes / "scene_00000/scene.json"
    coco = json.loads(file.read_text())
    change(coco)
    file.write_text(json.dumps(coco))
    with pytest.raises(InputError, match=words):
        load_scenes(scenes)[0].view(0)


def test_half_scenes_and_no_scenes(tmp_path):
    (tmp_path / "scene_00000.part").mkdir()
    (tmp_path / "scene_00000.part/scene.json").write_text("{}")
    with pytest.raises(InputError, match="no scenes there; make some with"):
        load_scenes(tmp_path)


def test_a_sensor_sees_the_same_each_time_but_not_in_each_view(scenes):
    scene, other = load_scenes(scenes)[:2]
    first = scene.view(0, KINECT).depth
    assert np.array_equal(first, scene.view(0, KINECT).depth)
    assert not np.array_equal(first - scene.view(0).depth, scene.view(1, KINECT).depth - scene.view(1).depth)
    assert not np.array_equal(first, other.view(0, KINECT).depth)
    assert (first == 0).mean() > (scene.view(0).depth == 0).mean()


def test_scenes_travel_to_other_processes(shards):
    """As PyTorch's workers take them."""
    scene = load_scenes(shards)[3]
    assert same(pickle.loads(pickle.dumps(scene)), scene)


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


@pytest.mark.parametrize("name", ["../../escaped", "/tmp/escaped", "a/../../escaped", "..", "a\\..\\b"])
@pytest.mark.parametrize("indexed", [False, True])
def test_names_in_a_shard_lead_nowhere(scenes, tmp_path, name, indexed):
    folder, shard = scenes / "scene_00000", tmp_path / "in" / "shard_00000.tar"
    shard.parent.mkdir()
    with tarfile.open(shard, "w") as tar:
        for file in sorted(folder.iterdir(), key=lambda file: file.name == "scene.json"):
            _add(tar, f"{name}/{file.name}", file.read_bytes())
    if indexed:
        with tarfile.open(shard) as tar:
            members = {member.name: (member.offset_data, member.size) for member in tar}
        shard.with_suffix(".json").write_text(json.dumps({"bytes": shard.stat().st_size, "members": members}))
    before = {*tmp_path.rglob("*")}
    with pytest.raises(InputError, match="names below its own folder"):
        export(shard.parent, tmp_path / "out" / "coco", "coco")
    assert {*tmp_path.rglob("*")} - before <= {tmp_path / "out"}
