# SPDX-License-Identifier: Apache-2.0
"""Functions fit on a screen: 60 lines at most, or a reason in a comment `# long: ...` beside the def."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("dropclip_ros", "training", "benchmarks", "launch", "tools", "test")
GENERATED = {"action", "msg", "srv"}
LONGEST = 60


def long_functions(text: str) -> list[tuple[str, int]]:
    """Name and length of each function of more than LONGEST lines without a reason."""
    lines, found = text.splitlines(), []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = node.end_lineno - node.lineno + 1
            beside = lines[max(0, node.lineno - 2) : node.body[0].lineno]
            if length > LONGEST and not any("# long: " in line for line in beside):
                found.append((node.name, length))
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_long_functions_say_why(room):
    files = [path for path in sorted((ROOT / room).rglob("*.py")) if not GENERATED & set(path.relative_to(ROOT).parts)]
    found = [f"{path.relative_to(ROOT)}: {one}" for path in files for one in long_functions(path.read_text())]
    assert not found, "split, or say why in a comment `# long: ...` beside the def"


def test_the_check_sees_a_long_function():
    body = "\n".join(["    pass"] * LONGEST)
    assert long_functions(f"def f():\n{body}") == [("f", LONGEST + 1)]
    assert long_functions(f"def f():  # long: a table of cases\n{body}") == []
