# SPDX-License-Identifier: Apache-2.0
"""Dataclasses of settings as YAML files."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, TypeVar

import yaml

from dropclip_ros.base.reading import read_yaml
from training.runs.errors import InputError
from training.runs.files import write_atomically

Config = TypeVar("Config")


def read_config(path: Path, cls: type[Config]) -> Config:
    """The configuration in a YAML file of fields, a dataclass `cls`; what it does not name has its default.

    Raises InputError where the file is not one.
    """
    try:
        data = read_yaml(path) or {}
        return _built(cls, data, "")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; give a YAML file of fields") from error
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error


def write_config(path: Path, config: Any) -> None:
    """What `read_config` reads."""
    plain = json.loads(json.dumps(dataclasses.asdict(config)))  # tuples as lists
    with write_atomically(path, replace=True) as part:
        part.write_text(yaml.safe_dump(plain, sort_keys=False), encoding="utf-8")


def _built(cls: type, data: Any, where: str) -> Any:
    """The dataclass of a mapping; ValueError where a key is unknown or a value is of another kind than the default."""
    if not isinstance(data, dict):
        raise ValueError(f"{where or 'the file'}: expected fields with values, got {type(data).__name__}")
    defaults, given = cls(), {}
    for name, value in data.items():
        if name not in {f.name for f in dataclasses.fields(cls)}:
            raise ValueError(f"unknown field {where}{name}; --help lists them")
        default = getattr(defaults, name)
        if dataclasses.is_dataclass(default):
            value = _built(type(default), value, f"{where}{name}.")
        elif isinstance(default, tuple) and isinstance(value, list):
            value = tuple(value)
        elif type(default) is float and type(value) in (int, str):
            value = _number(value, f"{where}{name}")  # YAML takes 1e-3 for a text
        if type(value) is not type(default):
            raise ValueError(f"{where}{name} {value!r}: expected {type(default).__name__}")
        given[name] = value
    return cls(**given)


def _number(value: int | str, name: str) -> float:
    try:
        return float(value)
    except (OverflowError, ValueError) as error:
        raise ValueError(f"{name} {value!r:.40}: expected a number") from error
