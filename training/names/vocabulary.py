# SPDX-License-Identifier: Apache-2.0
"""Our own names: of scanned objects, of groceries and of the procedural categories, and what is said of each.

Scans and groceries that are what a procedural category is bear its name and are said the same of; for the others it
stands here. Only training phrases are used: the held-out ones stay unheard.
"""

from __future__ import annotations

from dropclip_ros.grounding.brands import brands_of
from training.names.uses import USES
from training.objects.spec import ObjectSpec
from training.objects.words.phrases import describe
from training.objects.words.vocabulary import NOUNS

# What is said of a name that no procedural category has. The name itself is said, too.
SAID: dict[str, tuple[str, ...]] = {
    "coffee can": ("can of coffee", "ground coffee", "something to make coffee with"),
    "cracker box": ("box of crackers", "crackers", "a salty snack", "something to crunch on"),
    "sugar box": ("box of sugar", "sugar", "something to sweeten tea with", "a baking ingredient"),
    "soup can": ("can of soup", "tomato soup", "canned soup", "something to heat up for lunch"),
    "mustard bottle": ("mustard", "bottle of mustard", "a condiment", "something to put on a sausage", "a sauce"),
    "tuna can": ("can of tuna", "canned fish", "tuna", "something to put in a salad"),
    "pudding box": ("box of pudding", "pudding", "dessert mix", "something to make a dessert with"),
    "gelatin box": ("box of gelatin", "gelatin", "dessert mix", "something to make a dessert with"),
    "meat can": ("canned meat", "can of meat", "luncheon meat", "something to fry for breakfast"),
    "strawberry": ("a red berry", "fruit", "something sweet to eat"),
    "peach": ("fruit", "stone fruit", "something sweet to eat"),
    "plum": ("fruit", "stone fruit", "something sweet to eat"),
    "pitcher": ("jug", "water jug", "something to pour water from", "something to serve lemonade in"),
    "bleach bottle": ("bleach", "cleaning product", "cleaner", "something to clean the bathroom with"),
    "spray bottle": ("window cleaner", "cleaning product", "something to clean a window with"),
    "pan lid": ("lid", "skillet lid", "glass lid", "something to cover a pan with"),
    "power drill": ("drill", "cordless drill", "electric drill", "power tool", "something to drill holes with"),
    "wood block": ("wooden block", "block of wood", "piece of wood"),
    "padlock": ("lock", "something to lock a gate with", "something to keep a bicycle safe"),
    "clamp": ("spring clamp", "tool", "something to hold parts together with", "something to clamp wood with"),
    "soccer ball": ("football", "ball", "something to kick", "sports equipment"),
    "baseball": ("softball", "ball", "something to throw and catch", "sports equipment"),
    "golf ball": ("ball", "something to hit with a club", "sports equipment"),
    "chain": ("metal chain", "something to tie up a gate with"),
    "foam brick": ("brick", "red brick", "foam block", "something to build a wall with"),
    "marbles": ("glass marbles", "toy", "something for children to roll"),
    "peg board": ("peg test", "board with holes", "board game"),
    "toy airplane": ("toy plane", "airplane", "toy", "something for a child to fly"),
    "lego brick": ("building bricks", "lego", "toy", "something for a child to build with"),
    "book holder": ("bookend", "book stand", "something to hold books upright"),
    "hair conditioner": ("conditioner", "bottle of conditioner", "hair care", "something to wash hair with"),
    "correction fluid": ("white-out", "something to cover a writing mistake with", "office supplies"),
    "glue": ("glue bottle", "bottle of glue", "adhesive", "something to stick paper together with"),
    "box of cakes": ("snack box", "cakes", "biscuits", "a sweet snack"),
    "plate holder": ("plate stand", "stand"),
    "playing cards": ("deck of cards", "pack of cards", "cards", "something to play poker with"),
    "insect repellent": ("repellent", "bug spray", "something to keep mosquitoes away"),
    "avocado": ("fruit", "something to make guacamole with"),
    "kiwi": ("kiwi fruit", "fruit", "something sweet to eat"),
    "lime": ("fruit", "citrus fruit", "something sour for a drink"),
    "mango": ("fruit", "tropical fruit", "something sweet to eat"),
    "melon": ("fruit", "something sweet to eat"),
    "nectarine": ("fruit", "stone fruit"),
    "papaya": ("fruit", "tropical fruit"),
    "passion fruit": ("fruit", "tropical fruit"),
    "pineapple": ("fruit", "tropical fruit"),
    "pomegranate": ("fruit",),
    "grapefruit": ("fruit", "citrus fruit"),
    "yoghurt": ("carton of yoghurt", "cup of yoghurt", "dairy", "something to eat with granola for breakfast"),
    "sour cream": ("tub of sour cream", "dairy", "something to put on a baked potato"),
    "asparagus": ("vegetable", "green vegetable"),
    "cabbage": ("vegetable", "something to make coleslaw from"),
    "garlic": ("vegetable", "bulb of garlic", "something to season food with"),
    "ginger": ("ginger root", "something to season food with"),
    "leek": ("vegetable", "something to make soup from"),
    "onion": ("vegetable", "something to chop that makes you cry"),
    "bell pepper": ("pepper", "vegetable", "something to put in a salad"),
    "potato": ("vegetable", "something to make fries from"),
    "beetroot": ("vegetable", "beet"),
    "tomato": ("vegetable", "something to put in a salad"),
    "zucchini": ("courgette", "vegetable"),
}
# Titles of scans and classes of groceries under another name than their own.
CALLED = {
    "master chef can": "coffee can",
    "tomato soup can": "soup can",
    "tuna fish can": "tuna can",
    "potted meat can": "meat can",
    "pitcher base": "pitcher",
    "bleach cleanser": "bleach bottle",
    "windex bottle": "spray bottle",
    "skillet lid": "pan lid",
    "large marker": "marker pen",
    "black marker": "marker pen",
    "blue marker": "marker pen",
    "red marker": "marker pen",
    "small marker": "marker pen",
    "adjustable wrench": "wrench",
    "phillips screwdriver": "screwdriver",
    "flat screwdriver": "screwdriver",
    "medium clamp": "clamp",
    "large clamp": "clamp",
    "extra large clamp": "clamp",
    "mini soccer ball": "soccer ball",
    "softball": "baseball",
    "racquetball": "ball",
    "dice": "die",
    "cups": "tumbler",
    "blue cup": "mug",
    "green cup": "mug",
    "orange cup": "mug",
    "yellow cup": "mug",
    "doraemon bowl": "bowl",
    "colored wood blocks": "building block",
    "nine hole peg test": "peg board",
    "lego duplo": "lego brick",
    "rubiks cube": "puzzle cube",
    "conditioner": "hair conditioner",
    "mini claw hammer": "hammer",
    "orion pie": "box of cakes",
    "poker": "playing cards",
    "remote controller": "remote control",
    "repellent": "insect repellent",
    "shampoo": "shampoo bottle",
    "soap": "soap bar",
    "suger": "sugar box",
    "Cantaloupe": "melon",
    "Watermelon": "melon",
    "Galia-Melon": "melon",
    "Honeydew-Melon": "melon",
    "Red-Grapefruit": "grapefruit",
    "Satsumas": "orange",
    "Aubergine": "eggplant",
    "Carrots": "carrot",
    "Red-Beet": "beetroot",
}
GROCERIES = {  # by the coarse class, which lies two folders up
    "Apple": "apple",
    "Pear": "pear",
    "Juice": "juice carton",
    "Milk": "milk carton",
    "Oat-Milk": "milk carton",
    "Soy-Milk": "milk carton",
    "Sour-Milk": "milk carton",
    "Yoghurt": "yoghurt",
    "Soyghurt": "yoghurt",
    "Oatghurt": "yoghurt",
    "Sour-Cream": "sour cream",
    "Mushroom": "mushroom",
    "Onion": "onion",
    "Pepper": "bell pepper",
    "Potato": "potato",
    "Tomato": "tomato",
}


def own_name(spec: ObjectSpec) -> str:
    """What an object of a catalogue is called: a procedural one by its category, a scan by its title."""
    title = spec.attributes.get("title", spec.category)
    return spec.category if spec.mesh is None else CALLED.get(title, title)


def grocery_name(coarse: str, fine: str) -> str:
    """What a class of GroceryStoreDataset is called."""
    return CALLED.get(fine) or GROCERIES.get(coarse) or fine.replace("-", " ").lower()


def said_of(name: str) -> tuple[str, ...]:
    """All that is said of a thing of this name, the name first. KeyError where nobody wrote it down."""
    if name in SAID:
        said = SAID[name]
    else:
        by = describe(name, {}).training
        said = (*by["class"], *by["affordance"], *by["open"])
    return tuple(dict.fromkeys((name, *said, *USES.get(name, ()), *brands_of(name))))


def is_category(name: str) -> bool:
    """Whether a name is one of the procedural categories."""
    return name in NOUNS
