# SPDX-License-Identifier: Apache-2.0
"""The catalogue on disk: what is written is read, and what is wrong is named; collision shapes fit what is seen."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.spatial import ConvexHull

from training.objects.catalogue import Catalogue
from training.objects.decompose import fit, outside, sample_surface, winding
from training.objects.materials import HEAVIEST, LIGHTEST, mass_of, material_of
from training.objects.meshes import model_frame
from training.objects.procedural.collision import convex_pieces
from training.objects.procedural.kinds import KINDS
from training.objects.procedural.shapes import box, torus
from training.objects.spec import SPLITS, TRAIN, ObjectSpec
from training.runs.errors import InputError

PROCEDURAL = Catalogue.procedural()


def first(category: str) -> ObjectSpec:
    return next(spec for spec in PROCEDURAL.specs if spec.category == category)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A catalogue of one object with a mesh and two procedural ones."""
    corner = box(0.1, 0.05, 0.2)
    np.savez(tmp_path / "box.npz", v=corner.vertices, uv=corner.uv, f=corner.faces)
    mesh = ObjectSpec("my box", "box", TRAIN, {"color": "red", "material": "cardboard"}, mesh="box.npz", mass=0.3)
    Catalogue((mesh, *PROCEDURAL.specs[:2]), tmp_path).save(tmp_path)
    return tmp_path


def spoil(folder: Path, **changes: object) -> Path:
    """Changes the first object of the catalogue."""
    file = folder / "catalogue.json"
    content = json.loads(file.read_text())
    content["objects"][0] |= changes
    file.write_text(json.dumps(content))
    return file


def test_what_is_saved_is_loaded(tmp_path):
    rich = replace(PROCEDURAL.specs[0], prompts={"class": ("my mug",)}, mass=0.25)
    Catalogue((rich, *PROCEDURAL.specs[1:5])).save(tmp_path / "new")
    loaded = Catalogue.load(tmp_path / "new")
    assert loaded.specs == (rich, *PROCEDURAL.specs[1:5])
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["catalogue.json"]


def test_a_mesh_and_a_procedural_object_live_in_one_catalogue(folder):
    catalogue = Catalogue.load(folder / "catalogue.json")
    mesh, made = catalogue.build(catalogue.specs[0]), catalogue.build(catalogue.specs[1])
    assert mesh.mass == 0.3 and len(mesh.hull_parts) == 1 and mesh.phrases["class"][0] == "box"
    np.testing.assert_allclose(np.ptp(mesh.vertices, axis=0), (0.1, 0.05, 0.2), atol=1e-6)
    assert np.array_equal(made.vertices, PROCEDURAL.build(catalogue.specs[1]).vertices)


def test_saved_beside_its_meshes_a_catalogue_finds_them(folder):
    beside = folder.parent / f"{folder.name}_annotated"
    Catalogue.load(folder).save(beside)
    assert Catalogue.load(beside).build(Catalogue.load(beside).specs[0]).mass == 0.3
    with pytest.raises(InputError, match="beside"):
        Catalogue.load(folder).save(folder.parent / "a/b/c")


@pytest.mark.parametrize(
    "changes, named",
    [
        ({"mesh": "../../etc/passwd"}, "inside or beside"),
        ({"mesh": "/etc/passwd"}, "inside or beside"),
        ({"mesh": "lost.npz"}, "no such file"),
        ({"texture": "lost.png"}, "no such file"),
        ({"split": "test"}, "split 'test'"),
        ({"category": " "}, "category is missing"),
        ({"scale": 0}, "scale 0"),
        ({"mass": "heavy"}, "mass 'heavy'"),
        ({"up": [0, 0, 0]}, "up"),
        ({"attributes": {"color": 3}}, "attributes"),
        ({"prompts": {"colour": ["x"]}}, "prompts"),
        ({"colour": "red"}, "unknown field colour"),
        ({"name": "../x"}, "name may not"),
    ],
)
def test_a_wrong_entry_is_named(folder, changes, named):
    file = spoil(folder, **changes)
    with pytest.raises(InputError, match=named) as error:
        Catalogue.load(folder)
    assert str(file) in str(error.value) and str(changes.get("name", "my box")) in str(error.value)


