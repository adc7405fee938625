# SPDX-License-Identifier: Apache-2.0
"""Counts what was generated: the paper's tables 1 and 6 and figure 10 (A.1.2), and what else one asks of a data set."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from training.objects.words.phrases import FAMILIES, PAPER_PHRASES
from training.runs.errors import InputError
from training.runs.files import alone, write_atomically
from training.scenes.scene import Scene
from training.scenes.shards import load_scenes

# The paper's own counts, to stand beside ours: table 1 (last row) and section 2.
PAPER_TABLE_1 = {"categories": "149", "instances": "3379", "scenes": "15k", "views a scene": "73", "phrases": "671.2k"}
PLAIN_WORDS = re.compile("an?|and|at|for|from|in|into|is|it|made|of|on|or|some|something|that|the|thing|to|used|with")


@dataclass
class Counts:
    """Of one set of scenes. objects: placed on each scene's table, (scenes,); phrases: by family, a phrase counted once
    in each scene, as table 6 does; unique: those of them that fit one object only; fractions: visible, of each object
    in each view that shows it at least partly."""

    scenes: int = 0
    views: int = 0
    objects: list[int] = field(default_factory=list)
    instances: dict[str, set[str]] = field(default_factory=dict)  # of each category, names
    placed: Counter = field(default_factory=Counter)  # objects on tables by category
    phrases: Counter = field(default_factory=Counter)
    unique: Counter = field(default_factory=Counter)
    words: Counter = field(default_factory=Counter)
    clutter: Counter = field(default_factory=Counter)
    dropped: Counter = field(default_factory=Counter)
    fractions: list[float] = field(default_factory=list)

    def add(self, scene: Scene) -> None:
        """Counts one scene; it may be without views. Raises InputError where its tables cannot be read."""
        coco = scene.coco
        self.scenes += 1
        self.views += len(coco["images"])
        self.objects.append(len(coco["objects"]))
        for entry in coco["objects"]:
            self.instances.setdefault(entry["category"], set()).add(entry["name"])
            self.placed[entry["category"]] += 1
        for family, phrases in coco.get("queries", {}).items():
            self.phrases[family] += len(phrases)
            self.unique[family] += sum(len(labels) == 1 for labels in phrases.values())
            self.words.update(
                word
                for phrase in phrases
                for word in re.findall(r"[^\W\d_]+", phrase.lower())
                if not PLAIN_WORDS.fullmatch(word)
            )
        info = coco.get("info", {})
        self.clutter[info.get("clutter", "not said")] += 1
        dropped = info.get("dropped", {})
        self.dropped.update(dropped if isinstance(dropped, dict) else {"dropped": dropped})
        for image in coco["images"]:
            self.fractions += image.get("visible_fraction", {}).values()

    def __add__(self, other: Counts) -> Counts:
        instances = {
            category: self.instances.get(category, set()) | other.instances.get(category, set())
            for category in self.instances | other.instances
        }
        added = {
            name: getattr(self, name) + getattr(other, name)
            for name in self.__dataclass_fields__
            if name != "instances"
        }
        return Counts(instances=instances, **added)


def count(scenes: Iterable[Scene]) -> Counts:
    """Counts of many scenes."""
    counts = Counts()
    for scene in scenes:
        counts.add(scene)
    return counts


@alone
def stats(scenes: Path, out: Path, skip_broken: bool = False) -> None:
    """Counts scenes: the paper's tables 1 and 6 and figure 10, as Markdown, CSV and PNG.

    Args:
        scenes: folder of scenes or shards, or of several such folders, each of which gets a column.
        out: folder to write to: stats.md, table1.csv, table6.csv, categories.csv, words.csv, figure10.png; files of
            these names there are replaced.
        skip_broken: leave out scenes that cannot be read, with a warning, instead of ending.
    """
    sets, size = {}, 0
    for folder in scene_sets(scenes):
        size += sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        sets[folder.name] = count(tqdm(load_scenes(folder, skip_broken), desc=folder.name, unit="scene"))
    total = sum(sets.values(), Counts())
    tables = {
        "table1": table_1(sets, total),
        "table6": table_6(sets),
        "categories": [["category", "instances", "placed"]]
        + [
            [name, len(total.instances[name]), total.placed[name]]
            for name in sorted(total.instances, key=lambda name: (-len(total.instances[name]), name))
        ],
        "words": [["word", "phrases"], *([word, n] for word, n in total.words.most_common())],
    }
    text = _report(tables, total, size)
    for name, rows in tables.items():
        with write_atomically(out / f"{name}.csv", replace=True) as part, part.open("w", newline="") as file:
            csv.writer(file).writerows(rows)
    with write_atomically(out / "figure10.png", replace=True) as part:
        draw_figure_10(tables["categories"][1:], part)
    with write_atomically(out / "stats.md", replace=True) as part:
        part.write_text(text)
    print(text)


def scene_sets(root: Path) -> list[Path]:
    """`root` where scenes or shards lie in it, else those folders in it where they do. Raises InputError: none."""

    def holds(folder: Path) -> bool:
        return any(folder.glob("scene_?????/")) or any(folder.glob("*.tar"))

    found = [root] if holds(root) else [folder for folder in sorted(root.glob("*/")) if holds(folder)]
    if not found:
        raise InputError(f"{root}: neither scenes there nor in its folders; name a folder that `generate` wrote")
    return found


def table_1(sets: dict[str, Counts], total: Counts) -> list[list]:
    """What table 1 says of MV-TOD, and some more; a column for each set, all of them, and the paper."""
    rows = [["", *sets, *(["all"] if len(sets) > 1 else []), "paper"]]
    columns = [*sets.values(), *([total] if len(sets) > 1 else [])]

    def row(name: str, values: Iterable) -> None:
        rows.append([name, *values, PAPER_TABLE_1.get(name, "")])

    row("categories", (len(c.instances) for c in columns))
    row("instances", (sum(map(len, c.instances.values())) for c in columns))
    row("scenes", (c.scenes for c in columns))
    row("views a scene", (f"{c.views / max(c.scenes, 1):g}" for c in columns))
    row("phrases", (sum(c.phrases.values()) for c in columns))
    row("of them for one object only", (sum(c.unique.values()) for c in columns))
    row("different words", (len(c.words) for c in columns))
    row("objects a scene", (_spread(c.objects) for c in columns))
    row("visible fraction, quartiles", (_quartiles(c.fractions) for c in columns))
    row("clutter", (_named(c.clutter) for c in columns))
    row("objects dropped", (_named(c.dropped) for c in columns))
    return rows


def table_6(sets: dict[str, Counts]) -> list[list]:
    """Table 6: phrases by family and set; beside them the paper's."""
    rows = [["", *sets, "paper (train, test)"]]
    for family in FAMILIES:
        rows.append([family, *(c.phrases[family] for c in sets.values()), _thousands(PAPER_PHRASES.get(family, ()))])
    return rows


