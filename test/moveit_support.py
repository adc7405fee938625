# SPDX-License-Identifier: Apache-2.0
"""MoveIt for tests without MoveIt: its messages by the names in test/moveit_fields.yaml, and a move_group that keeps a
planning scene. An unknown field, or a value of another kind, fails as it does with the real ones.

    python test/moveit_support.py FOLDER_OF_PACKAGES    # prints the table, from checkouts of their .msg, .srv, .action
"""

import importlib
import re
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import yaml

TABLE = Path(__file__).parent / "moveit_fields.yaml"
USED = [
    "moveit_msgs/action/MoveGroup",
    "moveit_msgs/action/ExecuteTrajectory",
    "moveit_msgs/srv/ApplyPlanningScene",
    "moveit_msgs/srv/GetCartesianPath",
    "moveit_msgs/srv/GetPlanningScene",
    "moveit_msgs/srv/GetPositionFK",
    "control_msgs/action/GripperCommand",
    "control_msgs/action/ParallelGripperCommand",
]
OURS = ("moveit_msgs", "shape_msgs", "control_msgs", "octomap_msgs", "object_recognition_msgs", "trajectory_msgs")
PARTS = {"msg": ("",), "srv": ("Request", "Response"), "action": ("Goal", "Result", "Feedback")}
_FIELD = re.compile(r"^([\w/]+)((?:<=\d+)?(?:\[[^\]]*\])?)\s+(\w+)\s*(=)?\s*(.*)$")


def read_fields(folder: Path) -> dict[str, dict[str, str]]:
    """Of what is USED and all that it holds: "package/kind/Name[.Part]" -> field -> type, or constant -> =value."""
    table: dict[str, dict[str, str]] = {}
    wanted = list(USED)
    while wanted:
        name = wanted.pop()
        package, kind, own = name.split("/")
        text = (folder / package / kind / f"{own}.{kind}").read_text()
        for part, block in zip(PARTS[kind], re.split(r"^---.*$", text, flags=re.MULTILINE), strict=True):
            fields: dict[str, str] = {}
            for line in block.splitlines():
                found = _FIELD.match(line.split("#")[0].strip())
                if not found:
                    continue
                of, many, field, constant, value = found.groups()
                if constant:
                    fields[field] = f"={value.strip()}"
                    continue
                if of[0].isupper():
                    of = f"std_msgs/{of}" if of == "Header" else f"{package}/{of}"
                if "/" in of:
                    of = "/msg/".join(of.split("/"))
                    if of.split("/")[0] in OURS and of not in table and of not in wanted:
                        wanted.append(of)
                fields[field] = of + ("[]" if many.startswith("[") else "")
            table[f"{name}.{part}".rstrip(".")] = fields
    return dict(sorted(table.items()))


class Message:
    """Has the fields of the table alone."""

    _fields: ClassVar[dict[str, str]] = {}

    def __init__(self, **values: Any):
        for field, of in self._fields.items():
            object.__setattr__(self, field, _default(of))
        for field, value in values.items():
            setattr(self, field, value)

    def __setattr__(self, field: str, value: Any) -> None:
        assert field in self._fields, f"{type(self).__name__} has no field {field!r}: {', '.join(self._fields)}"
        wanted, got = _default(self._fields[field]), value
        same = isinstance(got, list | tuple) if isinstance(wanted, list) else isinstance(got, type(wanted))
        assert same or type(wanted).__name__ == type(got).__name__, f"{field} of {type(self).__name__}: {value!r}"
        object.__setattr__(self, field, list(value) if isinstance(wanted, list) else value)

    @classmethod
    def get_fields_and_field_types(cls) -> dict[str, str]:
        return dict(cls._fields)


def _default(of: str) -> Any:
    if of.endswith("[]"):
        return []
    if "/" in of:
        package, _, name = of.split("/")
        return getattr(importlib.import_module(f"{package}.msg"), name)()
    plain = {"string": "", "bool": False, "float64": 0.0, "float32": 0.0}
    return bytes(1) if of == "byte" else plain.get(of, 0)


@contextmanager
def messages(distro: str) -> Iterator[None]:
    """The packages are importable in the block, as the table has them of humble, or of later distros."""
    before = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in OURS}
    for name in before:
        del sys.modules[name]
    added: list[str] = []

    def module(name: str) -> types.ModuleType:
        if name not in sys.modules:
            sys.modules[name] = types.ModuleType(name)
            added.append(name)
        return sys.modules[name]

    table = yaml.safe_load(TABLE.read_text())
    lacks = table["humble_lacks"] if distro == "humble" else {}
    for name, fields in table["fields"].items():
        if lacks.get(name, ()) is None:
            continue
        fields = {field: of for field, of in fields.items() if field not in lacks.get(name, ())}
        package, kind, own = name.split("/")
        own, _, part = own.partition(".")
        module(package)
        home = module(f"{package}.{kind}")
        values = {field: int(of[1:], 0) for field, of in fields.items() if of.startswith("=")}
        values = {f: bytes([v]) if own == "CollisionObject" else v for f, v in values.items()}  # constants of type byte
        members = values | {"_fields": {field: of for field, of in fields.items() if not of.startswith("=")}}
        made = type(own + part, (Message,), members)
        if not part:
            setattr(home, own, made)
            continue
        if not hasattr(home, own):
            setattr(home, own, type(own, (), {}))
        setattr(getattr(home, own), part, made)
    try:
        yield
    finally:
        for name in added:
            sys.modules.pop(name, None)
        sys.modules.update(before)


if __name__ == "__main__":
    print(yaml.safe_dump(read_fields(Path(sys.argv[1])), width=1000, sort_keys=False), end="")
