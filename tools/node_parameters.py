# SPDX-License-Identifier: Apache-2.0
"""Writes the parameters of every node into docs/nodes.md: `python tools/node_parameters.py`. Needs rclpy.

With `--check` nothing is written, and it ends with code 1 where the page is not of today.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from unittest.mock import MagicMock

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
PAGE = ROOT / "docs/nodes.md"
HEAD = "<!-- written by tools/node_parameters.py -->\n"


def shown(value: object) -> str:
    """A default or a bound as a user writes it in YAML."""
    if isinstance(value, str):
        return f"`{value}`" if value else "`''`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, list):
        return f"`[{', '.join(repr(item) if item == '' else str(item) for item in value)}]`"
    return f"{value:g}" if isinstance(value, int | float) and abs(value) < 1e9 else f"{value:.0e}"


def tables() -> str:
    """Markdown: a table for each node; parameters that several nodes share stand in each."""
    nodes = {path.stem: load(f"dropclip_ros.nodes.{path.stem}") for path in modules()}
    parts = []
    for name, module in nodes.items():
        parts.append(f"\n### {name}\n\n| parameter | default | range | unit and meaning |\n| --- | --- | --- | --- |\n")
        for setting in module.SETTINGS:
            span = ", ".join(f"`{choice}`" for choice in setting.choices)
            span = f"{shown(setting.low)} to {shown(setting.high)}" if setting.low is not None else span
            mark = " (at start only)" if setting.read_only else ""
            row = f"`{setting.name}`", shown(setting.default), span, setting.description.replace("|", "\\|") + mark
            parts.append(f"| {' | '.join(row)} |\n")
    return "".join(parts)


def load(name: str) -> ModuleType:
    """A node's module; messages of packages that are not installed (MoveIt's) stand in, for only settings are read."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.partition(".")[0].endswith("_msgs"):
            raise
        sys.modules[error.name] = MagicMock()
        return load(name)


def modules() -> list[Path]:
    """Files of nodes that have parameters."""
    return [path for path in sorted((ROOT / "dropclip_ros/nodes").glob("*.py")) if "\nSETTINGS = " in path.read_text()]


if __name__ == "__main__":
    text = PAGE.read_text(encoding="utf-8")
    wanted = text.partition(HEAD)[0] + HEAD + tables()
    if "--check" in sys.argv:
        sys.exit(f"{PAGE} is not of today: run python tools/node_parameters.py" if wanted != text else 0)
    PAGE.write_text(wanted, encoding="utf-8")
