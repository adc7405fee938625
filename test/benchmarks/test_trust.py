# SPDX-License-Identifier: Apache-2.0
"""The commands that attack: a few spoilt files of each kind end typed; a fault is put in place, and differs."""

import ast
import random
import shutil

import pytest

from benchmarks import mutants
from benchmarks.trust.files import play, spoil
from benchmarks.trust.kinds import KINDS


@pytest.fixture(scope="module", params=sorted(KINDS))
def good(request, tmp_path_factory):
    pytest.importorskip("rosbags")
    folder = tmp_path_factory.mktemp("kind")
    (folder / "good").mkdir()
    KINDS[request.param].make(folder / "good")
    return request.param, folder


def test_spoilt_files_are_read_or_refused_in_a_typed_line(good):
    name, folder = good
    shutil.copytree(folder / "good", folder / "kept")
    KINDS[name].read(folder / "kept")
    said = {number: play(name, folder / "good", folder / "one", number, seed=7) for number in range(12)}
    assert set(said.values()) <= {"read", "typed"}, said


def test_a_file_is_spoilt_the_same_each_time():
    data = bytes(range(256))
    assert spoil(data, random.Random("a"), False) == spoil(data, random.Random("a"), False) != data


SOURCE = """
def f(a: int | None, b=0):
    if a < 1 and not b:
        raise ValueError("x" + str(b - 1))
    return max(len(a) >= 2, -b)
"""


def test_mutants_change_what_runs_and_leave_words_and_annotations_alone():
    changed = set()
    for i, _ in enumerate(mutants.changes(ast.parse(SOURCE))):
        tree = ast.parse(SOURCE)
        node, field, value = next(one for k, one in enumerate(mutants.changes(tree)) if k == i)
        if not (field == "op" and isinstance(node, ast.UnaryOp)):
            setattr(node, field, value)
            changed.add(ast.unparse(ast.fix_missing_locations(tree)))
    together = "\n".join(changed)
    assert "a >= 1 and" in together and "a < 1 or" in together and "min(" in together and "len(a) > 2" in together
    assert "int & None" not in together and "b + 1" not in together and "b=1" in together


def test_a_drawn_mutant_is_another_program_and_the_same_each_time():
    drawn = mutants.drawn(5, 0, "vision.voxels")
    assert drawn == mutants.drawn(5, 0, "vision.voxels") and len(drawn) == 5
    for one in drawn:
        tree, before, after, line = mutants.mutated(one.module, one.number)
        assert (before, after, line) == (one.before, one.after, one.line) and before != after
        assert ast.unparse(tree) != ast.unparse(ast.parse(mutants.file_of(one.module).read_text()))
