# SPDX-License-Identifier: Apache-2.0
"""Our copy of vision_msgs is upstream's: the same names and types in the same order, or its messages do not pass."""

import importlib
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "support/vision_msgs/msg"
UPSTREAM = {  # ros-perception/vision_msgs, branch ros2 at e77fa2d9 (4.1.1, of Humble and later)
    "BoundingBox3D": ["geometry_msgs/Pose center", "geometry_msgs/Vector3 size"],
    "Detection3D": [
        "std_msgs/Header header",
        "ObjectHypothesisWithPose[] results",
        "BoundingBox3D bbox",
        "string id",
    ],
    "Detection3DArray": ["std_msgs/Header header", "Detection3D[] detections"],
    "ObjectHypothesis": ["string class_id", "float64 score"],
    "ObjectHypothesisWithPose": ["ObjectHypothesis hypothesis", "geometry_msgs/PoseWithCovariance pose"],
}


def test_the_messages_that_are_built_from_this_tree_are_a_part_of_upstreams():
    assert {path.stem for path in FOLDER.glob("*.msg")} == set(UPSTREAM)


@pytest.mark.parametrize("name", UPSTREAM)
def test_fields_are_upstreams_in_file_and_in_what_was_built_of_it(name):
    lines = [line.split("#")[0].split() for line in (FOLDER / f"{name}.msg").read_text().splitlines()]
    assert [" ".join(line) for line in lines if line] == UPSTREAM[name]
    built = getattr(importlib.import_module("vision_msgs.msg"), name).get_fields_and_field_types()
    wanted = {}
    for line in UPSTREAM[name]:
        kind, field = line.split()
        kind = kind if "/" in kind or kind[0].islower() else f"vision_msgs/{kind}"
        wanted[field] = f"sequence<{kind[:-2]}>" if kind.endswith("[]") else kind.replace("float64", "double")
    assert built == wanted
