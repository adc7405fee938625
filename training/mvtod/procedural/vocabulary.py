# SPDX-License-Identifier: Apache-2.0
"""What people call the objects: tables only, `phrases.py` combines them.

Rows name the categories that a phrase fits, known ones and held-out ones alike. Whatever stands in a HELDOUT table is
never shown to training, so that tests with it measure understanding rather than memory.
"""

from __future__ import annotations

from training.mvtod.procedural.vocabulary_facts import FACTS, HELDOUT_FACTS  # noqa: F401  # phrases.py finds all here

# category: (class names used in training, class names held out)
NOUNS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "mug": (("mug", "coffee mug", "coffee cup", "tea mug"), ("teacup", "cup with a handle")),
    "bowl": (("bowl", "soup bowl", "salad bowl"), ("cereal bowl", "basin")),
    "plate": (("plate", "dinner plate", "flat dish"), ("serving platter", "saucer")),
    "tumbler": (("tumbler", "drinking glass", "water glass"), ("highball glass", "beaker")),
    "water bottle": (
        ("water bottle", "bottle", "drinking bottle", "bottle of water"),
        ("drinking flask", "mineral water"),
    ),
    "soda can": (("soda can", "can of soda", "drink can", "soft drink"), ("beverage can", "fizzy drink")),
    "food tin": (("food tin", "tin can", "canned food", "tin of food"), ("preserved food", "conserve")),
    "cereal box": (
        ("cereal box", "cereal", "box of cereal", "breakfast cereal"),
        ("carton of cornflakes", "muesli pack"),
    ),
    "milk carton": (("milk carton", "milk", "carton of milk"), ("dairy drink", "milk box")),
    "juice carton": (("juice carton", "juice", "juice box", "carton of juice"), ("fruit drink", "juice pack")),
    "cup noodles": (("cup noodles", "instant noodles", "noodle cup"), ("ramen", "pot noodle")),
    "frying pan": (("frying pan", "pan", "skillet"), ("cooking pan", "saute pan")),
    "spoon": (("spoon", "tablespoon", "soup spoon"), ("teaspoon", "dessert spoon")),
    "fork": (("fork", "dinner fork", "table fork"), ("pronged eating utensil", "salad fork")),
    "knife": (("knife", "kitchen knife", "sharp knife"), ("chef's blade", "carving knife")),
    "teapot": (("teapot", "tea pot", "pot of tea"), ("tea kettle", "teapot with a spout")),
    "wine glass": (("wine glass", "stemmed glass", "glass for wine"), ("goblet", "wine goblet")),
    "spatula": (("spatula", "turner", "kitchen spatula"), ("pancake flipper", "fish slice")),
    "jam jar": (("jam jar", "jar", "jar of jam"), ("marmalade jar", "preserve jar")),
    "apple": (("apple", "fresh apple", "whole apple"), ("eating apple", "apple from the orchard")),
    "orange": (("orange", "orange fruit", "fresh orange"), ("mandarin", "tangerine")),
    "banana": (("banana", "unpeeled banana", "banana fruit"), ("plantain", "curved tropical fruit")),
    "lemon": (("lemon", "sour lemon", "lemon fruit"), ("sour citrus", "limon")),
    "carrot": (("carrot", "fresh carrot", "carrot root"), ("root vegetable", "garden carrot")),
    "donut": (("donut", "doughnut", "glazed donut"), ("ring-shaped pastry", "frosted fried ring")),
    "book": (("book", "paperback", "hardcover book"), ("novel", "reading volume")),
    "mobile phone": (("mobile phone", "cell phone", "smartphone", "phone"), ("iphone", "handheld telephone")),
    "remote control": (("remote control", "TV remote", "remote"), ("television clicker", "channel changer")),
    "computer mouse": (("computer mouse", "mouse", "PC mouse"), ("pointing device", "optical mouse")),
    "marker pen": (("marker pen", "marker", "felt tip pen"), ("highlighter", "sharpie")),
    "tape roll": (("tape roll", "roll of tape", "adhesive tape"), ("sticky tape", "duct tape")),
    "stapler": (("stapler", "office stapler", "desk stapler"), ("stapling machine", "paper fastener")),
    "scissors": (("scissors", "pair of scissors", "paper scissors"), ("shears", "household clippers")),
    "battery": (("battery", "household battery", "alkaline battery"), ("power cell", "dry cell")),
    "light bulb": (("light bulb", "bulb", "lightbulb"), ("electric lamp bulb", "incandescent globe lamp")),
    "candle": (("candle", "wax candle", "candle on a dish"), ("taper", "candlestick")),
    "flower pot": (("flower pot", "potted plant", "plant pot"), ("houseplant", "planter with a flower")),
    "shampoo bottle": (("shampoo bottle", "shampoo", "bottle of shampoo"), ("hair wash", "hair care product")),
    "soap bar": (("soap bar", "bar of soap", "soap"), ("hand cleansing block", "toilet soap")),
    "sponge": (("sponge", "kitchen sponge", "cleaning sponge"), ("scrubber", "dish scouring pad")),
    "toothbrush": (("toothbrush", "tooth brush", "manual toothbrush"), ("dental brush", "oral care brush")),
    "hammer": (("hammer", "claw hammer", "carpenter's hammer"), ("mallet", "nail hammer")),
    "screwdriver": (("screwdriver", "flat screwdriver", "hand screwdriver"), ("screw turning tool", "slotted driver")),
    "ball": (("ball", "play ball", "toy ball"), ("bouncing sphere", "round toy")),
    "toy car": (("toy car", "model car", "small car"), ("miniature automobile", "matchbox vehicle")),
    "building block": (("building block", "toy brick", "plastic brick"), ("lego", "construction toy")),
    "pear": (("pear", "fresh pear", "ripe pear"), ("bartlett", "conference pear")),
    "cucumber": (("cucumber", "fresh cucumber", "whole cucumber"), ("gherkin", "long green vegetable")),
    "tennis ball": (("tennis ball", "ball for tennis", "felt ball"), ("wimbledon ball", "fuzzy court ball")),
    "calculator": (("calculator", "pocket calculator", "desk calculator"), ("adding machine", "scientific calculator")),
    "rolling pin": (("rolling pin", "dough roller", "baking roller"), ("pastry roller", "pasta rolling stick")),
    "ladle": (("ladle", "soup ladle", "serving ladle"), ("punch dipper", "deep serving spoon")),
    "cutting board": (("cutting board", "chopping board", "bread board"), ("butcher block", "carving board")),
    "jug": (("jug", "pitcher", "water jug"), ("ewer", "carafe")),
    "egg": (("egg", "chicken egg", "whole egg"), ("hen's egg", "breakfast egg")),
    "mushroom": (("mushroom", "fresh mushroom", "button mushroom"), ("champignon", "edible fungus")),
    "cupcake": (("cupcake", "frosted cupcake", "muffin"), ("fairy cake", "small frosted cake")),
    "flashlight": (("flashlight", "torch", "hand torch"), ("pocket lamp", "handheld light")),
    "wrench": (("wrench", "spanner", "combination wrench"), ("bolt turner", "open-ended spanner")),
    "paint brush": (("paint brush", "paintbrush", "flat brush"), ("decorator's brush", "varnish brush")),
    "die": (("die", "dice", "playing die"), ("gaming cube", "number cube")),
    "rubber duck": (("rubber duck", "toy duck", "bath duck"), ("rubber ducky", "quacking bath toy")),
    "stacking rings": (("stacking rings", "ring stacker", "ring tower"), ("ring pyramid", "toddler's ring toy")),
    "pencil": (("pencil", "wooden writing pencil", "lead pencil"), ("graphite writer", "sketching stick")),
    "ruler": (("ruler", "measuring ruler", "straight ruler"), ("straightedge", "measuring stick")),
    "toothpaste": (("toothpaste", "tube of toothpaste", "toothpaste tube"), ("dental paste", "dental cream")),
    "camera": (("camera", "photo camera", "compact camera"), ("snapshot device", "point and shoot")),
    "game controller": (("game controller", "gamepad", "video game controller"), ("joypad", "console control")),
    "alarm clock": (("alarm clock", "clock", "bedside clock"), ("morning waker", "twin bell timepiece")),
    "whisk": (("whisk", "balloon whisk", "wire whisk"), ("egg beater", "batter mixer")),
    "eggplant": (("eggplant", "fresh eggplant", "purple eggplant"), ("aubergine", "brinjal")),
    "pliers": (("pliers", "pair of pliers", "flat pliers"), ("pincers", "gripping tongs")),
    "puzzle cube": (("puzzle cube", "twisty cube", "magic cube"), ("rubik's cube", "speedcube")),
}

