# SPDX-License-Identifier: Apache-2.0
"""What people call the objects: tables only, `phrases.py` combines them.

Rows name the categories that a phrase fits, known ones and held-out ones alike. Whatever stands in a HELDOUT table is
never shown to training, so that tests with it measure understanding rather than memory.
"""
from __future__ import annotations

# category: (class names used in training, class names held out)
NOUNS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "mug": (("mug", "coffee mug", "coffee cup", "tea mug"), ("teacup", "cup with a handle")),
    "bowl": (("bowl", "soup bowl", "salad bowl"), ("cereal bowl", "basin")),
    "plate": (("plate", "dinner plate", "flat dish"), ("serving platter", "saucer")),
    "tumbler": (("tumbler", "drinking glass", "water glass"), ("highball glass", "beaker")),
    "water bottle": (("water bottle", "bottle", "plastic bottle", "bottle of water"), ("drinking flask", "mineral water")),
    "soda can": (("soda can", "can of soda", "drink can", "soft drink"), ("beverage can", "fizzy drink")),
    "food tin": (("food tin", "tin can", "canned food", "tin of food"), ("preserved food", "conserve")),
    "cereal box": (("cereal box", "cereal", "box of cereal", "breakfast cereal"), ("carton of cornflakes", "muesli pack")),
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
}

# wider class names: name: categories
GROUPS: dict[str, tuple[str, ...]] = {
    "cup": ("mug", "tumbler"),
    "dish": ("plate", "bowl"),
    "crockery": ("mug", "bowl", "plate", "teapot"),
    "cutlery": ("spoon", "fork", "knife"),
    "drink": ("water bottle", "soda can", "juice carton", "milk carton"),
    "carton": ("milk carton", "juice carton"),
    "can": ("soda can", "food tin"),
    "kitchen utensil": ("spoon", "fork", "knife", "spatula", "frying pan"),
    "packaged food": ("food tin", "cereal box", "cup noodles", "jam jar"),
}
HELDOUT_GROUPS: dict[str, tuple[str, ...]] = {
    "tableware": ("mug", "bowl", "plate", "tumbler", "teapot", "wine glass", "spoon", "fork", "knife"),
    "silverware": ("spoon", "fork", "knife"),
    "beverage": ("water bottle", "soda can", "juice carton", "milk carton"),
    "groceries": ("food tin", "cereal box", "cup noodles", "jam jar", "milk carton", "juice carton"),
}