def _thousands(counts: Iterable[float]) -> str:
    return ", ".join(f"{count}k" for count in counts)


def draw_figure_10(categories: Sequence[tuple], path: Path) -> None:
    """Figure 10: instances by category, most first. categories: rows of name, instances, times placed."""
    from matplotlib.figure import Figure

    names, instances, placed = zip(*categories, strict=True)
    figure = Figure((max(6.0, 0.17 * len(names)), 4.5), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    above.bar(names, instances, color="tab:blue")
    above.set_ylabel("instances")
    below.bar(names, placed, color="tab:orange")
    below.set_ylabel("times on a table")
    below.tick_params(axis="x", rotation=90, labelsize=7)
    below.set_xlim(-0.7, len(names) - 0.3)
    figure.savefig(path, format="png", dpi=150)


def _report(tables: dict[str, list[list]], total: Counts, size: int) -> str:
    words = ", ".join(f"{word} {n}" for word, n in total.words.most_common(30)) or "none"
    first = ", ".join(f"{name} {n}" for name, n, _ in tables["categories"][1:16])
    return (
        f"# Statistics of {total.scenes} scenes\n\n{size / max(total.scenes, 1) / 1e6:.2f} MB a scene, all files "
        f"included.\n\nTable 1:\n\n{_markdown(tables['table1'])}\nTable 6, phrases by family (a phrase counts once in "
        f"each scene):\n\n{_markdown(tables['table6'])}\nFigure 10 (figure10.png), categories with most instances: "
        f"{first}.\n\nMost frequent words: {words}.\n"
    )


def _markdown(rows: list[list]) -> str:
    rows = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "".join("| " + " | ".join(map(str, row)) + " |\n" for row in rows)


def _spread(values: list[int]) -> str:
    return f"{np.mean(values):.1f} ({min(values)} to {max(values)})" if values else "none"


def _quartiles(values: list[float]) -> str:
    return ", ".join(f"{v:.2f}" for v in np.quantile(values, (0.25, 0.5, 0.75))) if values else "not rendered"


def _named(counter: Counter) -> str:
    return ", ".join(f"{name} {n}" for name, n in sorted(counter.items()) if n) or "none"
