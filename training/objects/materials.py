# SPDX-License-Identifier: Apache-2.0
"""How things look, weigh and slide by what they are made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from training.objects.words.wording import wide


class Material(NamedTuple):
    """specular, shininess: in [0, 1], for renderers; density: kg/m3, solid; friction: of sliding, against a table."""

    specular: float
    shininess: float
    density: float
    friction: float


# Densities: engineeringtoolbox.com, "Densities of Solids" (plastic: ABS and polypropylene; metal: aluminium, steel is
# rare in walls as thick as ours). Frictions: "Friction Coefficients" there, against wood.
MATERIALS: dict[str, Material] = {
    "ceramic": Material(0.6, 0.7, 2300.0, 0.6),
    "plastic": Material(0.35, 0.4, 1000.0, 0.6),
    "metal": Material(0.9, 0.8, 2700.0, 0.5),
    "glass": Material(1.0, 0.95, 2500.0, 0.5),
    "wood": Material(0.1, 0.1, 650.0, 0.7),
    "cardboard": Material(0.05, 0.05, 690.0, 0.7),
    "rubber": Material(0.08, 0.05, 1100.0, 1.0),
    "organic": Material(0.25, 0.3, 900.0, 0.8),
    "paper": Material(0.05, 0.05, 800.0, 0.7),
    "wax": Material(0.3, 0.3, 930.0, 0.7),
    "foam": Material(0.0, 0.0, 60.0, 0.9),
    "fabric": Material(0.02, 0.02, 300.0, 0.8),
    "leather": Material(0.2, 0.2, 860.0, 0.8),
}
DEFAULT = MATERIALS["plastic"]

# kg/m3 of what the mesh encloses, for what is not solid material: packages with their content, devices, hollow things,
# tools of several materials. Each from the usual weight of such a thing (a full can 0.35 kg, a phone 0.18 kg, ...).
BULK: dict[str, float] = {
    "water bottle": 900.0,
    "soda can": 980.0,
    "food tin": 1000.0,
    "cereal box": 180.0,
    "milk carton": 1000.0,
    "juice carton": 1000.0,
    "cup noodles": 200.0,
    "jam jar": 1200.0,
    "shampoo bottle": 950.0,
    "teapot": 800.0,
    "flower pot": 1000.0,
    "book": 750.0,
    "mobile phone": 1800.0,
    "remote control": 700.0,
    "computer mouse": 600.0,
    "calculator": 700.0,
    "battery": 2600.0,
    "light bulb": 300.0,
    "marker pen": 500.0,
    "tape roll": 1000.0,
    "stapler": 1300.0,
    "scissors": 2500.0,
    "knife": 2500.0,
    "hammer": 4500.0,
    "screwdriver": 1900.0,
    "toy car": 700.0,
    "building block": 500.0,
    "donut": 350.0,
    "tennis ball": 390.0,
    "ball": 400.0,
    "sponge": 60.0,
    "whisk": 1500.0,
    "egg": 1050.0,
    "mushroom": 600.0,
    "eggplant": 650.0,
    "cupcake": 450.0,
    "flashlight": 1300.0,
    "wrench": 7800.0,
    "pliers": 5000.0,
    "paint brush": 800.0,
    "rubber duck": 250.0,
    "puzzle cube": 500.0,
    "stacking rings": 450.0,
    "pencil": 700.0,
    "toothpaste": 1200.0,
    "camera": 900.0,
    "game controller": 550.0,
    "alarm clock": 700.0,
}
# The same for the broad categories of data sets of meshes.
BULK |= {
    "box": 200.0,
    "bottle": 900.0,
    "can": 950.0,
    "toy": 500.0,
    "toys": 500.0,
    "electronics": 900.0,
    "pen": 600.0,
    "tool": 2500.0,
    "shoe": 250.0,
    "fruit": 900.0,
}
UNKNOWN = 600.0  # kg/m3 where nobody says what a thing is made of: between a hollow and a solid one
LIGHTEST, HEAVIEST = 0.004, 3.0  # kg of a thing on a table


def material_of(attributes: Mapping[str, str]) -> Material:
    """Of the attribute 'material' in any words ("stainless steel" is metal); unknown ones pass for plastic."""
    said = wide([attributes.get("material", "")])
    return next((MATERIALS[name] for word in said for name in MATERIALS if name in word), DEFAULT)


def mass_of(category: str, attributes: Mapping[str, str], volume: float) -> float:
    """kg of `volume` m3 that the object's collision shapes fill: as the title, class or category weighs, or else the
    material."""
    names = (attributes.get("title", ""), attributes.get("class", ""), category)
    solid = material_of(attributes).density if attributes.get("material") else UNKNOWN
    density = next((BULK[name] for name in names if name in BULK), solid)
    return min(max(volume * density, LIGHTEST), HEAVIEST)