@pytest.mark.parametrize("content", ["", "[]", "{", '{"objects": []}', '{"objects": [3]}'])
def test_a_broken_catalogue_is_named(tmp_path, content):
    (tmp_path / "catalogue.json").write_text(content)
    with pytest.raises(InputError, match=r"catalogue\.json"):
        Catalogue.load(tmp_path)


def test_two_objects_of_one_name_are_refused(folder):
    spoil(folder, name=PROCEDURAL.specs[0].name)
    with pytest.raises(InputError, match="unique"):
        Catalogue.load(folder)


def test_an_empty_split_is_named(folder):
    with pytest.raises(InputError, match="no object of split unseen_category"):
        Catalogue.load(folder).of_split(SPLITS[2])


@pytest.mark.parametrize("category", KINDS)
def test_parts_cover_what_is_seen(category):
    """What sticks out of the collision shapes would sink into other things."""
    model = PROCEDURAL.build(first(category))
    hulls = [ConvexHull(part.astype(float)) for part in model.hull_parts]
    points, _ = sample_surface(model.vertices[model.faces], 800, np.random.default_rng(0))
    assert outside(points, hulls).max() < 5e-4
    assert LIGHTEST <= model.mass <= HEAVIEST
    assert model.density * sum(hull.volume for hull in hulls) == pytest.approx(model.mass, rel=1e-3)


@pytest.mark.parametrize("category", ["mug", "bowl", "jug", "tape roll", "scissors", "hammer", "wrench", "whisk"])
def test_hollow_and_forked_things_stay_open(category):
    """Their convex hull would fill several times their volume."""
    model = PROCEDURAL.build(first(category))
    filled = sum(ConvexHull(part).volume for part in model.hull_parts)
    assert filled < 0.65 * ConvexHull(model.vertices).volume


def test_the_fit_of_parts_to_a_mug():
    model = PROCEDURAL.build(first("mug"))
    good = fit(model.vertices, model.faces, model.hull_parts, samples=400)
    assert good.uncovered < 5e-4 and good.air < 0.003 and good.iou > 0.7
    closed = fit(model.vertices, model.faces, [model.vertices], samples=400)
    assert closed.uncovered < 5e-4 and closed.air > 0.02 and closed.iou < 0.4
    assert fit(model.vertices, model.faces, model.hull_parts[:3], samples=400).uncovered > 0.02


def test_the_hole_of_a_ring_is_outside():
    ring = torus(0.03, 0.008)
    assert winding(ring.vertices[ring.faces], np.zeros((1, 3)))[0] == pytest.approx(0, abs=1e-6)
    assert winding(ring.vertices[ring.faces], np.array([[0.03, 0.0, 0.0]]))[0] == pytest.approx(1, abs=1e-2)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0.3, 1.0), min_size=5, max_size=12))
def test_pieces_of_a_star_are_convex_and_fill_it(radii):
    angle = np.arange(len(radii)) * 2 * np.pi / len(radii)
    star = np.array(radii)[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    x, y = star.T
    area = abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2
    pieces = [ConvexHull(star[piece]).volume for piece in convex_pieces(star, 1e-9)]
    assert sum(pieces) == pytest.approx(area, rel=1e-6)


@example((0.0, 0.03125, -1.0))
@given(st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda up: np.linalg.norm(up) > 0.1))
def test_up_points_up(up):
    points = np.random.default_rng(0).normal(size=(20, 3))
    pose = model_frame(points, ObjectSpec("x", "x", TRAIN, {}, up=up))
    np.testing.assert_allclose(pose[:3, :3] @ up / np.linalg.norm(up), (0, 0, 1), atol=1e-5)
    np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-9)
    assert np.linalg.det(pose[:3, :3]) > 0


def test_material_in_many_words():
    assert material_of({"material": "Stainless steel metal"}) == material_of({"material": "metal"})
    assert material_of({}) == material_of({"material": "unobtainium"}) == material_of({"material": "plastic"})


def test_weight_of_what_is_known_by_title_category_or_material():
    litre = {"volume": 1e-3}
    assert mass_of("tool", {"title": "hammer"}, **litre) == mass_of("hammer", {"material": "wood"}, **litre)
    assert (
        mass_of("box", {}, **litre) < mass_of("gizmo", {}, **litre) < mass_of("gizmo", {"material": "metal"}, **litre)
    )
