# SPDX-License-Identifier: Apache-2.0
"""Catalogues of meshes: the layouts of data sets, with their metadata; broken objects are named and left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training.objects.catalogue import Catalogue
from training.objects.collect import collect, split
from training.objects.layouts import detect, plain, read_table
from training.objects.merge import merge
from training.objects.meshes import read_mesh
from training.objects.procedural.shapes import Part, box, cylinder
from training.objects.spec import ObjectSpec
from training.runs.errors import InputError

REAL = Path(__file__).parents[3] / "shared/data/meshes"
BRICK, CAN = box(0.06, 0.04, 0.2), cylinder(0.03, 0.0, 0.1, n=12)


def write_obj(path: Path, part: Part, texture: str | None = None, scale: float = 1.0, up: str = "z") -> None:
    """An OBJ, with an MTL where it has a texture: a red image, unless it is there already."""
    path.parent.mkdir(parents=True, exist_ok=True)
    vertices = part.vertices * scale
    if up == "y":
        vertices = vertices[:, (1, 2, 0)]
    lines = [] if texture is None else [f"mtllib {path.stem}.mtl", "usemtl skin"]
    lines += [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in vertices] + [f"vt {u:.4f} {v:.4f}" for u, v in part.uv]
    lines += ["f " + " ".join(f"{k + 1}/{k + 1}" for k in face) for face in part.faces]
    path.write_text("\n".join(lines) + "\n")
    if texture is not None:
        path.with_suffix(".mtl").write_text(f"newmtl skin\nmap_Kd {texture}\n")
        Image.new("RGB", (8, 8), (200, 30, 30)).save(path.parent / texture)


def ycb(source: Path) -> None:
    write_obj(source / "003_cracker_box/google_16k/textured.obj", BRICK, "texture_map.png")
    write_obj(source / "065-a_cups/poisson/textured.obj", CAN, "texture_map.png")


def gso(source: Path) -> None:
    folder = source / "Brick_Toy_Red"
    write_obj(folder / "meshes/model.obj", BRICK, "texture.png")
    (folder / "materials/textures").mkdir(parents=True)
    (folder / "meshes/texture.png").rename(folder / "materials/textures/texture.png")  # where Fuel has it
    (folder / "model.config").write_text("<model>\n  <name>Brick Toy, Red</name>\n</model>\n")
    (folder / "metadata.pbtxt").write_text('name: "x"\ncategories {\n  first: "Toys"\n  second: "Bricks"\n}\n')


def shapenet(source: Path) -> None:
    write_obj(source / "models/abc1.obj", CAN, "abc1.png", scale=40, up="y")
    write_obj(source / "models/abc2.obj", BRICK, "abc2.png", scale=7)
    (source / "metadata.csv").write_text(
        "fullId,category,up,front,unit,aligned.dims,weight,name\n"
        'wss.abc1,"FoodCan,Can,_Attributes",0\\,1\\,0,0\\,0\\,1,0.025,6\\,6\\,10,3.0,Soup Can\n'
        "wss.abc2,Brick,0\\,0\\,1,0\\,-1\\,0,,6\\,4\\,20,,\n"
        "wss.elsewhere,Mug,,,0.01,,,\n"
    )


def table(source: Path) -> None:
    (source / "shop/brick").mkdir(parents=True)
    np.savez(source / "shop/brick/mesh.npz", v=BRICK.vertices, uv=BRICK.uv, f=BRICK.faces)
    Image.new("RGB", (8, 8), (200, 30, 30)).save(source / "shop/brick/texture.jpg")
    (source / "objects.csv").write_text("path,name,category\nshop/brick,red brick,block\n")


def folder(source: Path) -> None:
    write_obj(source / "can/first.obj", CAN, "first.png")
    write_obj(source / "can/second/any.obj", CAN, "any.png")
    write_obj(source / "tall_brick_2.obj", BRICK, "brick.png")


SHARES = {"unseen_instances": 0.0, "unseen_categories": 0.0}


@pytest.mark.parametrize(
    "make, expected",
    [
        (ycb, {"003_cracker_box": "cracker box", "065-a_cups": "cups"}),
        (gso, {"Brick_Toy_Red": "toys"}),
        (shapenet, {"FoodCan_abc1": "food can", "Brick_abc2": "brick"}),
        (table, {"shop_brick": "block"}),
        (folder, {"can_first": "can", "can_second": "can", "tall_brick_2": "tall brick"}),
    ],
)
def test_layouts_are_detected_and_become_catalogues(tmp_path, make, expected):
    source = tmp_path / "data"
    source.mkdir()
    make(source)
    assert detect(source) == ("folder" if make is folder else make.__name__)
    collect(source, tmp_path / "out", **SHARES)
    catalogue = Catalogue.load(tmp_path / "out")
    assert {spec.name: spec.category for spec in catalogue.specs} == expected
    for spec in catalogue.specs:
        model = catalogue.build(spec)
        tall = (
            (0.06, 0.06, 0.1)
            if any(word in spec.name.lower() for word in ("can_", "cups", "can"))
            else (0.06, 0.04, 0.2)
        )
        np.testing.assert_allclose(np.sort(np.ptp(model.vertices, axis=0)), np.sort(tall), atol=1e-3)
        assert np.ptp(model.vertices, axis=0).argmax() == 2  # upright
        assert model.texture[0, 0, 0] > 150 > 60 > model.texture[0, 0, 1]  # red
        assert model.category in model.phrases["class"] and len(model.hull_parts) == 1


def test_only_what_is_asked_for_is_collected(tmp_path, capsys):
    """By category, with * for anything, and by the longest side."""
    folder(tmp_path / "data")
    wanted = {
        "a": ({"only": ("can",)}, {"can_first", "can_second"}),
        "b": ({"without": ("*brick*",)}, {"can_first", "can_second"}),
        "c": ({"least": 0.15}, {"tall_brick_2"}),
        "d": ({"most": 0.15, "without": ("chair",)}, {"can_first", "can_second"}),
    }
    for name, (asked, expected) in wanted.items():
        found = collect(tmp_path / "data", tmp_path / name, **asked, **SHARES)
        assert {spec.name for spec in found.specs} == expected
        assert "not asked for" in capsys.readouterr().out
    for asked, said in (
        ({"only": ("chair",)}, "there are can, tall brick"),
        ({"least": 1.0}, "3 of another size"),
        ({"least": 0.3, "most": 0.1}, "the smaller first"),
    ):
        with pytest.raises(InputError, match=said):
            collect(tmp_path / "data", tmp_path / "none", **asked, **SHARES)


def test_catalogues_are_merged_with_all_their_files(tmp_path):
    for name in ("mine", "theirs"):
        (tmp_path / name).mkdir()
        folder(tmp_path / name)
        collect(tmp_path / name, tmp_path / f"{name}_objects", **SHARES)
    both = (str(tmp_path / "mine_objects"), str(tmp_path / "theirs_objects"))
    merge((*both, "procedural"), tmp_path / "out")
    merged, procedural = Catalogue.load(tmp_path / "out"), Catalogue.procedural()
    assert len(merged.specs) == 6 + len(procedural.specs)
    first, second = merged.by_name["can_first"], merged.by_name["theirs_objects_can_first"]
    assert (tmp_path / "out" / second.mesh).samefile(tmp_path / "theirs_objects/objects/can_first/mesh.npz")
    np.testing.assert_array_equal(merged.build(first).vertices, merged.build(second).vertices)
    assert (tmp_path / "out/hulls/theirs_objects_can_first.npz").exists()
    a_procedural = procedural.specs[0]
    np.testing.assert_array_equal(
        merged.build(merged.by_name[a_procedural.name]).vertices, procedural.build(a_procedural).vertices
    )
    drawn = merge(both, tmp_path / "drawn", draw_splits=True, unseen_instances=0.5, unseen_categories=0.0)
    assert {spec.split for spec in drawn.specs} == {"train", "unseen_instance"}
    with pytest.raises(InputError, match="not empty"):
        merge(both, tmp_path / "drawn")
    with pytest.raises(InputError, match="at least two"):
        merge(both[:1], tmp_path / "new")


def test_metadata_reaches_the_model(tmp_path):
    source = tmp_path / "data"
    shapenet(source)
    grasps = tmp_path / "grasps"
    grasps.mkdir()
    (grasps / "Brick_abc2_0.0285.h5").write_bytes(b"hdf")
    catalogue = collect(source, tmp_path / "out", grasps=grasps, **SHARES)
    can, brick = (catalogue.build(spec) for spec in catalogue.specs)
    assert can.mass == pytest.approx(3.0 / 9.81) and can.attributes == {"class": "can", "title": "soup can"}
    np.testing.assert_allclose(np.ptp(brick.vertices, axis=0), np.array((0.06, 0.04, 0.2)) * 7 * 0.0285, rtol=1e-3)
    spec = catalogue.specs[1]
    assert (tmp_path / "out" / spec.grasps).read_bytes() == b"hdf" and spec.scale == 0.0285


def test_grasps_move_with_the_mesh(tmp_path):
    """model_from_file takes the mesh file's points, in metres, to the model's."""
    source = tmp_path / "data"
    shapenet(source)
    catalogue = collect(source, tmp_path / "out", **SHARES)
    spec = catalogue.specs[0]
    mesh, model = read_mesh(tmp_path / "out" / spec.mesh), catalogue.build(spec)
    moved = spec.scale * mesh.vertices @ model.model_from_file[:3, :3].T + model.model_from_file[:3, 3]
    np.testing.assert_allclose(moved, model.vertices, atol=1e-5)


def test_glb_with_its_own_texture_and_several_parts(tmp_path):
    import trimesh

    image = Image.new("RGB", (8, 8), (200, 30, 30))
    scene = trimesh.Scene()
    for part, shift in ((BRICK, 0.0), (CAN, 0.05)):
        visual = trimesh.visual.TextureVisuals(part.uv, image=image)
        corners = part.moved(shift).vertices[:, (1, 2, 0)]  # y up
        scene.add_geometry(trimesh.Trimesh(corners, part.faces, visual=visual, process=False))
    (tmp_path / "data/toy").mkdir(parents=True)
    scene.export(tmp_path / "data/toy/both.glb")
    catalogue = collect(tmp_path / "data", tmp_path / "out", **SHARES)
    model = catalogue.build(catalogue.specs[0])
    assert len(model.faces) == len(BRICK.faces) + len(CAN.faces) and np.ptp(model.vertices, axis=0).argmax() == 2
    assert (np.abs(model.texture.reshape(-1, 3).astype(int) - (200, 30, 30)).max(1) < 9).mean() > 0.5


def test_an_open_surface_is_fine(tmp_path):
    tube = Part(BRICK.vertices, BRICK.faces[:-4], BRICK.uv, 0)  # neither lid nor floor
    write_obj(tmp_path / "data/tube/open.obj", tube, "t.png")
    catalogue = collect(tmp_path / "data", tmp_path / "out", **SHARES)
    assert catalogue.build(catalogue.specs[0]).mass > 0


def broken_texture(path: Path) -> None:
    write_obj(path, BRICK, "x.png")
    (path.parent / "x.png").unlink()


def nan(path: Path) -> None:
    write_obj(path, Part(BRICK.vertices * np.nan, BRICK.faces, BRICK.uv, 0))


def flat(path: Path) -> None:
    write_obj(path, Part(BRICK.vertices * (1, 1, 0), BRICK.faces, BRICK.uv, 0))


def millimetres(path: Path) -> None:
    write_obj(path, BRICK, scale=1000)


def faceless(path: Path) -> None:
    write_obj(path, Part(BRICK.vertices, BRICK.faces[:0], BRICK.uv, 0))


def pickled(path: Path) -> None:
    np.savez(path.with_suffix(".npz"), v=np.array([{"a": 1}], dtype=object), f=BRICK.faces, uv=BRICK.uv)


def garbage(path: Path) -> None:
    path.with_suffix(".glb").write_bytes(b"glTF rubbish")


@pytest.mark.parametrize(
    "spoil, said",
    [
        (broken_texture, "x.png"),
        (nan, "not finite"),
        (flat, "no volume"),
        (millimetres, "scale 0.001"),
        (faceless, "object.obj"),
        (pickled, "npz"),
        (garbage, "cannot be read"),
        (lambda path: None, "without any mesh"),
    ],
)
def test_a_broken_object_is_named_and_left_out(tmp_path, capsys, spoil, said):
    source = tmp_path / "data"
    write_obj(source / "good/one.obj", BRICK, "one.png")
    (source / "bad").mkdir()
    spoil(source / "bad/object.obj")
    catalogue = collect(source, tmp_path / "out", **SHARES)
    assert [spec.name for spec in catalogue.specs] == ["good_one"] and len(Catalogue.load(tmp_path / "out").specs) == 1
    report = capsys.readouterr().out
    assert f"left out: {source / 'bad'}" in report and said in report
    assert not list((tmp_path / "out/objects").glob("*bad*"))
    with pytest.raises(InputError, match="bad"):
        collect(source, tmp_path / "strict", strict=True, **SHARES)


def test_nothing_usable_and_no_folder_are_refused(tmp_path):
    (tmp_path / "data").mkdir()
    with pytest.raises(InputError, match="no usable object"):
        collect(tmp_path / "data", tmp_path / "out")
    with pytest.raises(InputError, match="no such folder"):
        collect(tmp_path / "nowhere", tmp_path / "out")


def test_collision_shapes_are_kept_and_made_anew_when_broken(tmp_path, monkeypatch):
    write_obj(tmp_path / "data/good/one.obj", BRICK, "one.png")
    catalogue = collect(tmp_path / "data", tmp_path / "out", **SHARES)
    kept = tmp_path / "out/hulls/good_one.npz"
    kept.write_bytes(kept.read_bytes()[:50])
    assert len(catalogue.build(catalogue.specs[0]).hull_parts) == 1
    monkeypatch.setattr("training.objects.meshes.decompose", lambda *_: pytest.fail("decomposed again"))
    assert len(catalogue.build(catalogue.specs[0]).hull_parts) == 1


def test_splits_by_category_and_instance():
    specs = [ObjectSpec(f"{c}{k}", f"category {c}", "train", {}) for c in "abcdefgh" for k in range(1 + 5 * (c > "a"))]
    done = split(specs, 0.2, 0.25, seed=3)
    assert done == split(specs, 0.2, 0.25, seed=3) != split(specs, 0.2, 0.25, seed=4)
    unseen = {spec.category for spec in done if spec.split == "unseen_category"}
    assert len(unseen) == 2 and all(spec.split == "unseen_category" for spec in done if spec.category in unseen)
    for category in {spec.category for spec in done} - unseen:
        counts = [spec.split for spec in done if spec.category == category]
        assert counts.count("unseen_instance") == (1 if len(counts) > 1 else 0)
    with pytest.raises(InputError, match="unseen_categories"):
        split(specs, 0.2, 1.0, 0)


def test_names_become_plain_words():
    assert plain("FoodItem") == "food item" and plain("cracker_box-2") == "cracker box 2"


@pytest.mark.skipif(not REAL.is_dir(), reason="real meshes are not beside the checkout")
def test_the_real_meshes_are_all_readable():
    entries = list(read_table(REAL))
    assert len(entries) == 107 and len({entry.name for entry in entries}) == 107
    for entry in entries[::6]:
        mesh = read_mesh(entry.mesh, entry.texture)
        assert 12 <= len(mesh.faces) <= 5000 and mesh.texture.std() > 1
