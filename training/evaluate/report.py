# SPDX-License-Identifier: Apache-2.0
"""Tables as CSV, Markdown and a plot: ours beside the paper's, with data, model and seed named."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from training.runs.files import write_atomically

PAPER_BY = "the paper's by"


@dataclass
class ReportTable:
    """A table or figure of the paper, made again.

    rows: "method", metrics in percent by `columns`, "mIoU" with its interval "low" and "high", "inference", and
    "paper", the paper's metrics under the same names, and "the paper's by", what it measured them with, where that is
    not what its table as a whole says; "absent" says why a row has none. about: data set, model, seed
    and whatever else one has to know; notes: what came of it. x: of a figure, the key of what its curves run over.
    """

    name: str
    title: str
    columns: Sequence[str]
    rows: list[dict]
    about: Mapping[str, object] = field(default_factory=dict)
    notes: Sequence[str] = ()
    x: str | None = None

    def markdown(self) -> str:
        """Ours, and the paper's in brackets."""
        lines = [f"# {self.title}", "", "; ".join(f"{key} {value}" for key, value in self.about.items()) + ".", ""]
        first = ["method"] + ([self.x] if self.x else [])
        last = ["answers by"] + [PAPER_BY] * any(PAPER_BY in row for row in self.rows)
        lines.append("| " + " | ".join([*first, *(head(column) for column in self.columns), *last]) + " |")
        lines.append("| --- " * (len(first) + len(self.columns) + len(last)) + "|")
        for row in self.rows:
            cells = [str(row.get(key, "")) for key in first]
            if "absent" in row:
                paper = row.get("paper", {})
                cells += [*(f"[{paper[c]:.1f}]" if c in paper else "" for c in self.columns), row["absent"]]
            else:
                cells += [cell(row, column) for column in self.columns] + [row.get("inference", "")]
            cells += [row.get(name, "") for name in last[1:]]
            lines.append("| " + " | ".join(cells) + " |")
        return "\n".join([*lines, "", *(f"- {note}" for note in self.notes)]).rstrip() + "\n"

    def csv(self) -> str:
        rows = [
            {key: f"{value:.5g}" if isinstance(value, float) else value for key, value in row.items() if key != "paper"}
            | {f"paper {key}": value for key, value in row.get("paper", {}).items()}
            for row in self.rows
        ]
        file = io.StringIO(newline="")
        writer = csv.DictWriter(file, list(dict.fromkeys(key for row in rows for key in row)))
        writer.writeheader()
        writer.writerows(rows)
        return file.getvalue()

    def write(self, out: Path) -> None:
        """NAME.csv, NAME.md and NAME.png in the folder `out`."""
        for suffix, text in ((".csv", self.csv()), (".md", self.markdown())):
            with write_atomically(out / f"{self.name}{suffix}", replace=True) as part:
                part.write_text(text, encoding="utf-8")
        self.plot(out / f"{self.name}.png")

    def plot(self, path: Path) -> None:
        """Curves over `x`, or bars of the first column, ours and the paper's."""
        from matplotlib.figure import Figure

        known = [row for row in self.rows if "absent" not in row]
        figure = Figure(figsize=(8, 4.5) if self.x else (9, 1.2 + 0.38 * max(len(known), 1)), layout="constrained")
        axes, column = figure.subplots(), self.columns[0]
        if self.x:
            for method in dict.fromkeys(row["method"] for row in known):
                of_method = [row for row in known if row["method"] == method]
                x, low, high = ([row[key] for row in of_method] for key in (self.x, "low", "high"))
                (line,) = axes.plot(x, [row[column] for row in of_method], "o-", label=method)
                axes.fill_between(x, low, high, color=line.get_color(), alpha=0.15)
            axes.set(xlabel=self.x, ylabel=f"{column}, %")
            axes.legend()
        else:
            place = range(len(known))[::-1]
            axes.barh(place, [row[column] for row in known], 0.5, label="here", color="C0")
            paper = [(row.get("paper", {}).get(column), y) for row, y in zip(known, place, strict=True)]
            if paper := [(value, y) for value, y in paper if value is not None]:
                axes.plot(*zip(*paper, strict=True), "D", color="C1", label="paper")
            axes.set_yticks(place, [row["method"] for row in known])
            axes.set(xlabel=f"{column}, %")
            axes.legend(loc="lower right")
        axes.set_title(self.title, fontsize=10)
        axes.grid(alpha=0.3)
        with write_atomically(path, replace=True) as part:
            figure.savefig(part, format="png", dpi=120)


def head(column: str) -> str:
    return f"{column} (95 %)" if column == "mIoU" else column.replace("_", " ")


def cell(row: Mapping, column: str) -> str:
    """A metric, with the interval where it is the mIoU, and the paper's."""
    if column not in row:
        return ""
    text = f"{row[column]:.1f}"
    if column == "mIoU" and "low" in row:
        text += f" ({row['low']:.1f} to {row['high']:.1f})"
    paper = row.get("paper", {}).get(column)
    return text if paper is None else f"{text} [{paper:.1f}]"