AFFORDANCES: dict[str, tuple[str, ...]] = {
    "something to drink from": ("mug", "tumbler", "wine glass"),
    "something to drink coffee from": ("mug",),
    "I want to drink some tea": ("mug",),
    "a container for a hot drink": ("mug", "teapot"),
    "something to hold by its handle and sip from": ("mug",),
    "something to eat soup from": ("bowl",),
    "something to mix a salad in": ("bowl",),
    "a container to eat cereal from": ("bowl",),
    "something to serve porridge in": ("bowl",),
    "something to put a steak on": ("plate",),
    "something to serve a slice of cake on": ("plate",),
    "a flat thing to serve dinner on": ("plate",),
    "something to serve food on": ("plate",),
    "something to pour cold water into": ("tumbler",),
    "a vessel for a cold drink": ("tumbler", "wine glass"),
    "something to drink lemonade from": ("tumbler",),
    "something to carry water in": ("water bottle",),
    "a drink to take on a hike": ("water bottle",),
    "something to stay hydrated": ("water bottle",),
    "I am thirsty": ("water bottle", "soda can", "juice carton", "milk carton"),
    "something with a cap to unscrew": ("water bottle", "jam jar"),
    "something sweet and fizzy to drink": ("soda can",),
    "a cold drink with bubbles": ("soda can",),
    "a drink to open with a tab": ("soda can",),
    "food that keeps for years": ("food tin",),
    "something to open with a can opener": ("food tin",),
    "food to store in the pantry": ("food tin", "cereal box", "cup noodles"),
    "an ingredient for a stew": ("food tin",),
    "something to eat for breakfast": ("cereal box",),
    "something to pour milk over": ("cereal box",),
    "something crunchy for the morning": ("cereal box",),
    "something to pour over cereal": ("milk carton",),
    "something to put in coffee": ("milk carton",),
    "a drink that comes from cows": ("milk carton",),
    "something white to drink": ("milk carton",),
    "a drink made of fruit": ("juice carton",),
    "a sweet drink for children": ("juice carton",),
    "a drink full of vitamins": ("juice carton",),
    "a quick meal that needs hot water": ("cup noodles",),
    "a meal ready in three minutes": ("cup noodles",),
    "something savoury to eat from a paper cup": ("cup noodles",),
    "something to fry eggs in": ("frying pan",),
    "something to cook pancakes in": ("frying pan",),
    "something to put on the stove": ("frying pan",),
    "something to sear meat in": ("frying pan",),
    "something to eat soup with": ("spoon",),
    "something to stir tea with": ("spoon",),
    "something to scoop sugar with": ("spoon",),
    "a utensil to eat yogurt with": ("spoon",),
    "something to eat pasta with": ("fork",),
    "something to pick up food with": ("fork",),
    "a utensil to twirl spaghetti": ("fork",),
    "a utensil with prongs": ("fork",),
    "something to cut with": ("knife",),
    "something to slice bread with": ("knife",),
    "something to chop vegetables with": ("knife",),
    "something sharp": ("knife",),
    "something to brew tea in": ("teapot",),
    "something to pour tea from": ("teapot",),
    "something to drink wine from": ("wine glass",),
    "something to flip pancakes with": ("spatula",),
    "something to spread on bread": ("jam jar",),
}
HELDOUT_AFFORDANCES: dict[str, tuple[str, ...]] = {
    "pass me a vessel for espresso": ("mug",),
    "where my cocoa should go": ("mug",),
    "it holds ramen broth or oatmeal": ("bowl",),
    "used for tossing lettuce": ("bowl",),
    "what a waiter brings the main course on": ("plate",),
    "used to present sandwiches": ("plate",),
    "pour my iced drink in this": ("tumbler",),
    "used for serving tap water to a guest": ("tumbler",),
    "quench thirst after jogging": ("water bottle",),
    "refill it at the gym": ("water bottle",),
    "carbonated refreshment": ("soda can",),
    "I fancy a pop": ("soda can",),
    "long lasting supplies for an emergency": ("food tin",),
    "sealed in metal and ready to heat": ("food tin",),
    "morning flakes": ("cereal box",),
    "what kids have before school": ("cereal box",),
    "source of calcium": ("milk carton",),
    "needed for a latte": ("milk carton",),
    "squeezed from fruits": ("juice carton",),
    "a healthy sip with vitamin C": ("juice carton",),
    "a student's instant supper": ("cup noodles",),
    "just add boiling water and eat": ("cup noodles",),
    "make an omelette": ("frying pan",),
    "used for browning onions": ("frying pan",),
    "helps me have my broth": ("spoon",),
    "used for stirring": ("spoon",),
    "stab a meatball with it": ("fork",),
    "used for eating noodles and salad": ("fork",),
    "dice the onions": ("knife",),
    "used for carving a roast": ("knife",),
    "steep the leaves in it": ("teapot",),
    "used for pouring an afternoon brew": ("teapot",),
    "used for tasting merlot": ("wine glass",),
    "toast with champagne": ("wine glass",),
    "turn the burger over": ("spatula",),
    "used for lifting fried eggs": ("spatula",),
    "sweet topping for toast": ("jam jar",),
    "what you smear on a scone": ("jam jar",),
}

# facts about every member of a category, in the words of somebody who does not name it
FACTS: dict[str, tuple[str, ...]] = {
    "flat round thing": ("plate",),
    "aluminium can": ("soda can",),
    "shiny eating utensil": ("spoon", "fork"),
    "thing with a sharp blade": ("knife",),
    "tall box with a picture of food": ("cereal box",),
    "open round container": ("bowl",),
    "thing with a long handle": ("frying pan",),
}
HELDOUT_FACTS: dict[str, tuple[str, ...]] = {
    "shallow circular disc": ("plate",),
    "cardboard package with food printed on it": ("cereal box",),
    "deep circular container": ("bowl",),
    "round cookware with a handle": ("frying pan",),
}

