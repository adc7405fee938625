# SPDX-License-Identifier: Apache-2.0
"""What trials say together: grounding and success, with intervals, beside the paper's (A.7), as Markdown and JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from scipy.stats import binomtest

from training.runs.errors import InputError
from training.runs.files import write_atomically
from training.trials.grading import Reason
from training.trials.results import SETUP, Result, read_results

PAPER = {"Gazebo, 50 trials": (84, 64), "real robot, 10 trials": (80, 60)}  # grounding, success; percent (section 4.4)
COUNTS = {"Gazebo, 50 trials": 50, "real robot, 10 trials": 10}
DIFFERENCES = (
    "the simulator is MuJoCo here, Gazebo there; one UR5e with the boxes of a 2F-140 here, two arms with its "
    "linkage there",
    "objects are those of MV-TOD's generator, of a split the model never saw; there 29 instances of 9 categories "
    "(cans, fruit, bowls, juice and milk boxes, bottles, books, edibles), seen or not is not said",
    "proposals come from what the column `proposals` names; there from HGGD, trained on real scans",
    "depth has the noise of our sensor model; there Gazebo's camera and an ASUS Xtion",
    "success is read from the simulator's poses: the target, and nothing else, 10 cm up and held for a second; the "
    "paper does not say how high",
    "with the presets `told`, `a7` and `release` the model is told the names of the other categories on the table; the "
    "paper says those in the scene; `shipped` is told nothing, reads the phrase, and may refuse or ask back",
    "with more than one of `attempts` a phrase is asked again after a slip; the paper's trials end there",
    "a phrase of what something is good for fits all objects of that use, and any of them is right",
)


def interval(successes: int, trials: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share, in percent."""
    if not trials:
        return 0.0, 100.0
    found = binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    return 100 * found.low, 100 * found.high


def share(values: Iterable[bool]) -> dict[str, float]:
    """n, k and percent of those that are true, with Wilson's interval."""
    values = list(values)
    low, high = interval(sum(values), len(values))
    percent = 100 * sum(values) / len(values) if values else float("nan")
    return {"n": len(values), "k": sum(values), "percent": percent, "low": low, "high": high}


def summarise(results: Sequence[Result]) -> dict:
    """What one set-up reached: grounding, success, success where rightly grounded, reasons, times."""
    times = [r.seconds_to_pose for r in results if r.candidates and r.seconds_to_pose > 0]
    return {
        "grounding": share(r.grounded for r in results),
        "success": share(r.success for r in results),
        "success where grounded": share(r.success for r in results if r.grounded),
        "success where executed": share(r.success for r in results if r.executed >= 0),
        "mean IoU": float(np.mean([r.iou for r in results])) if results else float("nan"),
        "failures": dict(Counter(r.reason for r in results if r.reason)),
        "seconds from phrase to pose": dict(
            zip(("median", "90 %"), np.percentile(times, (50, 90)).round(3).tolist(), strict=True)
        )
        if times
        else {},
        "seconds a trial": float(np.mean([r.seconds for r in results])) if results else float("nan"),
    }


def setups(results: Sequence[Result]) -> dict[tuple[str, ...], list[Result]]:
    """Results by set-up: what SETUP names."""
    found: dict[tuple[str, ...], list[Result]] = {}
    for result in results:
        found.setdefault(tuple(str(getattr(result, name)) for name in SETUP), []).append(result)
    return found


def as_json(results: Sequence[Result]) -> dict:
    """Everything that `markdown` shows, in numbers."""
    groups = []
    for setup, rows in setups(results).items():
        by = {
            field: {value: summarise(some) for value, some in _by(rows, field).items()}
            for field in ("clutter", "family")
        }
        groups.append({"setup": dict(zip(SETUP, setup, strict=True)), "all": summarise(rows), **by})
    paper = {
        where: {
            name: {
                "percent": value,
                **dict(zip(("low", "high"), interval(round(value * COUNTS[where] / 100), COUNTS[where]), strict=True)),
            }
            for name, value in zip(("grounding", "success"), values, strict=True)
        }
        for where, values in PAPER.items()
    }
    return {"setups": groups, "paper": paper, "differences": DIFFERENCES}


def _by(rows: Sequence[Result], field: str) -> dict[str, list[Result]]:
    return {
        value: [row for row in rows if getattr(row, field) == value]
        for value in dict.fromkeys(getattr(row, field) for row in rows)
    }


def markdown(results: Sequence[Result]) -> str:
    """Tables of all set-ups side by side, then of each by clutter and by family, reasons, times, and the paper's."""
    data = as_json(results)
    head = [*SETUP, "trials", "grounding", "success", "where grounded", "phrase to pose, s", "s a trial"]
    lines = [
        "# Trials of language-guided grasping",
        "",
        "Shares in percent, with Wilson's 95 % interval.",
        "",
        *_table_head(head),
    ]
    for group in data["setups"]:
        lines.append(_line([*group["setup"].values(), *_cells(group["all"])]))
    blank = [""] * (len(SETUP) - 1)
    for where, row in data["paper"].items():
        cells = [_share(row["grounding"]), _share(row["success"]), "", "", ""]
        lines.append(_line([f"paper, {where}", *blank, str(COUNTS[where]), *cells]))
    for group in data["setups"]:
        name = ", ".join(f"{key} {value}" for key, value in group["setup"].items())
        lines += ["", f"## {name}", ""]
        for field in ("clutter", "family"):
            lines += _table_head([field, *head[len(SETUP) :]])
            lines += [_line([value, *_cells(row)]) for value, row in group[field].items()]
            lines.append("")
        failures = group["all"]["failures"]
        lost = ", ".join(f"{reason.value} {failures[reason.value]}" for reason in Reason if reason.value in failures)
        lines.append(f"Failures: {lost or 'none'}.")
    lines += ["", "What differs from the paper's set-up:", "", *(f"- {line}" for line in DIFFERENCES)]
    return "\n".join(lines) + "\n"


def _cells(row: dict) -> list[str]:
    times = row["seconds from phrase to pose"]
    return [
        str(row["success"]["n"]),
        _share(row["grounding"]),
        _share(row["success"]),
        _share(row["success where grounded"]),
        f"{times['median']:.2f} (90 %: {times['90 %']:.2f})" if times else "",
        f"{row['seconds a trial']:.1f}",
    ]


def _share(row: dict) -> str:
    if row.get("n") == 0:
        return ""
    return f"{row['percent']:.0f} ({row['low']:.0f} to {row['high']:.0f})"


def _table_head(columns: Sequence[str]) -> list[str]:
    return [_line(columns), "| --- " * len(columns) + "|"]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def write_report(files: Sequence[Path], out: Path, say: Callable[[str], None] = print) -> None:
    """Reads CSV files of trials, writes `out`.md and `out`.json. Raises InputError where there is nothing to read."""
    results = [result for file in files for result in read_results(file)]
    if not results:
        raise InputError(f"{', '.join(map(str, files))}: no trials; run some first with `dropclip-trials run`")
    text = markdown(results)
    for suffix, content in ((".md", text), (".json", json.dumps(as_json(results), indent=1) + "\n")):
        with write_atomically(out.with_suffix(suffix), replace=True) as part:
            part.write_text(content, encoding="utf-8")
    say(text)
