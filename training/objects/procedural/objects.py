# SPDX-License-Identifier: Apache-2.0
"""The procedural household objects: cheap specs with attributes and splits, and `build`, which makes the mesh.

specs = catalogue(seed=0)
model = build(specs[0])          # mesh, texture, physics, phrases
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from training.objects.materials import mass_of, material_of
from training.objects.procedural.collision import convex_parts
from training.objects.procedural.kinds import ANY, HELDOUT_CATEGORIES, KINDS, NATURAL, Kind
from training.objects.procedural.shapes import centre, join
from training.objects.procedural.textures import Canvas
from training.objects.spec import TRAIN, UNSEEN_CATEGORY, UNSEEN_INSTANCE, ObjectModel, ObjectSpec
from training.objects.words.phrases import describe


def catalogue(
    seed: int = 0, per_category: int = 15, unseen_instances: int = 3, per_heldout: int = 6, rounds: int = 3
) -> list[ObjectSpec]:
    """Specs of all categories, the same for the same arguments; more rounds only add to them.

    Each round draws `per_category` instances, the last `unseen_instances` of them with split 'unseen_instance'; of the
    categories in HELDOUT_CATEGORIES it draws `per_heldout`, all 'unseen_category'.
    """
    specs = []
    for round_ in range(rounds):
        for category, kind in KINDS.items():
            heldout = category in HELDOUT_CATEGORIES
            count = per_heldout if heldout else per_category
            rng = np.random.default_rng([seed, zlib.crc32(category.encode())] + [round_] * (round_ > 0))
            for index, attributes in enumerate(_attributes(kind, count, rng)):
                split = UNSEEN_CATEGORY if heldout else TRAIN if index < count - unseen_instances else UNSEEN_INSTANCE
                name = f"{category.replace(' ', '_')}_{round_ * count + index:02d}"
                specs.append(ObjectSpec(name, category, split, attributes, int(rng.integers(2**31))))
    return specs


def _attributes(kind: Kind, count: int, rng: np.random.Generator) -> list[dict[str, str]]:
    """Attributes of `count` instances; colours and flavours go round, so that all come up."""
    colors, flavours = _rounds(kind.colors, count, rng), _rounds(tuple(kind.flavours), count, rng)
    found = []
    for index in range(count):
        material = str(rng.choice(kind.materials))
        attributes = {"color": colors[index], "material": material}
        if kind.flavours:
            attributes |= {"flavour": flavours[index], "color": kind.flavours[flavours[index]]}
        elif material in NATURAL and kind.colors == ANY and rng.random() < 0.7:
            attributes["color"] = NATURAL[material]
        if kind.brands:
            attributes["brand"] = str(rng.choice(kind.brands)).lower()
        if kind.patterns and material not in ("wood",):
            attributes["pattern"] = str(rng.choice(kind.patterns))
        if kind.motifs and (not kind.patterns or (attributes.get("pattern") == "plain" and rng.random() < 0.5)):
            attributes["motif"] = str(rng.choice(kind.motifs))
        visible = attributes.get("pattern", "plain") != "plain" or "motif" in attributes if kind.patterns else True
        if kind.second and visible:
            attributes["color2"] = str(rng.choice([color for color in kind.second if color != attributes["color"]]))
        found.append(attributes)
    return found


def _rounds(values: Sequence[str], count: int, rng: np.random.Generator) -> list[str]:
    """`count` values in which each comes equally often, in random order."""
    if not values:
        return []
    values = list(dict.fromkeys(values))
    drawn = [value for _ in range(-(-count // len(values))) for value in rng.permutation(values)]
    return [str(value) for value in drawn[:count]]


def build(spec: ObjectSpec) -> ObjectModel:
    """The mesh, texture, physics and phrases of a spec; the same bytes every time."""
    rng = np.random.default_rng(spec.seed)
    attributes = {"color2": "white", "pattern": "plain", **spec.attributes}
    attributes["brand"] = attributes.get("brand", "").upper()
    canvas = Canvas(attributes, rng)
    parts = KINDS[spec.category].make(canvas, attributes, rng)
    vertices, faces, uv = join(parts)
    hulls = convex_parts(parts)
    volume = sum(hull.volume for hull in hulls)
    mass = mass_of(spec.category, spec.attributes, volume)
    middle = centre(np.concatenate([part.vertices for part in parts]))
    material = material_of(spec.attributes)
    description = describe(spec.category, spec.attributes)
    return ObjectModel(
        *spec.identity,
        vertices,
        faces,
        uv,
        canvas.pixels(),
        material.specular,
        material.shininess,
        mass,
        mass / volume,
        material.friction,
        [(hull.points[hull.vertices] - middle).astype(np.float32) for hull in hulls],
        description.training,
        description.heldout,
    )