# printed labels: category: templates in training, templates held out
LABELS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "juice carton": (("{flavour} juice", "carton of {flavour} juice", "{brand} juice", "{brand} {flavour} juice",
                      "carton with a picture of {flavour}"), ("{flavour} flavoured drink", "nectar with {flavour}")),
    "milk carton": (("{flavour} milk", "carton of {flavour} milk", "milk with {flavour} taste"), ("{flavour} dairy drink",)),
    "soda can": (("{flavour} soda", "can of {flavour} soda", "{brand} can", "{brand} {flavour}"), ("fizzy {flavour}", "{flavour} pop")),
    "food tin": (("canned {flavour}", "tin of {flavour}", "{flavour} can"), ("preserved {flavour}", "{flavour} conserve")),
    "cereal box": (("{flavour} cereal", "{brand} cereal", "{brand} {flavour}", "box of {flavour} flakes"), ("{flavour} muesli",)),
    "cup noodles": (("{flavour} noodles", "cup noodles with {flavour}", "{flavour} noodle soup"), ("{flavour} ramen",)),
    "water bottle": (("{brand} water", "bottle of {brand}"), ("{brand} flask",)),
    "jam jar": (("{flavour} jam", "jar of {flavour} jam"), ("{flavour} marmalade",)),
    "mug": (("mug with a {motif}", "{motif} mug"), ("cup decorated with a {motif}",)),
}  # fmt: skip

# what carries the second colour where no pattern does
DETAILS: dict[str, str] = {
    "water bottle": "label", "cereal box": "side stripe", "milk carton": "top", "juice carton": "bottom stripe",
    "frying pan": "handle", "spatula": "handle", "jam jar": "lid",
}  # fmt: skip
PATTERNS = {"striped": "{color2} stripes", "dotted": "{color2} dots", "checked": "{color2} checks", "banded": "a {color2} stripe"}

# one row each: adjective for a material ('' where nobody says it)
MATERIAL_WORDS = {"wood": "wooden", "organic": "", "paper": "paper", "wax": ""}

ABSENT = (
    "giraffe", "sofa", "violin", "umbrella", "elephant", "bicycle", "piano", "laptop computer", "television", "helicopter",
    "dog", "cat", "horse", "goldfish", "parrot", "snake", "penguin", "butterfly", "crocodile", "kangaroo",
    "chair", "table lamp", "bookshelf", "mattress", "curtain", "carpet", "wardrobe", "mirror", "ladder", "door",
    "guitar", "drum kit", "trumpet", "flute", "accordion", "harp", "saxophone", "microphone", "headphones", "loudspeaker",
    "airplane", "submarine", "tractor", "motorcycle", "sailing boat", "rocket", "train", "skateboard", "surfboard", "canoe",
    "shirt", "trousers", "leather boots", "necktie", "winter scarf", "baseball cap", "wedding dress", "wool socks", "handbag", "backpack",
    "wrist watch", "diamond ring", "pearl necklace", "sunglasses", "hair dryer", "vacuum cleaner", "washing machine", "refrigerator",
    "microwave oven", "toaster", "pizza", "hamburger", "sushi", "pineapple", "watermelon", "broccoli", "cheese", "fried chicken",
    "ice cream cone", "chess board", "playing cards", "teddy bear", "kite", "tennis racket", "golf club", "bowling pin",
    "telescope", "globe", "fire extinguisher", "traffic cone", "shovel", "chainsaw", "lawn mower", "wheelchair", "syringe", "stethoscope",
    "something to ride to work", "something to sleep on", "something to play music on", "something to keep the rain off",
    "something to wear on my feet", "something to watch films on", "an animal with a long neck", "something to see far away stars",
    "something to hang on the wall", "something to fly in", "something to tell the time", "a pet that barks",
)  # fmt: skip
