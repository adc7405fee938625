# SPDX-License-Identifier: Apache-2.0
"""The procedural household objects: cheap specs with attributes and splits, and `build`, which makes the mesh.

specs = catalogue(seed=0)
model = build(specs[0])          # mesh, texture, physics, phrases
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from training.mvtod.catalogue import TRAIN, UNSEEN_CATEGORY, UNSEEN_INSTANCE, ObjectModel, ObjectSpec
from training.mvtod.materials import mass_of, material_of
from training.mvtod.phrases import describe
from training.mvtod.procedural import makers_food as food
from training.mvtod.procedural import makers_kitchen as kitchen
from training.mvtod.procedural import makers_things as things
from training.mvtod.procedural.collision import convex_parts
from training.mvtod.procedural.shapes import Part, centre, join
from training.mvtod.procedural.textures import COLORS, Canvas

ANY = tuple(name for name in COLORS if name != "silver")
BRIGHT = tuple(name for name in ANY if name not in ("black", "gray", "brown"))
PATTERNS = ("plain", "plain", "striped", "dotted", "banded", "checked")


@dataclass(frozen=True)
class Kind:
    """How the instances of a category may differ.

    `flavours` maps a printed flavour to the colour that goes with it; `second` are colours of a detail that is always
    there, or of the pattern where `patterns` are given.
    """

    make: Callable[[Canvas, dict[str, str], np.random.Generator], list[Part]]
    materials: tuple[str, ...]
    colors: tuple[str, ...] = ANY
    second: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    flavours: dict[str, str] = field(default_factory=dict)
    brands: tuple[str, ...] = ()
    motifs: tuple[str, ...] = ()


FRUIT = {
    "strawberry": "red",
    "orange": "orange",
    "apple": "green",
    "grape": "purple",
    "mango": "yellow",
    "cherry": "pink",
    "blueberry": "blue",
}
SODA = {
    "cola": "red",
    "lemon": "yellow",
    "lime": "green",
    "orange": "orange",
    "cherry": "pink",
    "grape": "purple",
    "blueberry": "blue",
}

KINDS: dict[str, Kind] = {
    "mug": Kind(
        kitchen.mug,
        ("ceramic", "ceramic", "metal", "plastic"),
        second=ANY,
        patterns=PATTERNS,
        motifs=("star", "flower"),
    ),
    "bowl": Kind(kitchen.bowl, ("ceramic", "plastic", "wood", "metal"), second=ANY, patterns=PATTERNS),
    "plate": Kind(kitchen.plate, ("ceramic", "plastic"), second=ANY, patterns=("plain", "banded", "banded")),
    "tumbler": Kind(
        kitchen.tumbler, ("glass", "glass", "plastic"), BRIGHT, second=BRIGHT, patterns=("plain", "plain", "banded")
    ),
    "water bottle": Kind(
        kitchen.water_bottle, ("plastic", "glass", "metal"), second=BRIGHT, brands=("AQUI", "FONTE", "NIVA", "RILL")
    ),
    "soda can": Kind(
        kitchen.soda_can,
        ("metal",),
        flavours=SODA,
        second=BRIGHT,
        patterns=("plain", "banded", "striped"),
        brands=("ZAPPO", "FIZZO", "POLKA", "KOLARA"),
    ),
    "food tin": Kind(
        kitchen.food_tin,
        ("metal",),
        flavours={
            "tomatoes": "red",
            "corn": "yellow",
            "peas": "green",
            "beans": "brown",
            "tuna": "blue",
            "peaches": "orange",
        },
    ),
    "cereal box": Kind(
        kitchen.cereal_box,
        ("cardboard",),
        second=BRIGHT,
        brands=("CRUNCHO", "FLAKEY", "MORNA", "OTTI"),
        flavours={
            "honey": "yellow",
            "chocolate": "brown",
            "strawberry": "pink",
            "corn": "green",
            "oat": "blue",
            "fruit ring": "red",
        },
    ),
    "milk carton": Kind(
        kitchen.milk_carton,
        ("cardboard",),
        second=("blue", "green", "red"),
        flavours={"whole": "white", "chocolate": "brown", "strawberry": "pink", "oat": "yellow"},
    ),
    "juice carton": Kind(
        kitchen.juice_carton, ("cardboard",), second=BRIGHT, flavours=FRUIT, brands=("SUNA", "FRUTTO", "JOOS", "TROPI")
    ),
    "cup noodles": Kind(
        kitchen.cup_noodles,
        ("paper",),
        flavours={"chicken": "yellow", "beef": "red", "shrimp": "pink", "vegetable": "green"},
    ),
    "frying pan": Kind(
        kitchen.pan, ("metal",), ("black", "gray", "red", "green", "blue", "orange"), second=("black", "brown", "red")
    ),
    "spoon": Kind(kitchen.spoon, ("metal", "metal", "wood", "plastic")),
    "fork": Kind(kitchen.fork, ("metal", "metal", "plastic")),
    "knife": Kind(
        kitchen.knife, ("plastic", "wood"), ("black", "brown", "red", "blue", "green", "yellow", "white", "orange")
    ),
    "apple": Kind(food.apple, ("organic",), ("red", "green", "yellow")),
    "orange": Kind(food.orange, ("organic",), ("orange",)),
    "banana": Kind(food.banana, ("organic",), ("yellow", "yellow", "green")),
    "lemon": Kind(food.lemon, ("organic",), ("yellow",)),
    "carrot": Kind(food.carrot, ("organic",), ("orange", "purple")),
    "donut": Kind(food.donut, ("organic",), ("pink", "brown", "white", "blue", "yellow", "green"), second=BRIGHT),
    "book": Kind(
        things.book,
        ("paper",),
        second=BRIGHT,
        brands=("cooking", "robots", "space", "gardens", "history", "poems"),
        motifs=("star", "flower", "fish"),
    ),
    "mobile phone": Kind(things.mobile_phone, ("plastic", "metal")),
    "remote control": Kind(
        things.remote_control,
        ("plastic",),
        ("black", "white", "gray", "blue", "red"),
        second=("blue", "green", "yellow"),
    ),
    "computer mouse": Kind(things.computer_mouse, ("plastic",)),
    "marker pen": Kind(things.marker_pen, ("plastic",), tuple(color for color in ANY if color != "white")),
    "tape roll": Kind(things.tape_roll, ("plastic",)),
    "stapler": Kind(things.stapler, ("plastic", "metal")),
    "scissors": Kind(things.scissors, ("plastic",)),
    "battery": Kind(things.battery, ("metal",), second=("orange", "yellow", "black", "green", "red")),
    "light bulb": Kind(things.light_bulb, ("glass",), ("white", "yellow", "red", "blue", "green", "pink")),
    "candle": Kind(things.candle, ("wax",)),
    "flower pot": Kind(things.flower_pot, ("ceramic", "plastic"), second=("red", "yellow", "pink", "purple", "white")),
    "shampoo bottle": Kind(
        things.shampoo_bottle,
        ("plastic",),
        second=("white", "black", "gray"),
        brands=("LUVA", "SILKY", "HAARO"),
        flavours={
            "lavender": "purple",
            "mint": "green",
            "rose": "pink",
            "coconut": "white",
            "lemon": "yellow",
            "blueberry": "blue",
        },
    ),
    "soap bar": Kind(things.soap_bar, ("wax",), BRIGHT),
    "sponge": Kind(things.sponge, ("foam",), BRIGHT, second=("green", "blue", "red", "gray", "white")),
    "toothbrush": Kind(things.toothbrush, ("plastic",), second=BRIGHT),
    "hammer": Kind(things.hammer, ("wood", "plastic")),
    "screwdriver": Kind(things.screwdriver, ("plastic",), second=("black", "yellow", "red", "white")),
    "ball": Kind(things.ball, ("rubber", "plastic"), second=ANY, patterns=PATTERNS),
    "toy car": Kind(things.toy_car, ("plastic", "metal", "wood")),
    "building block": Kind(things.building_block, ("plastic",)),
    # held out as categories
    "teapot": Kind(kitchen.teapot, ("ceramic", "metal"), second=ANY, patterns=PATTERNS),
    "wine glass": Kind(kitchen.wine_glass, ("glass",), BRIGHT),
    "spatula": Kind(kitchen.spatula, ("plastic", "metal"), second=("black", "red", "brown", "blue")),
    "jam jar": Kind(
        kitchen.jam_jar,
        ("glass",),
        second=("white", "red", "yellow", "green"),
        flavours={"strawberry": "red", "orange": "orange", "grape": "purple", "peach": "yellow"},
    ),
    "pear": Kind(food.pear, ("organic",), ("green", "yellow")),
    "cucumber": Kind(food.cucumber, ("organic",), ("green",)),
    "tennis ball": Kind(things.tennis_ball, ("rubber",), ("yellow", "green", "orange", "pink")),
    "calculator": Kind(things.calculator, ("plastic",)),
}
HELDOUT_CATEGORIES = ("teapot", "wine glass", "spatula", "jam jar", "pear", "cucumber", "tennis ball", "calculator")
NATURAL = {"metal": "silver", "wood": "brown"}  # the colour that a bare material has


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
        spec.name,
        spec.category,
        spec.split,
        dict(spec.attributes),
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
