# SPDX-License-Identifier: Apache-2.0
"""What is in a package, by the brand on it: who asks for crackers means the Cheez-It, and the other way round.

A brand that was read says what is inside, though the word itself does not stand there; and a brand that is asked for is
told by the package where its label cannot be read (`training.names.vocabulary` has it said of the name).
"""

from __future__ import annotations

# Brand: the name of ours that such a package bears ("" where none does), and words for what is inside.
BRANDS: dict[str, tuple[str, str]] = {
    "cheez-it": ("cracker box", "crackers cracker"),
    "ritz": ("cracker box", "crackers cracker"),
    "domino": ("sugar box", "sugar"),
    "french's": ("mustard bottle", "mustard"),
    "campbell's": ("soup can", "soup"),
    "starkist": ("tuna can", "tuna fish"),
    "spam": ("meat can", "meat ham luncheon"),
    "jell-o": ("gelatin box", "gelatin jelly pudding dessert"),
    "folgers": ("coffee can", "coffee"),
    "nescafe": ("coffee can", "coffee"),
    "lavazza": ("coffee can", "coffee"),
    "clorox": ("bleach bottle", "bleach wipes disinfectant cleaner"),
    "windex": ("spray bottle", "cleaner cleanser"),
    "ajax": ("bleach bottle", "cleaner cleanser"),
    "pantene": ("shampoo bottle", "shampoo conditioner"),
    "nivea": ("", "lotion cream"),
    "colgate": ("toothpaste", "toothpaste"),
    "darlie": ("toothpaste", "toothpaste"),
    "coca-cola": ("soda can", "coke cola soda"),
    "coke": ("soda can", "cola soda"),
    "pepsi": ("soda can", "cola soda"),
    "fanta": ("soda can", "soda lemonade"),
    "sprite": ("soda can", "soda lemonade"),
    "heinz": ("", "ketchup beans"),
    "kellogg's": ("cereal box", "cereal cornflakes"),
    "cheerios": ("cereal box", "cereal"),
    "vitalis": ("cereal box", "cereal muesli"),
    "pringles": ("", "chips crisps"),
    "lay's": ("", "chips crisps"),
    "planters": ("", "nuts peanuts cashews"),
    "skippy": ("", "peanut butter"),
    "nutella": ("", "chocolate spread"),
    "hershey's": ("", "chocolate"),
    "oreo": ("box of cakes", "cookies biscuits"),
    "lipton": ("", "tea"),
    "twinings": ("", "tea"),
    "barilla": ("", "pasta spaghetti noodles"),
    "tropicana": ("juice carton", "juice"),
    "arla": ("milk carton", "milk yoghurt"),
    "oatly": ("milk carton", "milk oat"),
    "kleenex": ("", "tissues handkerchiefs"),
    "sharpie": ("marker pen", "marker"),
    "expo": ("marker pen", "marker eraser"),
    "elmer's": ("glue", "glue"),
    "post-it": ("", "notes"),
    "duracell": ("", "batteries battery"),
    "lego": ("lego brick", "bricks"),
    "rubik's": ("puzzle cube", "puzzle"),
}


def brands_of(name: str) -> tuple[str, ...]:
    """Brands whose packages bear a name of ours."""
    return tuple(brand for brand, (kind, _) in BRANDS.items() if kind == name)
