# SPDX-License-Identifier: Apache-2.0
"""A catalogue of scanned things for trials like the paper's (A.7): 29 instances of nine categories, with their brands.

    python -m training.trials.scanned --source ../shared/data/meshes --out runs/scanned
    dropclip-trials run --catalogue runs/scanned --trials 30

Of YCB and of a set of everyday things (folders ycb/ and urdf_models/, see `training.objects.layouts`). What each is
called, its colour, brand and contents are written down here as one reads them on the thing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import tyro

from dropclip_ros.base.reading import read_json
from training.objects.catalogue import open_catalogue
from training.objects.collect import collect
from training.objects.spec import UNSEEN_INSTANCE, ObjectSpec
from training.runs.errors import InputError
from training.runs.files import write_atomically

# name in the collection: category, colour, brand, contents or flavour; "" where there is none
THINGS = {
    "ycb_002_master_chef_can": ("can", "blue", "master chef", "coffee"),
    "ycb_005_tomato_soup_can": ("can", "red", "campbell's", "tomato soup"),
    "ycb_007_tuna_fish_can": ("can", "blue", "starkist", "tuna"),
    "ycb_010_potted_meat_can": ("can", "blue", "spam", "meat"),
    "ycb_011_banana": ("fruit", "yellow", "", ""),
    "ycb_013_apple": ("fruit", "red", "", ""),
    "ycb_014_lemon": ("fruit", "yellow", "", ""),
    "ycb_015_peach": ("fruit", "orange", "", ""),
    "ycb_016_pear": ("fruit", "green", "", ""),
    "ycb_017_orange": ("fruit", "orange", "", ""),
    "ycb_024_bowl": ("bowl", "red", "", ""),
    "urdf_models_doraemon_bowl": ("bowl", "white", "doraemon", ""),
    "ycb_003_cracker_box": ("box", "red", "cheez it", "crackers"),
    "ycb_004_sugar_box": ("box", "yellow", "domino", "sugar"),
    "ycb_008_pudding_box": ("box", "brown", "jell o", "chocolate pudding"),
    "ycb_009_gelatin_box": ("box", "red", "jell o", "strawberry gelatin"),
    "ycb_006_mustard_bottle": ("bottle", "yellow", "french's", "mustard"),
    "ycb_021_bleach_cleanser": ("bottle", "white", "soft scrub", "bleach"),
    "ycb_022_windex_bottle": ("bottle", "blue", "windex", "glass cleaner"),
    "urdf_models_shampoo": ("bottle", "", "", "shampoo"),
    "urdf_models_conditioner": ("bottle", "", "", "conditioner"),
    "ycb_025_mug": ("cup", "red", "", ""),
    "urdf_models_blue_cup": ("cup", "blue", "", ""),
    "urdf_models_green_cup": ("cup", "green", "", ""),
    "urdf_models_yellow_cup": ("cup", "yellow", "", ""),
    "urdf_models_orion_pie": ("edible", "", "orion", "chocolate pie"),
    "urdf_models_suger_1": ("edible", "", "", "sugar"),
    "urdf_models_red_marker": ("marker", "red", "", ""),
    "urdf_models_toothpaste_1": ("toothpaste", "", "", ""),
}
USES = {
    "can": ("something to eat from a tin",),
    "fruit": ("a healthy snack", "something fresh to eat"),
    "bowl": ("something to eat soup from",),
    "box": ("something from the pantry in a carton",),
    "bottle": ("something to squeeze or spray from",),
    "cup": ("something to drink from",),
    "edible": ("something sweet",),
    "marker": ("something to write with",),
    "toothpaste": ("something to brush teeth with",),
}


@dataclass(frozen=True)
class Options:
    """Makes the catalogue; what is there already stays.

    Attributes:
        source: folder of the meshes, with objects.csv.
        out: the catalogue.
        workers: processes that cut collision shapes.
    """

    source: Path = Path("../shared/data/meshes")
    out: Path = Path("runs/scanned")
    workers: int = 1


def described(spec: ObjectSpec) -> ObjectSpec:
    """The spec with what THINGS says of it, in the four families of phrases."""
    category, color, brand, contents = THINGS[spec.name]
    own = spec.name.removeprefix("ycb_").removeprefix("urdf_models_").lstrip("0123456789_")
    noun = own.replace("_1", "").replace("_", " ").replace("suger", "sugar packet")
    attributes = {"class": noun, "color": color, "brand": brand, "contents": contents}
    container = category if category not in ("edible",) else "snack"
    prompts = {
        "class": tuple(dict.fromkeys((category if category != "edible" else noun, noun))),
        "attribute": (f"{color} {container}",) if color else (),
        "affordance": USES[category],
        "open": tuple(f"{part} {container}" if part != brand else part for part in (brand, contents) if part),
    }
    return replace(
        spec,
        category=category,
        split=UNSEEN_INSTANCE,
        attributes={key: value for key, value in attributes.items() if value},
        prompts=prompts,
    )


def _only(source: Path, folder: Path) -> Path:
    """A folder that has of the source what THINGS names."""
    table = source / "objects.csv"
    if not table.is_file():
        raise InputError(f"{source}: no objects.csv; name the folder of the meshes")
    with table.open(encoding="utf-8") as file, (folder / "objects.csv").open("w", encoding="utf-8") as out:
        head, *lines = file.read().splitlines()
        out.write("\n".join([head, *(line for line in lines if line.split(",")[0].replace("/", "_") in THINGS)]) + "\n")
    for one in source.iterdir():
        if one.is_dir():
            (folder / one.name).symlink_to(one.resolve())
    return folder


def main(options: Options) -> None:
    """Collects the meshes, where they are not yet, and writes what is said of them."""
    if not (options.out / "catalogue.json").exists():
        with TemporaryDirectory() as folder:
            collect(_only(options.source, Path(folder)), options.out, workers=options.workers)
    specs = [described(spec) for spec in open_catalogue(str(options.out)).specs if spec.name in THINGS]
    if missing := THINGS.keys() - {spec.name for spec in specs}:
        raise InputError(f"{options.out} lacks {', '.join(sorted(missing)[:3])}: is {options.source} whole?")
    path = options.out / "catalogue.json"
    by_name = {spec.name: spec for spec in specs}
    written = read_json(path)
    kept = [one for one in written["objects"] if one["name"] in by_name]
    for one in kept:
        spec = by_name[one["name"]]
        prompts = {family: list(said) for family, said in spec.prompts.items()}
        one |= {"category": spec.category, "split": spec.split, "attributes": spec.attributes, "prompts": prompts}
    with write_atomically(path, replace=True) as part:
        part.write_text(json.dumps(written | {"objects": kept}, indent=1) + "\n", encoding="utf-8")
    print(f"{len(kept)} things of {len({one['category'] for one in kept})} categories in {options.out}")


if __name__ == "__main__":
    main(tyro.cli(Options))