# wider class names: name: categories
GROUPS: dict[str, tuple[str, ...]] = {
    "cup": ("mug", "tumbler"),
    "dish": ("plate", "bowl"),
    "crockery": ("mug", "bowl", "plate", "teapot"),
    "cutlery": ("spoon", "fork", "knife"),
    "fruit": ("apple", "orange", "banana", "lemon", "pear"),
    "citrus fruit": ("orange", "lemon"),
    "vegetable": ("carrot", "cucumber", "mushroom", "eggplant"),
    "snack": ("donut", "apple", "banana", "cupcake"),
    "tool": ("hammer", "screwdriver", "scissors", "wrench", "pliers"),
    "hand tool": ("hammer", "screwdriver", "wrench", "pliers"),
    "toy": ("ball", "toy car", "building block", "die", "rubber duck", "stacking rings", "puzzle cube"),
    "office supply": ("marker pen", "tape roll", "stapler", "scissors", "calculator", "pencil", "ruler"),
    "electronic device": (
        "mobile phone",
        "remote control",
        "computer mouse",
        "calculator",
        "camera",
        "game controller",
    ),
    "toiletry": ("shampoo bottle", "soap bar", "toothbrush", "toothpaste"),
    "drink": ("water bottle", "soda can", "juice carton", "milk carton"),
    "carton": ("milk carton", "juice carton"),
    "can": ("soda can", "food tin"),
    "glass": ("tumbler", "wine glass"),
    "bottle": ("shampoo bottle",),
    "ball": ("tennis ball",),
    "brush": ("toothbrush", "paint brush"),
    "kitchen utensil": (
        "spoon",
        "fork",
        "knife",
        "spatula",
        "frying pan",
        "rolling pin",
        "ladle",
        "cutting board",
        "whisk",
    ),
    "packaged food": ("food tin", "cereal box", "cup noodles", "jam jar"),
}
HELDOUT_GROUPS: dict[str, tuple[str, ...]] = {
    "tableware": ("mug", "bowl", "plate", "tumbler", "teapot", "wine glass", "spoon", "fork", "knife", "jug"),
    "silverware": ("spoon", "fork", "knife"),
    "orchard fruit": ("apple", "pear"),
    "produce": ("apple", "orange", "banana", "lemon", "carrot", "pear", "cucumber", "mushroom", "eggplant"),
    "plaything": ("ball", "toy car", "building block", "die", "rubber duck", "stacking rings", "puzzle cube"),
    "stationery": ("marker pen", "tape roll", "stapler", "scissors", "calculator", "pencil", "ruler"),
    "gadget": ("mobile phone", "remote control", "computer mouse", "calculator", "camera", "game controller"),
    "workshop equipment": ("hammer", "screwdriver", "wrench", "pliers"),
    "bathroom article": ("shampoo bottle", "soap bar", "toothbrush", "toothpaste"),
    "beverage": ("water bottle", "soda can", "juice carton", "milk carton"),
    "groceries": ("food tin", "cereal box", "cup noodles", "jam jar", "milk carton", "juice carton"),
}

