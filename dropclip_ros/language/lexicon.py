# SPDX-License-Identifier: Apache-2.0
"""Words that the grammar knows, as data: what they mean, not how they follow each other (`grammar.py`)."""

from __future__ import annotations

from dropclip_ros.language.nouns import words_of

DETERMINERS = words_of("the a an this that these those its my your our their his her whichever")
DEFINITE = words_of("the this that these those")
PLURAL_DETERMINERS = frozenset(("these", "those"))
INDEFINITE = words_of("a an any some either")
EVERY = words_of("all every each")
NUMBERS = {
    **{"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10},
    **{"eleven": 11, "twelve": 12},
}
NUMBERS |= {str(k): k for k in range(2, 21)} | {"couple": 2, "both": 2, "pair": 2, "dozen": 12}
ORDINALS = {
    **{"first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8},
    **{"ninth": 9, "tenth": 10},
}
ORDINALS |= {"1st": 1, "2nd": 2, "3rd": 3} | {f"{k}th": k for k in range(4, 21)}
NOTHING = words_of(  # names of anything
    "thing things object objects one ones item items something anything everything stuff entity thingy thingie "
    "doohickey"
)
PURPOSES = words_of("shaped which that who for to used useful good meant intended suitable")  # PURPOSE may begin
PRONOUNS = {"it": None, "them": "all", "itself": None, "themselves": "all"}
VIEWERS = words_of("me us you camera viewer robot myself yourself observer gripper here")
SURFACES = words_of("table desk tabletop table-top counter countertop surface worktop workbench bench floor")
FIELDS = SURFACES | words_of(
    "image picture photo scene view frame row line group pile bunch workspace shelf stack tower heap"
)
THINGY = words_of("thingy thingie doohickey thing")
CONTAINERS = words_of(
    "bowl box basket bag bin bucket cup mug glass drawer pan pot jar tin tray crate carton can vase case basin"
)

COLOURS = words_of(
    "red green blue yellow orange purple violet pink brown black white gray grey silver gold golden beige turquoise "
    "cyan magenta navy teal maroon cream tan olive lime bronze copper crimson scarlet ivory khaki lilac indigo "
    "transparent clear colourful colorful multicolored multicoloured reddish greenish bluish yellowish brownish"
)
SHADES = words_of("dark light bright pale deep neon pastel")
MATERIALS = words_of(
    "wooden wood metal metallic plastic glass ceramic porcelain paper cardboard rubber leather steel aluminium "
    "aluminum stone clay cloth fabric cotton woolen silicone iron brass copper wax foam felt silver stainless tin "
    "bamboo straw woven knitted wicker"
)
SIZES = words_of(
    "big large huge giant small little tiny mini miniature tall short long wide narrow thick thin slim fat high low "
    "medium mid average oversized massive enormous"
)
STATES = words_of(
    "round square rectangular oval circular flat curved cylindrical spherical triangular hollow pointed sharp blunt "
    "striped spotted dotted checkered chequered plain patterned shiny matte glossy smooth rough fluffy fuzzy soft hard "
    "open opened closed empty full half-full filled broken cracked chipped clean dirty used new old wet dry fresh ripe "
    "unripe raw cooked peeled unpeeled sliced whole folded crumpled rolled upright standing fallen overturned tipped "
    "upside-down stacked electric cordless disposable reusable sealed unopened squishy edible healthy sweet sour "
    "salty spicy frozen canned bottled colored coloured sized shaped handmade decorated labelled labeled half-empty "
    "bent crooked dented rusty sticky stemmed handled lidded capped uncapped tiny-sized"
)
UNTOLD = words_of(  # states that features do not tell one of a kind from the next by
    "open opened closed broken cracked chipped clean dirty used new old wet dry fresh ripe unripe raw cooked"
    " burnt burned "
    "hollow sealed unopened full empty filled half-full half-empty sharp blunt sticky edible sweet sour frozen damaged "
    "undamaged scratched stained melted rotten torn mouldy stale"
)
ADJECTIVES = COLOURS | SHADES | MATERIALS | SIZES | STATES | UNTOLD

BEFORE = {  # words before a noun that order what fits: (by, direction)
    **dict.fromkeys(("leftmost", "left", "left-most", "left-hand", "lefthand"), ("left", "most")),
    **dict.fromkeys(("rightmost", "right", "right-most", "right-hand", "righthand"), ("right", "most")),
    **dict.fromkeys(("nearest", "closest", "nearer", "closer", "near"), ("near", "most")),
    **dict.fromkeys(("farthest", "furthest", "farther", "further", "far", "farthermost"), ("far", "most")),
    **dict.fromkeys(("front", "frontmost", "foremost", "front-most"), ("front", "most")),
    **dict.fromkeys(("back", "rear", "rearmost", "backmost", "hindmost", "back-most"), ("back", "most")),
    **dict.fromkeys(("biggest", "largest", "bigger", "larger", "greatest", "hugest"), ("size", "most")),
    **dict.fromkeys(("smallest", "smaller", "tiniest", "littlest", "tinier"), ("size", "least")),
    **dict.fromkeys(("tallest", "taller"), ("height", "most")),
    **dict.fromkeys(("shortest", "shorter"), ("height", "least")),
    **dict.fromkeys(("longest", "longer"), ("length", "most")),
    **dict.fromkeys(("widest", "wider", "broadest", "broader"), ("width", "most")),
    **dict.fromkeys(("narrowest", "narrower"), ("width", "least")),
    **dict.fromkeys(("thickest", "thicker", "fattest", "fatter"), ("thickness", "most")),
    **dict.fromkeys(("thinnest", "thinner", "slimmest", "slimmer", "flattest", "flatter"), ("thickness", "least")),
    **dict.fromkeys(("topmost", "top", "uppermost", "highest", "upper", "higher"), ("top", "most")),
    **dict.fromkeys(("bottommost", "bottom", "lowest", "lowermost", "lower"), ("bottom", "most")),
    **dict.fromkeys(("middle", "central", "center", "centre", "centermost", "middlemost"), ("middle", "most")),
}
CORNERS = {  # two words before a noun that order by both
    f"{first}{hand} {side}": f"{end}_{side}"
    for end, words in (("front", "front bottom lower near"), ("back", "back rear top upper"))
    for first in words.split()
    for hand in ("", "most")
    for side in ("left", "right")
}
TWICE = words_of("most very far further furthest farthest extreme immediate")  # "far left", "most left"
SUPERLATIVES = frozenset(word for word in BEFORE if word.endswith("st"))
NOT_SUPERLATIVES = words_of(
    "chest nest forest vest test guest west east rest best-seller toast roast crust dust list wrist twist waist paste "
    "priest breast harvest honest interest contest request quest pest zest"
)

# What only the speaker knows, or no camera sees.
UNSEEN = words_of(
    "heaviest lightest heavier lighter hottest coldest warmest hotter colder warmer cheapest cheaper expensive "
    "valuable oldest older newest newer youngest best better worst worse prettiest nicest ugliest cutest tastiest "
    "healthiest strongest favourite favorite yesterday tomorrow tonight ago earlier previously recently fullest "
    "emptiest cleanest dirtiest sweetest freshest ripest softest hardest sharpest brightest darkest loudest "
    "fastest safest most-used smells smell smelly stinks sounds noisy ticking loud heard expired owner's penultimate "
    "popular heavy ugly cute beautiful important calories weighs weight belongs belonged bought owns prefer preferred "
    "charged uncharged working functioning nonfunctional poisonous allergic genuine fake magnetic waterproof"
    " lucky stolen "
    "borrowed unused vegan organic delicious tasty warm cold hot comfortable dangerous germs broken-down"
)
KIN = words_of(
    "mom mum dad mother father brother sister wife husband son daughter friend boss neighbour neighbor grandma grandpa "
    "girlfriend boyfriend roommate colleague teacher guest somebody someone nobody"
)
BARE = words_of(
    "and or but not nor if is are was be has have do does of to from by at with without for than very so as ,"
)
COMMANDS = (  # whole phrases without anything that they are about
    *words_of(
        "hello hi hey stop wait go yes no ok okay thanks please help nothing undo continue start goodbye bye sit"
    ),
    *words_of("cancel again what who the a an none robot move look"),
    *("thank you", "help me", "never mind", "good morning", "good evening", "come here", "go home", "go away"),
    *("left", "right", "up", "down", "there", "here", "left or right", "faster", "slower", "next", "back", "more"),
    *("be quiet", "none of them", "i do not know", "well done", "good job", "hello robot", "hey robot", "turn around"),
)
FRACTIONS = (
    r"\ball (?:but|except) (?:one|two|three|four|a few)\b(?= ?$| of\b)|"
    r"\b(?:half|a third|a few|several|a lot|lots|a bunch|a quarter|two thirds|most|much|part|some percent|\w+ "
    r"percent|a few|few|many|several) of\b|"
    r"\bhalf (?=the|my)|^(?:the )?(?:a few|few|several|many) |\bby itself\b|\bon (?:its|their) own\b|"
    r"\b\d+ ?(?:cm|mm|m|inch|inches|feet|centimet(?:er|re)s?|met(?:er|re)s?)\b|^(?:zero|0|no|none)(?= |$)|on the "
    r"other side of|the opposite side of"
)
QUESTIONS = (
    *(
        "what is that",
        "what is this",
        "what is it",
        "how many",
        "how much",
        "how are",
        "how do",
        "how long",
        "how far",
        "how old",
        "why",
        "when is",
        "who is",
    ),
    *("who are", "who", "what time", "what color", "what colour", "what day", "what are you", "what do you", "when"),
    *("what is the weather", "what is your", "tell me", "sing", "dance", "count", "explain", "say something"),
)
