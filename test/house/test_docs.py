# SPDX-License-Identifier: Apache-2.0
"""What the README and the pages of docs/ name is there: files, links, modules, commands with their options, nodes."""

import re
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PAGES = (
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "benchmarks/README.md", "dropclip_ros/model/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
)
FOLDERS = "dropclip_ros training benchmarks test docs config launch msg srv action native tools demo .ci .github"
FILE = re.compile(rf"(?<![\w./<>-])(?:{'|'.join(map(re.escape, FOLDERS.split()))})/[\w./*-]*[\w*/]")
OWN = re.compile(r"^(?:mine|my_)|/(?:mine|my_)")  # names that a reader is asked to choose
HISTORY = "commit"  # a paragraph or block with this word tells what was done with files of then


def blocks(page: Path) -> list[str]:
    """Paragraphs and blocks of code; of docs/moved.md what stands before the lists of old names."""
    text = page.read_text(encoding="utf-8")
    text = text.partition("## Modules")[0] if page.name == "moved.md" else text
    return [block for block in re.split(r"\n\s*\n", text) if HISTORY not in block]


def named(pattern: str) -> set[tuple[str, ...]]:
    """(page, groups ...) wherever the pattern stands on a page; a command may be broken into lines."""
    joined = ((page.name, re.sub(r"\\?\n\s*", " ", block)) for page in PAGES for block in blocks(page))
    return {(name, *found.groups()) for name, block in joined for found in re.finditer(pattern, block)}


@cache
def source() -> str:
    """All code, in which the name of an option must stand."""
    files = (p for top in ("dropclip_ros", "training", "benchmarks", "test") for p in (ROOT / top).rglob("*.py"))
    return "\n".join(path.read_text(encoding="utf-8") for path in files if path.name != "test_docs.py")


def there(name: str) -> bool:
    """Is it a file, a folder or a pattern of files? Interfaces may lack their suffix, as ROS names them."""
    name = re.sub(r"^dropclip_ros/(msg|srv|action)/", r"\1/", name.rstrip("/"))
    return any(ROOT.glob(name)) or any(ROOT.glob(f"{name}.*"))


def test_the_readme_is_short():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 120
    assert re.findall(r"^(\d+)\. ", text.partition("## Limits")[2], re.MULTILINE) == [str(k) for k in range(1, 11)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_and_links_are_there(page):
    text = "\n\n".join(blocks(page))
    lost = [name for name in FILE.findall(text) if not OWN.search(name) and not there(name)]
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        if target.startswith("http"):
            continue
        other = (page.parent / path).resolve() if path else page
        heads = re.findall(r"^#+ (.*)", other.read_text(encoding="utf-8"), re.MULTILINE) if anchor else []
        anchors = {"", *(re.sub(r"\W+", "-", head.lower()).strip("-") for head in heads)}
        if not other.exists() or anchor not in anchors:
            lost.append(target)
    assert not lost


def test_modules_that_are_started_are_there():
    for page, module in named(r"python(?:3\S*)? -m ([\w.]+)") | named(r"torchrun .*?-m ([\w.]+)"):
        spec = find_spec(module)
        if spec and spec.submodule_search_locations:
            spec = find_spec(f"{module}.__main__")
        assert spec, f"{page}: python -m {module}"
    for page, path in named(r"python(?:3\S*)? ((?:[\w.]+/)+\w+\.py)") | named(r"pytest ((?:[\w.]+/)+\w+\.py)"):
        assert (ROOT / path).is_file(), f"{page}: {path}"


def test_commands_are_there():
    scripts = re.findall(r"^(dropclip[\w-]*) = ", (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    for page, command in named(r"(?<![\w./-])(dropclip(?:-[a-z0-9]+)?) (?=[a-z-])"):
        assert command in scripts, f"{page}: {command}"
    targets = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split()
    for page, target in named(r"`make (\w+)[ `]"):
        assert target in targets, f"{page}: make {target}"
    for page, flag in named(r"(?:python -m|dropclip[\w-]*)[^`|]*? --([a-z][\w.-]*)"):
        if page == "deploy.md" and flag in ("build", "build-arg", "ipc", "network", "profile", "rm"):
            continue  # Docker's
        name = re.split(r"[.]", flag)[-1].replace("-", "_")
        assert re.search(rf"\b(no_)?{name.removeprefix('no_')}\b|--{flag}", source()), f"{page}: --{flag}"


def test_subcommands_are_there():
    from training.evaluate.cli import COMMANDS

    tables = {name for _, name in named(r"dropclip-eval ((?:table|figure)\d+|ovs3d|student)")}
    assert tables and tables <= set(COMMANDS)
    for page, command, name in named(r"dropclip-(mvtod|trials|ovs3d) ([a-z]+)(?= )"):
        assert re.search(rf"\b(def )?_?{name}\b", source()), f"{page}: dropclip-{command} {name}"


def test_launch_files_and_nodes_are_there():
    launched, run = named(r"ros2 launch dropclip_ros (\S+\.py)"), named(r"ros2 run dropclip_ros (\w+)")
    assert launched and run
    assert not [name for _, name in launched if not (ROOT / "launch" / name).exists()]
    assert not [
        name
        for _, name in run
        if not (ROOT / "scripts" / name).exists() and not (ROOT / f"dropclip_ros/nodes/{name}.py").exists()
    ]
    assert not [name for _, name in named(r"dropclip_ros/srv/(\w+) ") if not (ROOT / f"srv/{name}.srv").exists()]


def test_parameters_of_nodes_are_those_of_the_page():
    pytest.importorskip("rclpy", reason="rclpy is not installed (extra `ros`)")
    command = [sys.executable, str(ROOT / "tools/node_parameters.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_the_api_page_has_every_name_of_the_package():
    import dropclip_ros

    said = re.findall(r"^::: (\S+)", (ROOT / "docs/api.md").read_text(encoding="utf-8"), re.MULTILINE)
    places = dropclip_ros._PLACES.items()
    assert sorted(said) == sorted(f"dropclip_ros.{place}.{name}" for place, names in places for name in names)


def test_every_page_is_in_the_site():
    class Loader(yaml.SafeLoader):
        """Takes mkdocs's !!python names for text."""

    Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda loader, suffix, node: suffix)
    site = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), Loader)
    pages = set(re.findall(r"[\w/]+\.md", str(site["nav"])))
    assert pages == {page.name for page in (ROOT / "docs").glob("*.md")}