# printed labels: category: templates in training, templates held out
LABELS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "juice carton": (
        (
            "{flavour} juice",
            "carton of {flavour} juice",
            "{brand} juice",
            "{brand} {flavour} juice",
            "carton with a picture of {flavour}",
        ),
        ("{flavour} flavoured drink", "nectar with {flavour}"),
    ),
    "milk carton": (("{flavour} milk", "carton of {flavour} milk"), ("{flavour} dairy drink",)),
    "soda can": (
        ("{flavour} soda", "can of {flavour} soda", "{brand} can", "{brand} {flavour}"),
        ("fizzy {flavour}", "{flavour} pop"),
    ),
    "food tin": (
        ("canned {flavour}", "tin of {flavour}", "can of {flavour}"),
        ("preserved {flavour}", "{flavour} conserve"),
    ),
    "cereal box": (
        ("{flavour} cereal", "{brand} cereal", "{brand} {flavour}", "box of {flavour} flakes"),
        ("{flavour} muesli",),
    ),
    "cup noodles": (("{flavour} noodles", "cup noodles with {flavour}", "{flavour} noodle soup"), ("{flavour} ramen",)),
    "water bottle": (("{brand} water", "bottle of {brand}"), ("{brand} flask",)),
    "jam jar": (("{flavour} jam", "jar of {flavour} jam"), ("{flavour} marmalade",)),
    "mug": (("mug with a {motif}", "{motif} mug"), ("cup decorated with a {motif}",)),
    "donut": (
        ("donut with {color2} sprinkles", "{color} donut with {color2} sprinkles"),
        ("pastry topped with {color2} bits",),
    ),
    "book": (
        ("book about {brand}", "{brand} book", "book with a {motif} on the cover"),
        ("{brand} novel", "volume on {brand}"),
    ),
    "shampoo bottle": (
        ("{flavour} shampoo", "{brand} shampoo", "shampoo with {flavour} scent"),
        ("{flavour} hair wash",),
    ),
    "toothpaste": (
        ("{flavour} toothpaste", "{brand} toothpaste", "toothpaste with {flavour} taste"),
        ("{flavour} dental paste",),
    ),
}

