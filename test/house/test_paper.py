# SPDX-License-Identifier: Apache-2.0
"""docs/paper.md: each piece of the paper is on the page, each place is there, and the code names the piece."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROWS = re.findall(
    r"^\| (?!paper|---)([^|]+) \| [^|]+ \| ([^|]+) \|$", (ROOT / "docs/paper.md").read_text(), re.MULTILINE
)
PLACES = [(piece, *place) for piece, where in ROWS for place in re.findall(r"`([\w/.]+\.py):([\w.]+)`", where)]


def definition(path: str, name: str) -> ast.AST | None:
    """The function, class or method of that name in a file."""
    found: ast.AST | None = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    for part in name.split("."):
        kinds = ast.FunctionDef | ast.ClassDef
        found = next(
            (node for node in getattr(found, "body", ()) if isinstance(node, kinds) and node.name == part), None
        )
    return found


def test_the_whole_paper_is_on_the_page():
    text = " ".join(piece for piece, _ in ROWS)
    figures = {int(n) for n in re.findall(r"figures? (\d+)", text)} | set(range(12, 15))
    assert {int(n) for n in re.findall(r"eq\. (\d)", text)} == set(range(1, 7))
    assert {int(n) for n in re.findall(r"table (\d+)", text)} == set(range(1, 13))
    assert figures == set(range(1, 21))
    appendix = "A.1.1 A.1.2 A.2 A.3 A.4 A.5 A.6.1 A.6.2 A.6.3 A.7 A.8"
    assert set(re.findall(r"A\.[\d.]*\d", text)) == set(appendix.split())
    assert {"3.1", "3.2", "3.3", "3.4", "4.4"} <= set(text.split())


@pytest.mark.parametrize(("piece", "path", "name"), PLACES, ids=lambda value: value)
def test_each_place_is_there(piece, path, name):
    assert definition(path, name) is not None


def test_grepping_the_paper_lands_on_the_code():
    """The function names an equation, a table itself; its file names a section."""
    lost = []
    for piece, path, name in PLACES:
        text = (ROOT / path).read_text(encoding="utf-8")
        docstring = ast.get_docstring(definition(path, name)) or ""
        if re.match(r"(eq\.|table) ", piece) and not re.search(rf"(?i){re.escape(piece)}\b", docstring):
            lost.append(f"{path}:{name} does not say {piece}")
        elif re.match(r"A\.|\d\.", piece) and not re.search(rf"(?<![\w.]){re.escape(piece)}\b", text):
            lost.append(f"{path} does not say {piece}")
    assert not lost
