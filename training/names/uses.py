# SPDX-License-Identifier: Apache-2.0
"""What things of a name are for: our own names, and those of ImageNet's that lie on tables, benches and in kitchens.

Written for the names, without looking at what is asked of any frame. A line says of each name before the colon each
phrase after it; a name may be in several lines.
"""

_USES = """
mug, coffee mug, tea cup: something to drink coffee from; something to drink tea from; something to sip a hot drink
  from; something to have hot chocolate in; something for my morning coffee; something to hold a hot beverage
mug, coffee mug, tea cup, tumbler, goblet, beer glass: something to drink from; something to drink out of; something
  to fill with a drink; drinkware; something for when I am thirsty
tumbler, beer glass: something to drink water from; something to drink juice from; something to pour a cold drink into
goblet, red wine: something to drink wine from; something to toast with; something to serve wine in
beer glass, beer bottle: something to drink beer from; something with beer
beer bottle, wine bottle: a bottle with alcohol; something to drink at a party; something to bring to a dinner
espresso, espresso machine, coffeemaker, coffee can: something to make coffee with; something for a coffee break
bowl, soup bowl, mixing bowl: something to eat cereal from; something to eat soup from; something to put salad in;
  something to serve food in; something to mix dough in; something to put fruit in
plate: something to eat dinner from; something to serve food on; something to put a sandwich on; something to set the
  table with
plate, bowl, fork, knife, spoon, tumbler, mug: something to lay the table with; something for a meal
tray, plate rack, plate holder: something to put plates in; something to stand dishes on; something to dry dishes on
fork: something to eat pasta with; something to eat with; something to pick up food with; cutlery
spoon, wooden spoon: something to eat soup with; something to stir with; something to eat yoghurt with; cutlery;
  something to stir coffee with
knife, cleaver, letter opener: something to cut with; something to slice bread with; something sharp; something to cut
  vegetables with; something to cut meat with; cutlery
ladle: something to serve soup with; something to scoop soup with; a kitchen utensil
spatula: something to flip pancakes with; something to turn a burger with; a kitchen utensil; something to cook with
rolling pin: something to roll out dough with; something to flatten dough with; something to bake with
cutting board: something to chop vegetables on; something to cut bread on; something to slice on
frying pan, wok: something to fry eggs in; something to cook in; something to fry an egg with; something to make an
  omelet in; something to put on the stove; cookware; something to fry meat in
Dutch oven, Crock Pot, cauldron: something to cook soup in; something to boil pasta in; a cooking pot; cookware
pan lid: something to cover a pot with; something to keep the heat in
strainer: something to drain pasta with; a sieve
measuring cup, beaker: something to measure liquid with; something to measure flour with
teapot: something to brew tea in; something to pour tea from; something to make tea with; something to serve tea with
pitcher, jug, drink pitcher, water jug, milk can: something to pour water from; something to pour from; something to
  serve water in; something to serve juice in; something to water plants with; something to carry water in
water bottle, soda bottle: something to drink water from; something to take to the gym; something to take on a hike;
  something to carry a drink in; something to quench my thirst; something to keep me hydrated; a bottle with a drink
soda can, soda bottle: a soft drink; something fizzy to drink; something cold to drink; a can of cola; a beverage;
  something to drink with a burger
juice carton: something with vitamins to drink; something to drink for breakfast; something made of fruit to drink; a
  beverage; a soft drink
milk carton: something to pour over cereal; something to put into coffee; something to drink for breakfast; dairy;
  something from a cow
whiskey jug, cocktail shaker: something to mix drinks with; something with liquor
corkscrew, can opener: something to open a bottle with; something to open a can with
coffee can: something with caffeine; something to brew; something to wake me up in the morning; coffee powder
cracker box: something crunchy to eat; a box with snacks; something to eat with cheese; a salty snack to share; a dry
  snack; something to nibble on
cereal box: something to eat for breakfast; something to pour milk over; a box with cereal; corn flakes; muesli;
  granola
sugar box: something to make a cake with; something sweet for tea; something to sweeten coffee; something sweet to
  bake with; something to put into coffee
pudding box, gelatin box: something to make a sweet dish with; something to cook a dessert from; powder for a dessert;
  something to serve after dinner; a baking ingredient
soup can: something to warm for dinner; something to heat in a pot; something to eat when it is cold outside; canned
  food; a tin of soup; a meal from a can; something to cook for lunch
tuna can: fish in a can; canned food; something to put on a sandwich; seafood; something with protein to eat; tinned
  fish
meat can: meat in a tin; canned food; something to put on a sandwich; something to slice for a sandwich; something
  with protein to eat; canned ham
food tin, coffee can, soup can, tuna can, meat can, soda can: a tin; a can; a metal can; a container of metal; canned
  food
mustard bottle: something to put on a sausage; something to spread on a hot dog; something to season a sandwich with;
  a spicy sauce; something to squeeze on a burger; a condiment for a barbecue
yoghurt, sour cream: something creamy to eat; something to eat with a spoon; dairy; a milk product; something for
  breakfast
cup noodles: something to pour hot water on; instant soup; instant noodles; a quick lunch
box of cakes, cupcake, donut: a sweet snack; something sweet to eat with coffee; a dessert; a pastry; something for a
  birthday; something for my sweet tooth
egg: something to fry for breakfast; something to boil; something from a hen; something to make an omelet from
bagel, baguette, pretzel: bread; a bakery product; something to eat for breakfast; something to put butter on
pizza, burrito, hot dog, cheeseburger: fast food; something to eat for lunch; a meal
ice cream, popsicle, trifle, chocolate syrup: a dessert; something sweet and cold to eat
apple, banana, orange, pear, lemon, lime, peach, plum, strawberry, nectarine, mango, kiwi, melon, papaya, passion
  fruit, pineapple, pomegranate, grapefruit, avocado, Granny Smith apple, fig, jackfruit: a fruit; a piece of fruit;
  something healthy to eat; a healthy snack; something with vitamins; something to put in a fruit salad; something
  fresh to eat; something that grows on a plant; food; something for a snack
apple, banana, orange, pear, peach, plum, strawberry, nectarine, mango, kiwi, melon, Granny Smith apple: something
  sweet to eat; a sweet fruit; something to eat between meals; something to blend into a smoothie; something juicy to
  bite into
banana: something to peel and eat; a yellow fruit; something a monkey eats; something to eat before sports
orange, grapefruit: something to squeeze juice from; something to make juice with; a citrus fruit; something round to
  peel
lemon, lime: something sour; something to squeeze over fish; something to put in tea; something to make lemonade with;
  a citrus fruit
apple: something to bake a pie with; something a day that keeps the doctor away; something to bite into
strawberry: a berry; something to put on a cake; something to dip in chocolate
avocado: something to spread on toast
carrot, cucumber, eggplant, mushroom, asparagus, cabbage, garlic, ginger, leek, onion, bell pepper, potato, beetroot,
  tomato, zucchini, broccoli, cauliflower, artichoke, corn, corn cob, acorn squash, butternut squash: a vegetable;
  something to cook; something healthy to eat; something to put in a soup; something to put in a stew; something that
  grows in a garden; food; something for a vegetarian
carrot: something a rabbit eats; something orange to eat; something good for the eyes; something to peel
cucumber, tomato, bell pepper, cabbage: something for a salad; something to slice onto a sandwich; something to eat
  raw
tomato: something to make ketchup from; something to make pasta sauce with
potato: something to make chips from; something to mash; something to bake in foil
garlic, onion, ginger: something to season with; something with a strong smell; something that adds flavor
corn, corn cob: something to make popcorn from; something to put on a grill
salt shaker: something to season food with; something to put on fries; a spice
soap bar, soap dispenser: something to wash my hands with; something to get clean with; something for the bathroom;
  something for the sink; a toiletry
shampoo bottle, hair conditioner: something to wash my hair with; something to use in the shower; something for my
  hair; a toiletry; a cosmetic product; something for the bathroom
lotion, sunscreen, face powder, lipstick, perfume, hair spray: cosmetics; something to care for my skin; a toiletry;
  something to put on my skin; something for the bathroom
sunscreen: something to take to the beach; something against sunburn
lipstick, perfume: something to put on before a date; make-up
toothbrush, toothpaste: something to brush my teeth with; something to clean teeth with; something for oral hygiene;
  something for the bathroom; something the dentist recommends; a toiletry
toothpaste: something to squeeze onto a brush; something for fresh breath
sponge: something to wash dishes with; something to scrub a pan with; something to wipe the counter with; something to
  clean with; something to soak up water; something to wash a car with
dishcloth, paper towel, handkerchief, toilet paper, bath towel: something to dry with; something to wipe up a spill;
  something to wipe the table with; something to dry my hands with; something to blow my nose with
bleach bottle, spray bottle: something to clean with; a household cleaner; something to disinfect with; something to
  wash the floor with; something to remove stains; a cleaning agent; detergent; something poisonous; something to keep
  away from children
bleach bottle: something to whiten clothes with; something to do the laundry with
spray bottle: something to spray; something to wipe mirrors with; something to polish glass with; something to clean
  the counter with
broom, mop, vacuum cleaner, bucket: something to clean with; something to clean a room with
insect repellent: something against mosquitoes; something to take camping; something to spray on my skin
pill bottle, Band-Aid, syringe, stethoscope, medicine cabinet: medicine; something for when I am sick; something from
  a pharmacy; first aid; something a doctor uses
pill bottle: something to take against a headache; vitamins; a container with a cap
Band-Aid: something to put on a cut
hammer: something to drive a nail in; something to pound nails with; something to hit with; something to build a shelf
  with; something to break a nut with
screwdriver: something to turn screws with; something to tighten a screw with; something to fasten screws with;
  something to open a battery compartment with; something to take apart a computer with
wrench: something to tighten a bolt with; something to loosen a nut with; something to fix a pipe with; something to
  fix a bicycle with
power drill: something to drill a hole with; something to make holes in wood with; something to screw with
  electrically; something with a battery and a motor; something to put up a shelf with; something to drive screws
  with; an electric tool
clamp: something to hold two boards together; something to glue wood with; something to squeeze; something to fix a
  piece to the bench with; something to grip
hatchet, chainsaw, block plane, shovel, plunger, paintbrush: a tool; something to work with; something for the garden
tool kit, hammer, screwdriver, wrench, power drill, clamp, hatchet: a tool; something to repair things with; something
  to fix things with; something for the workshop; something for a handyman; something to build furniture with;
  hardware
screw, metal nail, hook, safety pin, buckle: hardware; something to fasten with; something to hang a picture with
padlock, combination lock, chain: something to lock a door with; something to lock a bike with; something to keep
  thieves away; something to secure a locker with
chain, knot: something to tie things together with; something of metal links
flashlight, torch, spotlight, table lamp: something to see in the dark with; something to light the way; something for
  a power cut; a light; something to light up a dark room
candle, matchstick, lighter: something to light; something with a flame; something for a romantic dinner; something
  for a birthday cake; something to start a fire with
light bulb: something to screw into a lamp; something that gives light; something to replace in a lamp
battery: something to power a remote control; something that holds electricity; something to put in a flashlight
scissors: something to cut paper with; something to cut string with; something to open a package with; something to
  cut hair with; something to cut with; something with two blades
tape roll: something to seal a box with; something to stick paper to the wall with; something to wrap a gift with;
  something sticky; something to close a parcel with
glue: something to stick things together; something to mend a broken cup with; something sticky; something for crafts;
  something to fix paper with
stapler: something to hold papers together; something to attach pages to each other; something to fasten documents
  with
marker pen, ballpoint pen, fountain pen, quill, pencil: something to write with; something to draw with; something to
  take notes with; something to sign a letter with; a writing tool; something to write down a phone number with
marker pen: something to write on a whiteboard with; something to highlight text with; something to color with;
  something to label a box with; something to draw a thick line with
pencil: something to sketch with; something to sharpen
pencil sharpener, pencil case, eraser: something for school; something for my pencils
eraser, correction fluid: something to remove writing with; something to rub out pencil with; something to correct a
  mistake with; something to clean a whiteboard with
ruler, ruler measuring stick, slide rule: something to measure length with; something to draw a straight line with;
  something to measure how long it is
book, comic book, dust jacket, ring binder, notebook computer: something to read; something to study
book: something to read in bed; something to read on a journey; something from a library; something with a story;
  something to learn from
book holder: something to keep books standing
envelope, ring binder: something to mail a letter in
stapler, marker pen, pencil, ballpoint pen, eraser, ruler, tape roll, scissors, glue, correction fluid: something for
  the office; office supplies; something for school; something for my desk
paint brush, paintbrush: something to paint with; something to paint a wall with; something to apply color with;
  something for an artist
mobile phone, rotary dial telephone, payphone, iPod, hand-held computer: something to call someone with; something to
  make a phone call with; something to send a message with; something to listen to music with; an electronic device; a
  gadget
camera, reflex camera, Polaroid camera, lens cap: something to take pictures with; something to take a photo with;
  something for a tourist; something to record a video with
computer mouse: something to move the cursor with; something to click with; something for my computer; a computer
  accessory
computer keyboard, typewriter keyboard, keyboard space bar: something to type with; something to type a letter on;
  something to write a text with; something to enter a password with; a computer accessory
laptop computer, notebook computer, desktop computer, monitor, CRT monitor: something to work on; something to surf
  the internet with; something to watch a movie on; something to write a mail with; a computer; something to program
  on
remote control: something to change the channel with; something to switch on the television; something to turn up the
  volume with; something to control the television with
game controller, joystick: something to play video games with; something to control a game with; something for a gamer
computer mouse, computer keyboard, laptop computer, mobile phone, camera, remote control, game controller, music
  speaker, modem, radio, printer, hard disk drive: electronics; an electronic device; something that needs electricity
music speaker, radio, cassette player, CD player, microphone: something to listen to music with; something that makes
  sound
alarm clock, analog clock, digital clock, digital watch, stopwatch, wall clock: something to tell the time; something
  to see what time it is; something to wake me up; something that ticks
weighing scale: something to weigh with
sunglasses: something to wear in the sun; something to protect my eyes with
binoculars, loupe magnifying glass: something to see better with
wallet, purse, backpack, messenger bag, plastic bag, shopping basket: something to carry things in; something to keep
  money in; a bag; something to carry groceries in
cardboard box / carton, crate, storage chest, product packet / packaging: something to pack things in; a box; a
  package; something to ship; a container; a parcel
bucket, hamper, trash can: something to put trash in; something to carry water in
plant pot, flower pot, vase: something to plant a flower in; something to put flowers in; something for a plant;
  something to grow herbs in; something to decorate a table with
tennis ball, ball, golf ball, baseball, soccer ball, basketball, volleyball, rugby ball, croquet ball, ping-pong ball:
  something to play with; something to throw; something to catch; something for sports; something round; something a
  dog would fetch; something that bounces; something to play outside with; something that rolls
tennis ball: something to hit with a racket; something for a tennis match
soccer ball: something to score a goal with
golf ball: something to tee off with
baseball: something to hit with a bat; something to pitch
racket, dumbbell, barbell, hockey puck: sports equipment; something to exercise with
puzzle cube, die, playing cards, marbles, peg board, stacking rings, jigsaw puzzle, crossword: a game; something to
  play with; something to pass the time with; something for a game night; something to solve
puzzle cube: something to twist; something to solve; a brain teaser
die: something to roll in a board game; something to throw for a random number
playing cards: something to play a game with; something to do magic tricks with
toy airplane, toy car, lego brick, building block, stacking rings, rubber duck, marbles, teddy bear, race car: a toy;
  something for a child; something for kids to play with; something to give a child; something for the nursery; a gift
  for a little boy; something to play with
lego brick, building block, wood block: something to stack; something to build a tower with; something to build a toy
  house with; a construction toy; a block
wood block, foam brick: something to build with; a piece of building material
foam brick: something soft to stack; something to lay a wall with
toy airplane, airliner, missile: something that flies; something with wings
toy car, race car, sports car: something with wheels; something to race; a small vehicle
rubber duck: something to play with in the bathtub; something that floats
teddy bear: something to cuddle
umbrella: something for the rain
sneaker, slip-on shoe, sandal, cowboy boot, clogs: something to wear on the feet; something to walk in
"""


def _parse(text: str) -> dict[str, tuple[str, ...]]:
    said: dict[str, dict[str, None]] = {}
    for line in text.strip().replace("\n  ", " ").splitlines():
        names, _, phrases = line.partition(": ")
        for name in names.split(", "):
            said.setdefault(name, {}).update(dict.fromkeys(each.strip() for each in phrases.split("; ")))
    return {name: tuple(phrases) for name, phrases in said.items()}


USES = _parse(_USES)