# what carries the second colour where no pattern does
DETAILS: dict[str, str] = {
    "water bottle": "label", "cereal box": "side stripe", "milk carton": "top", "juice carton": "bottom stripe",
    "frying pan": "handle", "spatula": "handle", "jam jar": "lid", "book": "stripe", "remote control": "button",
    "battery": "end", "flower pot": "flower", "shampoo bottle": "cap", "sponge": "scouring layer",
    "toothbrush": "row of bristles", "screwdriver": "striped grip", "rolling pin": "pair of handles",
    "ladle": "handle", "cupcake": "paper cup", "flashlight": "ring", "die": "dot pattern", "rubber duck": "beak",
    "stacking rings": "ring", "pencil": "eraser", "toothpaste": "cap", "camera": "front",
    "game controller": "set of buttons", "alarm clock": "pair of bells",
}  # fmt: skip
PATTERNS = {
    "striped": "{color2} stripes",
    "dotted": "{color2} dots",
    "checked": "{color2} checks",
    "banded": "a {color2} stripe",
}

# adjectives that differ from the material's name ('' where nobody says it)
MATERIAL_WORDS = {"wood": "wooden", "organic": "", "paper": "", "wax": ""}
# only the handle has the object's colour and material
HANDLED = ("hammer", "knife", "scissors", "paint brush", "whisk", "pliers")
# names of what is inside: nobody calls it by the material of its package
CONTENTS = frozenset({
    "milk", "juice", "cereal", "shampoo", "drink", "beverage", "groceries", "snack", "toiletry", "conserve",
    "canned food", "preserved food", "packaged food", "soft drink", "fizzy drink", "fruit drink", "dairy drink",
    "breakfast cereal", "bottle of water", "mineral water", "hair wash", "hair care product", "bathroom article",
    "can of soda", "tin of food", "carton of milk", "carton of juice", "box of cereal", "jar of jam", "pot of tea",
    "bottle of shampoo", "toothpaste", "tube of toothpaste", "dental paste", "dental cream",
})  # fmt: skip

ABSENT = (
    "giraffe", "sofa", "violin", "umbrella", "elephant", "bicycle", "piano", "laptop computer", "television",
    "helicopter", "dog", "cat", "horse", "goldfish", "parrot", "snake", "penguin", "butterfly", "crocodile",
    "kangaroo", "chair", "table lamp", "bookshelf", "mattress", "curtain", "carpet", "wardrobe", "mirror",
    "ladder", "door", "guitar", "drum kit", "trumpet", "flute", "accordion", "harp", "saxophone", "microphone",
    "headphones", "loudspeaker", "airplane", "submarine", "tractor", "motorcycle", "sailing boat", "rocket",
    "train", "skateboard", "surfboard", "canoe", "shirt", "trousers", "leather boots", "necktie", "winter scarf",
    "baseball cap", "wedding dress", "wool socks", "handbag", "backpack", "wrist watch", "diamond ring",
    "pearl necklace", "sunglasses", "hair dryer", "vacuum cleaner", "washing machine", "refrigerator",
    "microwave oven", "toaster", "pizza", "hamburger", "sushi", "pineapple", "watermelon", "broccoli", "cheese",
    "fried chicken", "ice cream cone", "chess board", "playing cards", "teddy bear", "kite", "tennis racket",
    "golf club", "bowling pin", "telescope", "globe", "fire extinguisher", "traffic cone", "shovel", "chainsaw",
    "lawn mower", "wheelchair", "syringe", "stethoscope", "something to ride to work", "something to sleep on",
    "an instrument with strings", "something to keep the rain off", "something to wear on my feet",
    "something to water the lawn with", "an animal with a long neck", "something to see far away stars",
    "something to cut the grass with", "something to fly in", "something to iron shirts with", "a pet that barks",
)  # fmt: skip
