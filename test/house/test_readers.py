# SPDX-License-Identifier: Apache-2.0
"""Files from outside are opened by their readers alone: those of `base.reading` and of the modules in READERS."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
READERS = {
    "dropclip_ros/base/reading.py",
    "training/runs/reading.py",
    "dropclip_ros/base/shapes.py",
    "dropclip_ros/vision/bags.py",
}
OWN = {  # what they read is part of the package, or was written by this very process
    "dropclip_ros/language/words.py",
    "dropclip_ros/nodes/demo.py",
    "dropclip_ros/ros/launcher.py",
}
LIBRARIES = {  # functions that open files or decode them, by module
    "json": {"load", "loads"},
    "yaml": {"load", "safe_load", "load_all", "safe_load_all", "full_load", "unsafe_load"},
    "np": {"load", "fromfile", "loadtxt", "genfromtxt", "memmap"},
    "torch": {"load"},
    "h5py": {"File"},
    "trimesh": {"load", "load_mesh", "load_scene", "load_path"},
    "Image": {"open"},
    "PillowImage": {"open"},
    "tarfile": {"open"},
    "zipfile": {"ZipFile", "Path"},
    "pickle": {"load", "loads"},
    "io": {"read_point_cloud", "read_triangle_mesh", "read_image"},
}
NAMES = {"safe_open", "load_file", "AnyReader"}
METHODS = {"read_text", "read_bytes"}


def opened_past_the_readers(text: str) -> list[tuple[int, str]]:
    """Line and words of each call that reads a file, or decodes what one holds, by a library itself."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call):
            continue
        function, words = node.func, ast.unparse(node)
        if isinstance(function, ast.Name) and function.id in NAMES:
            found.append((node.lineno, words))
        elif isinstance(function, ast.Attribute):
            owner = function.value
            name = owner.id if isinstance(owner, ast.Name) else getattr(owner, "attr", "")
            writes = any(isinstance(arg, ast.Constant) and arg.value == "w" for arg in ast.walk(node))
            a_copy = words.startswith("json.loads(json.dumps(")  # of one's own, with lists for tuples
            if not writes and not a_copy and (function.attr in METHODS or function.attr in LIBRARIES.get(name, ())):
                found.append((node.lineno, words))
    return found


@pytest.mark.parametrize("package", ["dropclip_ros", "training"])
def test_files_are_opened_by_their_readers(package):
    wrong = [
        f"{name}:{line}: {words:.80}"
        for path in sorted((ROOT / package).rglob("*.py"))
        if (name := str(path.relative_to(ROOT))) not in READERS | OWN
        for line, words in opened_past_the_readers(path.read_text(encoding="utf-8"))
    ]
    assert not wrong, "use a reader of dropclip_ros.base.reading or training.runs.reading"


@pytest.mark.parametrize(
    "line", ["json.load(file)", "np.load(path)", "Image.open(path)", "path.read_text()", "o3d.io.read_point_cloud(p)"]
)
def test_the_check_sees_them(line):
    assert opened_past_the_readers(line)


@pytest.mark.parametrize("line", ["json.loads(json.dumps(config))", 'h5py.File(part, "w")', "np.save(path, rows)"])
def test_the_check_leaves_writing_alone(line):
    assert not opened_past_the_readers(line)
