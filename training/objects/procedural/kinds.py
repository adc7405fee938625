# SPDX-License-Identifier: Apache-2.0
"""The categories of procedural objects, and how their instances may differ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from training.objects.procedural import makers_cooking as cooking
from training.objects.procedural import makers_desk as desk
from training.objects.procedural import makers_food as food
from training.objects.procedural import makers_kitchen as kitchen
from training.objects.procedural import makers_things as things
from training.objects.procedural import makers_tools as tools
from training.objects.procedural import makers_toys as toys
from training.objects.procedural.shapes import Part
from training.objects.procedural.textures import COLORS, Canvas

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
    "rolling pin": Kind(cooking.rolling_pin, ("wood", "wood", "plastic", "ceramic"), second=ANY),
    "ladle": Kind(cooking.ladle, ("metal", "metal", "plastic", "wood"), second=("black", "red", "brown", "blue")),
    "cutting board": Kind(cooking.cutting_board, ("wood", "wood", "plastic")),
    "jug": Kind(cooking.jug, ("ceramic", "glass", "plastic"), second=ANY, patterns=PATTERNS),
    "egg": Kind(food.egg, ("organic",), ("white", "brown")),
    "mushroom": Kind(food.mushroom, ("organic",), ("brown", "white", "orange")),
    "cupcake": Kind(food.cupcake, ("organic",), ("pink", "white", "brown", "yellow", "blue", "purple"), second=BRIGHT),
    "flashlight": Kind(tools.flashlight, ("metal", "plastic"), second=("black", "gray", "yellow", "red")),
    "wrench": Kind(tools.wrench, ("metal",), ("silver", "silver", "black", "gray")),
    "paint brush": Kind(tools.paint_brush, ("wood", "plastic"), second=("white", "black", "brown")),
    "die": Kind(toys.die, ("plastic", "wood"), BRIGHT, second=("black", "white", "blue", "red")),
    "rubber duck": Kind(
        toys.rubber_duck, ("rubber",), ("yellow", "yellow", "pink", "blue", "green", "white"), second=("orange", "red")
    ),
    "stacking rings": Kind(toys.stacking_rings, ("plastic", "wood"), second=("red", "yellow", "green", "blue")),
    "pencil": Kind(desk.pencil, ("wood",), BRIGHT, second=("pink", "white", "red", "blue")),
    "ruler": Kind(desk.ruler, ("plastic", "plastic", "wood", "metal")),
    "toothpaste": Kind(
        desk.toothpaste,
        ("plastic",),
        second=("blue", "red", "green", "white"),
        brands=("DENTA", "SMYLE", "BRITO"),
        flavours={"mint": "green", "lemon": "yellow", "cherry": "pink", "coconut": "white", "blueberry": "blue"},
    ),
    "camera": Kind(desk.camera, ("plastic", "metal"), ("black", "silver", "gray", "white", "red"), second=ANY),
    "game controller": Kind(
        desk.game_controller, ("plastic",), ("black", "white", "gray", "blue", "red", "purple"), second=BRIGHT
    ),
    "alarm clock": Kind(desk.alarm_clock, ("metal", "plastic"), second=BRIGHT),
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
    "whisk": Kind(cooking.whisk, ("plastic", "wood")),
    "eggplant": Kind(food.eggplant, ("organic",), ("purple",)),
    "pliers": Kind(tools.pliers, ("plastic", "rubber")),
    "puzzle cube": Kind(toys.puzzle_cube, ("plastic",), ("black", "white")),
}
HELDOUT_CATEGORIES = (
    "teapot",
    "wine glass",
    "spatula",
    "jam jar",
    "pear",
    "cucumber",
    "tennis ball",
    "calculator",
    "whisk",
    "eggplant",
    "pliers",
    "puzzle cube",
)
NATURAL = {"metal": "silver", "wood": "brown"}  # the colour that a bare material has
