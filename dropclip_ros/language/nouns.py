# SPDX-License-Identifier: Apache-2.0
"""Names of what stands on tables, for mending misspelt words. No thing needs to be in here."""

from __future__ import annotations


def words_of(text: str) -> frozenset[str]:
    """The words of a table."""
    return frozenset(text.split())


NOUNS = words_of(
    """
    apple apricot avocado banana berry blueberry cherry coconut fig fruit grape grapefruit kiwi lemon lime mango melon
    nectarine orange peach pear pineapple plum raspberry strawberry tangerine mandarin watermelon
    asparagus bean beetroot broccoli cabbage carrot cauliflower celery corn cucumber eggplant garlic ginger leek lettuce
    mushroom onion pea pepper potato pumpkin radish salad spinach tomato turnip vegetable zucchini
    bagel biscuit bread brownie butter cake candy cereal cheese chip chocolate coffee cookie cracker croissant cupcake
    donut doughnut egg flour ham honey jam jelly juice ketchup lollipop margarine marmalade mayonnaise meat milk muesli
    muffin mustard noodle nut oil pancake pasta pastry pizza popcorn pretzel ramen rice salt sandwich sauce sausage
    snack soda soup spice steak sugar sushi syrup tea toast tofu tuna vinegar waffle water wine yogurt yoghurt
    bag barrel basin basket beaker bin bottle bowl box bucket can canister carafe carton case chest container crate
    cup dish flask glass goblet holder jar jug kettle mug pan pitcher plate platter pot rack saucer skillet teacup
    teapot thermos tin tray tub tube tumbler vase wok
    blade chopstick colander corkscrew cutlery fork grater knife ladle mortar opener peeler sieve skewer spatula spoon
    strainer tablespoon teaspoon tongs utensil whisk crockery tableware silverware lid cork straw napkin coaster
    tablecloth blender mixer microwave oven toaster
    book calculator calendar card clip crayon envelope eraser file folder glue highlighter ink label letter magazine
    marker newspaper notebook notepad novel paper paperclip pen pencil pin ruler scissors sharpener sheet stamp stapler
    staple sticker tape
    adapter alarm battery bulb cable camera charger clock computer controller disk earphone flashlight gadget headphone
    headset keyboard lamp laptop light microphone monitor mouse phone plug printer radio remote screen smartphone
    speaker tablet telephone television torch watch
    axe bolt brush chisel clamp drill drills file hammer hook key level lock mallet nail nut padlock plane pliers rope
    saw screw screwdriver shears spanner tool toolbox wire wrench
    aubergine brinjal champignon cola lego pop gamepad joypad flakes
    ball block brick car cube dice die doll duck figure game kite marble plane puzzle puppet robot rubik teddy top toy
    train truck yoyo dinosaur bear dog cat horse
    bandage brush comb cosmetics cotton cream deodorant hairbrush hairdryer lipstick lotion mirror perfume razor shampoo
    soap sponge tissue toiletry toothbrush toothpaste towel
    belt bracelet cap clothes coat coin glove hat helmet jacket necklace purse ring scarf shirt shoe slipper sock
    sunglasses tie umbrella wallet
    candle curtain cushion flower flowerpot frame jewel ornament picture pillow plant statue succulent
    lightbulb sink stove fridge fireplace window door wall sofa chair carpet mat rug stool cupboard cabinet laundry
    kettle laptop sister brick cloth poster trowel cutting clothespin pin jigsaw lego vinyl cassette recorder guitar
    drink beverage food meal breakfast lunch dinner dessert handle label logo stripe dot spout stem rim button string
    pile stack edge corner side row pair piece slice roll bar pack package packet stick board table desk shelf
    """
)
PARTS = words_of(  # of things: "the mug with a handle" is said of one thing
    """
    handle stripe dot check spot button lid spout cap label logo pattern picture print drawing stem rim edge end top
    bottom side base foot leg wheel blade tip point brim band ring cork straw flower petal beak bell sprinkle frosting
    icing glaze topping bubble lens screen display key text letter writing word number name image photo face eye ear
    nose tail head hair cover page hole slot string cable cord cord plug light bulb brush bristle prong tine stud
    segment vitamin stripe line star heart motif design decoration texture crack dent scratch stain rust zipper pocket
    strap hook loop knob switch dial antenna grip collar sleeve seed peel skin leaf stalk core crust filling wrapper
    wrapping packaging tag sticker flag colour color shade tint neck shoulder body panel frame hinge trigger front back
    layer scent taste flavour flavor aroma fragrance wick icon stitching edging trim
    """
)
PIECES = words_of(  # "the handle of the mug" is none of the things on the table
    """
    handle lid cap top bottom side edge end corner rim tip stem spout base leg back front middle half surface label face
    neck mouth opening inside outside blade head foot arm wheel button screen cover shadow colour color size owner logo
    center centre part edge underside nose eye ear tail wing sleeve collar strap peel skin core cable cord string
    """
)
IRREGULAR = {  # plural: singular
    "knives": "knife",
    "mice": "mouse",
    "leaves": "leaf",
    "loaves": "loaf",
    "halves": "half",
    "shelves": "shelf",
    "wolves": "wolf",
    "teeth": "tooth",
    "geese": "goose",
    "feet": "foot",
    "people": "person",
    "men": "man",
    "women": "woman",
    "children": "child",
    "potatoes": "potato",
    "tomatoes": "tomato",
    "mangoes": "mango",
    "toothbrushes": "toothbrush",
    "cacti": "cactus",
    "movies": "movie",
    "cookies": "cookie",
    "brownies": "brownie",
    "ties": "tie",
    "pies": "pie",
    "axes": "axe",
    "vases": "vase",
    "cases": "case",
    "phones": "phone",
    "cubes": "cube",
    "tubes": "tube",
    "shoes": "shoe",
    "slices": "slice",
    "dice": "die",
}
PAIRED = words_of(  # one thing, though it ends in s
    "scissors pliers tongs shears tweezers sunglasses glasses headphones earphones goggles pants jeans trousers shorts "
    "binoculars clippers pincers cosmetics clothes groceries cornflakes noodles stairs series news gymnastics lens "
    "pajamas contents chips utensils' swiss bus gas plus canvas atlas cactus christmas lotus citrus asparagus hibiscus "
    "molasses hummus couscous species iris chess compass"
)
