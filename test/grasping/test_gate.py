# SPDX-License-Identifier: Apache-2.0
"""The gate: whatever goes in, what comes out lies inside. And each thing that may be wrong has its own word."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.grasping.gate import (
    Known,
    Limits,
    Refusal,
    raise_where_none_passes,
    refusals,
    seen_beside,
    tips_of,
    verdict,
)
from dropclip_ros.grasping.grasps import Grasps, height_above
from dropclip_ros.grasping.grippers import ROBOTIQ_2F_140 as HAND
from dropclip_ros.grasping.handoff import Handoff
from dropclip_ros.vision.geometry import Intrinsics

UP, TABLE = np.array([0.0, 0.0, 1.0]), np.array([0.0, 0.0, 1.0, 0.0])
KNOWN = Known(up=UP, table=TABLE, base=np.array([-0.5, 0.0, 0.0]), seen=1.0, age=1.0)
LIMITS = Limits(workspace=(-0.4, -0.4, 0.0, 0.4, 0.4, 0.8), reach=1.0, max_age=10.0)
DOWN = Rotation.from_matrix(np.diag([1.0, -1.0, -1.0]))  # the hand's z, its approach, straight down


def place(xyz, turn: Rotation = DOWN) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = turn.as_matrix(), xyz
    return pose


def motion(tool, pregrasp=None, retreat=None, width: float = 0.08) -> tuple[Handoff, np.ndarray]:
    """One motion; where not given, 10 cm back and 15 cm up."""
    tool = np.asarray(tool)
    back, up = np.array([tool, tool])
    back[:3, 3] -= 0.1 * tool[:3, 2]
    up[2, 3] += 0.15
    pregrasp, retreat = back if pregrasp is None else pregrasp, up if retreat is None else retreat
    one = [np.asarray(pose)[None] for pose in (tool, pregrasp, retreat)]
    return Handoff(tips_of(one[0], np.array([width]), HAND), *one), np.array([width])


def judge(*args, known: Known = KNOWN, limits: Limits = LIMITS, **kwargs) -> Refusal | None:
    return refusals(*motion(*args, **kwargs), HAND, known, limits)[0]


GOOD = place((0.1, 0.0, 0.25))


def test_a_good_grasp_passes():
    assert judge(GOOD) is None


def changed(pose, index, value):
    pose = pose.copy()
    pose[index] = value
    return pose


BAD = {
    "a position of NaN": ({"tool": changed(GOOD, (0, 3), np.nan), "pregrasp": GOOD, "retreat": GOOD}, Status.BAD_POSE),
    "a position of inf": ({"tool": GOOD, "pregrasp": changed(GOOD, (2, 3), np.inf)}, Status.BAD_POSE),
    "a position of 1e308": ({"tool": GOOD, "retreat": changed(GOOD, (2, 3), 1e308)}, Status.BAD_POSE),
    "a rotation that scales": ({"tool": GOOD, "retreat": changed(GOOD, (0, 0), 2.0)}, Status.BAD_POSE),
    "a mirrored axis": ({"tool": GOOD, "retreat": changed(GOOD, (0, 0), -1.0)}, Status.BAD_POSE),
    "a width of NaN": ({"tool": GOOD, "width": np.nan}, Status.BAD_POSE),
    "a width of inf": ({"tool": GOOD, "width": np.inf}, Status.BAD_POSE),
    "a width below 0": ({"tool": GOOD, "width": -0.05}, Status.BAD_POSE),
    "a width in mm": ({"tool": GOOD, "width": 80.0}, Status.TOO_WIDE),
    "beside the workspace": ({"tool": place((0.5, 0, 0.25))}, Status.OUT_OF_WORKSPACE),
    "1 km below": ({"tool": GOOD, "pregrasp": place((0.1, 0, -50.0))}, Status.OUT_OF_WORKSPACE),
    "a hand in the table": ({"tool": place((0.1, 0, 0.15))}, Status.OUT_OF_WORKSPACE),
    "from below": ({"tool": place((0.1, 0, 0.5), Rotation.identity())}, Status.BAD_APPROACH),
    "a way off its side": ({"tool": GOOD, "pregrasp": place((0.3, 0, 0.25))}, Status.BAD_APPROACH),
    "a lift that sinks": ({"tool": GOOD, "retreat": place((0.1, 0, 0.24))}, Status.BAD_APPROACH),
    "a lift that goes aside": ({"tool": GOOD, "retreat": place((0.3, 0, 0.27))}, Status.BAD_APPROACH),
}


@pytest.mark.parametrize("name", BAD)
def test_each_fault_has_its_word(name):
    poses, status = BAD[name]
    found = judge(**poses)
    assert found and found.status == status and found.reason, found


@pytest.mark.parametrize(
    ("known", "limits", "status"),
    [
        (KNOWN, Limits(reach=0.5), Status.OUT_OF_REACH),
        (KNOWN, Limits(clearance=0.3), Status.TOO_LOW),
        (Known(table=np.array([0.0, 0.0, 1.0, -0.2])), Limits(), Status.TOO_LOW),
        (Known(up=-UP), Limits(), Status.BAD_APPROACH),
        (Known(seen=0.1), Limits(), Status.TARGET_UNSEEN),
        (Known(seen=float("nan")), Limits(), Status.TARGET_UNSEEN),
        (Known(beside=np.array([0.0])), Limits(), Status.TARGET_UNSEEN),
        (Known(age=100.0), LIMITS, Status.STALE_FRAME),
    ],
    ids=lambda x: getattr(x, "name", None),
)
def test_what_is_known_around_the_grasp_counts(known, limits, status):
    found = judge(GOOD, known=known, limits=limits)
    assert found and found.status == status, found


numbers = st.one_of(st.floats(-1.0, 1.0), st.floats(allow_nan=True, allow_infinity=True), st.just(0.0))
spots = st.tuples(numbers, numbers, numbers)
turns = st.tuples(st.floats(-4, 4), st.floats(-4, 4), st.floats(-4, 4))
near = st.tuples(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5), st.floats(0.0, 0.9))


@st.composite
def motions(draw):
    """Poses of all kinds, more often than not near good ones, and a width."""
    poses = []
    for _ in range(3):
        turn = DOWN * Rotation.from_rotvec(np.multiply(draw(turns), draw(st.sampled_from([0.0, 0.1, 1.0]))))
        pose = place(draw(st.one_of(near, near, spots)), turn)
        if draw(st.integers(0, 9)) == 0:
            pose[draw(st.integers(0, 3)), draw(st.integers(0, 3))] = draw(numbers)
        poses.append(pose)
    return (*poses, draw(st.one_of(st.floats(0.0, 0.15), numbers)))


@settings(deadline=None, max_examples=300)
@given(motions())
def test_whatever_goes_in_what_comes_out_lies_inside(one):
    tool, pregrasp, retreat, width = one
    with np.errstate(all="ignore"):
        if refusals(*motion(tool, pregrasp, retreat, width), HAND, KNOWN, LIMITS)[0]:
            return
    poses = np.array([tool, pregrasp, retreat])
    assert np.isfinite(poses).all() and 0 < width <= HAND.max_width + 1e-6
    assert np.allclose(poses[:, :3, :3] @ poses[:, :3, :3].transpose(0, 2, 1), np.eye(3), atol=1e-3)
    tips = tips_of(poses, np.full(3, width), HAND)
    for places in (poses[:, :3, 3], tips[:1, :3, 3]):
        assert (places >= LIMITS.workspace[:3]).all() and (places <= LIMITS.workspace[3:]).all()
    assert (np.linalg.norm(poses[:, :3, 3] - KNOWN.base, axis=1) <= LIMITS.reach).all()
    hands = Grasps(*np.full((4, 3), (width,)), tips[:, :3, :3], tips[:, :3, 3], [-1] * 3)
    hands = Grasps(hands.score, hands.width, hands.height, np.zeros(3), hands.rotation, hands.translation, [-1] * 3)
    assert (height_above(hands, TABLE, HAND) >= LIMITS.clearance - 1e-9).all()
    assert tips[0, 2, 0] <= np.cos(np.pi - LIMITS.max_tilt) + 1e-9  # not from below
    assert retreat[2, 3] >= tool[2, 3] - 1e-3


def test_one_bad_grasp_among_many_is_alone_refused():
    some = [motion(GOOD), motion(place((9, 9, 9))), motion(GOOD)]
    together = Handoff(
        *(np.concatenate([getattr(m, n) for m, _ in some]) for n in ("tip", "tool", "pregrasp", "retreat"))
    )
    found = refusals(together, np.full(3, 0.08), HAND, KNOWN, LIMITS)
    assert [one and one.status for one in found] == [None, Status.OUT_OF_WORKSPACE, None]
    raise_where_none_passes(found)
    with pytest.raises(DropclipError) as caught:
        raise_where_none_passes(found[1:2])
    assert caught.value.status == Status.OUT_OF_WORKSPACE
    assert verdict([found[1]]) == Status.OUT_OF_WORKSPACE
    assert verdict([found[1], Refusal(Status.TOO_LOW, "")]) == verdict([]) == Status.NO_PATH


def test_no_motion_at_all_is_no_fault():
    none = Handoff(*np.zeros((4, 0, 4, 4)))
    assert refusals(none, np.zeros(0), HAND, KNOWN, LIMITS) == []
    raise_where_none_passes([])


def test_fingers_that_go_where_the_image_knows_nothing_are_told():
    k = Intrinsics(150, 150, 80, 60, 160, 120)
    hand = Grasps(
        [1.0], [0.1], [0.02], [0.02], [np.diag([1.0, 1.0, 1.0])[[2, 1, 0]].T * (1, 1, -1)], [[0, 0, 0.5]], [-1]
    )
    depth = np.full((120, 160), 0.6)
    assert seen_beside(hand, depth, k, HAND) == 1.0
    assert seen_beside(hand, np.zeros_like(depth), k, HAND) == 0.0
    depth[:60] = 0  # the half in which one of the fingers is
    assert 0.3 < seen_beside(hand, depth, k, HAND)[0] < 0.7
    assert seen_beside(hand[:0], depth, k, HAND).shape == (0,)


@pytest.mark.parametrize(
    "limits",
    [
        {"workspace": (0, 0, 0)},
        {"workspace": (0, 0, 0, 1, 1, 0)},
        {"workspace": (0, 0, 0, 1, 1, np.nan)},
        {"reach": -1.0},
        {"max_tilt": np.nan},
        {"min_seen": 1.5},
    ],
    ids=str,
)
def test_limits_that_make_no_sense_are_refused(limits):
    with pytest.raises(ValueError):
        Limits(**limits)
