# SPDX-License-Identifier: Apache-2.0
"""Names of what is not on the named real frames (../shared/named).

FOREIGN: things that no data of ours contains and no frame shows. OTHER: for each frame, names that the model was
trained on and that are not in it, checked by eye. Of either list every second one chooses (`half`), the rest is
reported by `benchmarks.path.names`.
"""

from collections.abc import Sequence

_FOREIGN = """
a bicycle pump; a potted plant; a violin case; a pair of shoes; a folding umbrella; a hair dryer; a pizza; a trombone;
a tennis racket; a cowboy hat; a birthday card; a candle holder; a compass; a doorknob; a dreamcatcher; a fishing rod;
a garden gnome; a gas mask; a hand grenade; a harmonica; a hockey puck; a horseshoe; a hot water bottle; an hourglass;
an ice skate; a jewelry box; a kettlebell; a keychain; a knitting needle; a lampshade; a license plate; a lobster; a
mail envelope; a maraca; a mousetrap; a nail clipper; a necklace; an oar; an oil lamp; a paper airplane; a parachute;
a passport; a pepper mill; a perfume bottle; a phone charger; a photo frame; a piggy bank; a pillow; a pine cone; a
pocket watch; a pretzel; a pumpkin; a razor; a rope; a saddle; a sandal; a seashell; a sewing machine; a shower head;
a skull; a sleeping bag; a sock; a spinning top; a statue; a stethoscope bag; a suitcase; a sushi roll; a sword; a
tambourine; a teddy bear; a telescope; a tent peg; a thermometer; a tie; a toaster; a toilet brush; a tombstone; a
torch of an athlete; a towel; a trophy; a turtle; a typewriter; a vacuum cleaner; a vase of flowers; a walking stick;
a wallet; a watering can; a wedding ring; a whistle; a wind chime; a wreath; a yo-yo; a zipper; an abacus; an
accordion; an acorn; an air freshener; an anchor; an arrow; a baby bottle; a backpack; a bagpipe; a bar of chocolate;
a barbell; a bathrobe; a beehive; a bell; a belt; a bird cage; a boomerang; a bow tie; a boxing glove; a bracelet; a
broom; a bucket; a butterfly net; a cactus; a car tire; a cello; a champagne flute; a cheese grater; a chess piece; a
cigar; a coconut; a coffee grinder; a corkscrew; a crown; a croissant; a crossbow; a dartboard; a diaper; a dog
collar; a drum stick; a dustpan; an electric shaver; something to play the blues on; something to pump up a tire with;
something to sleep in outdoors; something to wear on my feet; something to see the stars with; something to clean the
floor with; something to tell the temperature; something to hang on a wall; something to light a cigarette with;
something to iron a shirt with; something to blow at a football match; something to water the flowers with
"""
FOREIGN = tuple(" ".join(_FOREIGN.split()).split("; "))

# What is in a group of frames decides what is not; names are those of the generator's categories.
_OFFICE = "the hammer; the spoon; the toy car; the carrot; the scissors; the rubber duck; the frying pan; the lemon"
_YCB = "the stapler; the toothbrush; the calculator; the light bulb; the egg; the mobile phone; the ruler; the donut"
_BIN = "the mug; the fork; the calculator; the bowl; the stapler; the egg; the book; the tape roll"
_BOX = "the mug; the hammer; the fork; the stapler; the flashlight; the carrot; the bowl; the toothbrush"
_KITCHEN = "the hammer; the stapler; the scissors; the toothbrush; the calculator; the book; the toy car; the egg"
_MORE = """the hammer; the spoon; the carrot; the toothbrush; the calculator; the stapler; the light bulb; the egg;
the frying pan"""
OTHER = {
    **{f"nocs_{k}": _OFFICE for k in range(1, 7)},
    "ycbv": "the mug; the scissors; the toothbrush; the calculator; the light bulb; the egg; the spoon; the stapler",
    "morefusion": "the mug; the scissors; the banana; the hammer; the light bulb; the bowl; the spoon; the toothbrush",
    "any6d": "the scissors; the banana; the hammer; the stapler; the light bulb; the egg; the frying pan; the toy car",
    **{f"posecnn_00000{k}": _YCB for k in range(4)},
    **{f"dexnet_{k}": _BIN for k in (0, 1, 2, 4)},
    **{f"freegrasp_{k}": _BOX for k in (1, 3)},
    **{f"zed_{k}": _KITCHEN for k in (6, 7)},
}


def other(frame: str) -> tuple[str, ...]:
    """The names of OTHER for a frame; those of `training.names.more` share theirs."""
    return tuple(" ".join(OTHER.get(frame, _MORE).split()).split("; "))


def half(names: Sequence[str], reported: bool) -> tuple[str, ...]:
    """The half of a list that is reported, or the one that chooses."""
    return tuple(names[int(reported) :: 2])
