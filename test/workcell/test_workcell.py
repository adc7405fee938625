# SPDX-License-Identifier: Apache-2.0
"""The workcell: reset, camera, planner and picks, on a table with few objects."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="mujoco is not installed (extra train)")
pytest.importorskip("ompl", reason="ompl is not installed (extra sim)")
pytest.importorskip("ur_analytic_ik", reason="ur_analytic_ik is not installed (extra sim)")

from dropclip_ros.base.errors import Status
from dropclip_ros.grasping.grasps import Grasps
from training.runs.errors import InputError
from training.scenes.description import FIRST_OBJECT_ID, TABLE_ID, SceneConfig
from training.workcell.cell import Cell, CellConfig
from training.workcell.pick import LIFTED, Candidate, candidates_of, pick, place
from training.workcell.planning import NoPath, Planner, observed
from training.workcell.robot import HOME

SMALL = CellConfig(
    scene=SceneConfig(min_objects=1, area=(0.2, 0.17), focal=(540.0, 540.0), scale=(1.0, 1.0), width=320, height=240)
)
BLOCK, CAN = "building_block_28", "soda_can_42"


@pytest.fixture(scope="module")
def cell(off_screen):
    one = Cell(SMALL)
    yield one
    one.close()


def from_above(cell: Cell, name: str, width: float = 0.08) -> Grasps:
    """A grasp of an object from straight above, across its narrower side, 3 cm deep or down to the table."""
    pose, vertices = cell.poses()[name], cell.models[name].vertices
    world = vertices @ pose[:3, :3].T + pose[:3, 3]
    flat = world[:, :2] - world[:, :2].mean(axis=0)
    narrow = np.linalg.eigh(flat.T @ flat)[1][:, 0]
    approach, closing = np.array([0, 0, -1.0]), np.array([*narrow, 0])
    rotation = np.stack([approach, closing, np.cross(approach, closing)], axis=1)
    tip = [*(world[:, :2].min(axis=0) + world[:, :2].max(axis=0)) / 2, max(world[:, 2].max() - 0.03, 0.006)]
    return Grasps.from_rows(np.array([[1, width, 0.03, 0, *rotation.ravel(), *tip, -1]]))


def test_the_same_seed_gives_the_same_cell_and_other_seeds_others(cell):
    def look(seed):
        names = cell.reset(seed, "packed")
        return names, cell.poses(), cell.capture()

    (names, poses, view), (again, same, twice), other = look(5), look(5), look(6)
    assert names == again and names != other[0] and len(names) >= 1
    assert all(np.array_equal(poses[name], same[name]) for name in names)
    assert np.array_equal(view.depth, twice.depth) and np.array_equal(view.rgb, twice.rgb)


def test_the_camera_sees_each_object_where_the_simulator_has_it_and_no_arm_over_the_table(cell):
    names = cell.reset(0, objects=[BLOCK, CAN])
    view = cell.capture(noise=False)
    assert set(names) == {BLOCK, CAN} and set(np.unique(view.mask)) <= {0, TABLE_ID, 2, 3}
    for k, name in enumerate(names):
        v, u = np.nonzero(view.mask == k + FIRST_OBJECT_ID)
        z = view.depth[v, u]
        rays = np.linalg.inv(view.intrinsics) @ np.stack([u * z, v * z, z])
        points = view.world_from_camera[:3, :3] @ rays + view.world_from_camera[:3, 3:]
        assert np.linalg.norm(points.mean(axis=1) - cell.poses()[name][:3, 3]) < 0.05
    seen = observed(view, cell.config)
    nearest = [np.linalg.norm(seen - cell.poses()[name][:3, 3], axis=1) for name in names]
    assert (np.min(nearest, axis=0) < 0.12).all()  # nothing else stands there


def test_faulty_requests_say_what_was_expected(cell):
    for how, words in (
        ({"clutter": "chaos"}, "scattered"),
        ({"split": "test"}, "unseen_instance"),
        ({"objects": ["unicorn_1"]}, "catalogue"),
        ({"min_objects": 9, "max_objects": 3}, "min_objects"),
    ):
        with pytest.raises(InputError, match=words):
            cell.reset(0, **how)


def test_a_block_is_picked_and_held(cell):
    cell.reset(0, objects=[BLOCK, CAN])
    before, stages, seen = cell.poses(), [], cell.capture()
    result = pick(cell, candidates_of(cell, from_above(cell, BLOCK)), seen, stage=stages.append)
    assert result.status == Status.OK and result.executed == 0 and result.lifted == (BLOCK,), result
    assert cell.poses()[BLOCK][2, 3] - before[BLOCK][2, 3] > LIFTED
    np.testing.assert_allclose(cell.poses()[CAN], before[CAN], atol=2e-3)
    height = cell.poses()[BLOCK][2, 3]
    cell.step(1.0)
    assert abs(cell.poses()[BLOCK][2, 3] - height) < 1e-3  # it does not creep out of the hand
    assert stages == ["look", "plan", "reach", "approach", "close", "lift", "hold"] == list(result.timing)


def test_a_pick_is_the_same_each_time(cell):
    def run():
        cell.reset(0, objects=[BLOCK, CAN])
        pick(cell, candidates_of(cell, from_above(cell, CAN)))
        return cell.time, cell.arm(), cell.poses()[CAN]

    first, second = run(), run()
    assert first[0] == second[0] and np.array_equal(first[1], second[1]) and np.array_equal(first[2], second[2])


def test_what_cannot_be_picked_is_told_and_the_arm_stays_home(cell):
    cell.reset(0, objects=[BLOCK])
    good = candidates_of(cell, from_above(cell, BLOCK))[0]
    wide, away, under = replace(good, opening=0.2), moved(good, (2.0, 0, 0)), moved(good, (0, 0, -0.05))
    for candidates, status, words in (
        ([wide, wide], Status.TOO_WIDE, ["0.200 m"] * 2),
        ([away], Status.OUT_OF_REACH, ["reaches"]),
        ([under], Status.TOO_LOW, ["over the table"]),
        ([under, wide], Status.NO_PATH, ["over the table", "0.200 m"]),
        ([replace(good, opening=float("nan"))], Status.BAD_POSE, ["width"]),
        ([], Status.NO_PATH, []),
    ):
        result = pick(cell, candidates)
        assert (result.status, result.executed, len(result.reasons)) == (status, -1, len(words))
        assert len(result.reason_codes) == len(words)
        assert all(word in reason for word, reason in zip(words, result.reasons, strict=True))
        np.testing.assert_allclose(cell.arm(), HOME, atol=1e-3)
    assert pick(cell, [wide, under, away, good]).executed == 3
    assert pick(cell, [good]).status == Status.BAD_REQUEST  # the arm is where it would hide the table


def test_what_was_picked_is_put_down_elsewhere_and_the_arm_goes_home(cell):
    cell.reset(0, objects=[BLOCK, CAN])
    good = candidates_of(cell, from_above(cell, BLOCK))[0]
    began = cell.poses()
    assert place(cell, [good]).status == Status.SLIPPED  # nothing is held yet
    assert pick(cell, [good]).status == Status.OK
    stages: list[str] = []
    way = next(way for way in ((0.0, 0.12, 0.002), (0.0, -0.12, 0.002)) if far_from_can(began, way))
    result = place(cell, [moved(good, (2.0, 0, 0)), moved(good, way)], stage=stages.append)
    assert result.status == Status.OK and result.executed == 1, result.message
    assert stages == ["look", "plan", "reach", "approach", "release", "retreat", "home"]
    ended = cell.poses()
    assert np.allclose(ended[BLOCK][:3, 3], began[BLOCK][:3, 3] + way, atol=0.02)
    assert np.allclose(ended[CAN][:3, 3], began[CAN][:3, 3], atol=0.005)
    np.testing.assert_allclose(cell.arm(), HOME, atol=0.01)
    assert pick(cell, candidates_of(cell, from_above(cell, CAN))).status == Status.OK  # and goes on


def far_from_can(poses, way) -> bool:
    return bool(np.linalg.norm(poses[BLOCK][:2, 3] + way[:2] - poses[CAN][:2, 3]) > 0.12)


def test_nothing_is_put_down_where_something_stands(cell):
    cell.reset(0, objects=[BLOCK, CAN])
    good = candidates_of(cell, from_above(cell, BLOCK))[0]
    assert pick(cell, [good]).status == Status.OK
    poses = cell.poses()
    onto = poses[CAN][:3, 3] - good.tool[:3, 3]
    result = place(cell, [moved(good, (onto[0], onto[1], 0.0))])
    assert result.status == Status.NO_PATH and "collision" in result.message
    assert np.allclose(cell.poses()[CAN], poses[CAN], atol=1e-3)


def test_closing_on_nothing_is_a_slip(cell):
    cell.reset(0, objects=[BLOCK])
    beside = (0, -0.15 if cell.poses()[BLOCK][1, 3] > 0 else 0.15, 0.05)
    result = pick(cell, [moved(candidates_of(cell, from_above(cell, BLOCK))[0], beside)])
    assert result.status == Status.SLIPPED and "nothing" in result.message and result.lifted == ()


def test_after_a_slip_the_arm_goes_home_and_the_next_candidate_is_tried(cell):
    cell.reset(0, objects=[BLOCK])
    good = candidates_of(cell, from_above(cell, BLOCK))[0]
    beside = (0, -0.15 if cell.poses()[BLOCK][1, 3] > 0 else 0.15, 0.05)
    stages: list[str] = []
    result = pick(cell, [moved(good, beside), good], cell.capture(), stage=stages.append)
    assert result.status == Status.OK and result.executed == 1 and result.lifted == (BLOCK,), result
    assert result.reason_codes == [Status.SLIPPED] and stages.count("close") == 2 and "home" in stages
    cell.reset(0, objects=[BLOCK])
    assert pick(cell, [moved(good, beside)]).status == Status.SLIPPED
    np.testing.assert_allclose(cell.arm(), HOME, atol=0.02)  # from where it can look again
    assert pick(cell, [good]).status == Status.OK


def test_an_object_that_moved_is_not_grasped_at(cell):
    cell.reset(0, objects=[BLOCK])
    seen, candidates = cell.capture(), candidates_of(cell, from_above(cell, BLOCK))
    cell.data.joint(cell.model.body(BLOCK).jntadr[0]).qpos[0] += 0.12
    cell.step()
    result = pick(cell, candidates, seen)
    assert result.status == Status.SCENE_CHANGED and result.executed == -1
    np.testing.assert_allclose(cell.arm(), HOME, atol=1e-3)


@pytest.mark.parametrize("stage", ["plan", "reach", "approach", "lift"])
def test_a_cancelled_arm_stops_where_it_is(cell, stage):
    cell.reset(0, objects=[BLOCK])
    begun = []
    result = pick(
        cell, candidates_of(cell, from_above(cell, BLOCK)), cancelled=lambda: stage in begun, stage=begun.append
    )
    assert result.status == Status.CANCELLED and begun[-1] == stage and stage in result.message
    arm = cell.arm()
    cell.step(0.3)
    np.testing.assert_allclose(cell.arm(), arm, atol=5e-3)


def test_only_configurations_that_were_checked_are_sent(cell, monkeypatch):
    """Each command lies on a straight line between two configurations that the planner found free."""
    cell.reset(0, objects=[BLOCK, CAN])
    found, sent = [], []
    plan, command = Planner.plan, cell.command
    monkeypatch.setattr(Planner, "plan", lambda *a, **k: found.append(plan(*a, **k)) or found[-1])
    monkeypatch.setattr(cell, "command", lambda joints: (sent.append(joints), command(joints)))
    pick(cell, candidates_of(cell, from_above(cell, BLOCK)))
    (motion,) = found
    corners = np.concatenate(motion)
    for joints in sent:
        assert min(off_line(joints, a, b) for a, b in pairwise(corners)) < 1e-6


def test_the_planner_goes_around_a_wall_that_was_seen_and_refuses_a_grasp_inside_it(cell):
    cell.reset(0, objects=[BLOCK])
    candidate = candidates_of(cell, from_above(cell, BLOCK))[0]
    how = (candidate.tool, candidate.pregrasp, candidate.retreat, candidate.opening)
    x, y = cell.poses()[BLOCK][:2, 3]
    side = np.arange(-0.1, 0.1, 0.01)
    wall = np.stack(np.meshgrid([x - 0.12], y + side, np.arange(0.01, 0.3, 0.01)), axis=-1).reshape(-1, 3)
    around = Planner(SMALL, wall)
    motion = around.plan(cell.arm(), *how)
    dense = np.concatenate([np.linspace(a, b, 30) for a, b in pairwise(motion.reach)])
    assert all(around.free(joints, candidate.opening) for joints in dense)
    box = np.stack(np.meshgrid(x + side, y + side, np.arange(0.01, 0.2, 0.02)), axis=-1).reshape(-1, 3)
    with pytest.raises(NoPath, match="collision at the grasp"):
        Planner(SMALL, box).plan(cell.arm(), *how)


def test_configs_say_what_is_wrong():
    with pytest.raises(ValueError, match="friction"):
        CellConfig(friction=0.0)
    with pytest.raises(ValueError, match="timestep"):
        CellConfig(timestep=0.003)


def moved(candidate: Candidate, by: tuple[float, float, float]) -> Candidate:
    poses = []
    for pose in (candidate.tool, candidate.pregrasp, candidate.retreat):
        poses.append(pose.copy())
        poses[-1][:3, 3] += by
    return Candidate(*poses, candidate.opening)


def off_line(point: np.ndarray, a: np.ndarray, b: np.ndarray) -> float:
    """How far a point lies from the segment between two others."""
    along = b - a
    share = np.clip((point - a) @ along / max(along @ along, 1e-12), 0, 1)
    return float(np.linalg.norm(point - a - share * along))
