# SPDX-License-Identifier: Apache-2.0
"""What is not seen is not unmoved, and a wall is no table: grasps for a target in a depth image that shows less, or
other things, than when it was found."""

from dataclasses import replace

import numpy as np
import pytest

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.grasping.antipodal import sample_antipodal
from dropclip_ros.grasping.choose import View, World, choose, look
from dropclip_ros.grasping.gate import Limits, seen_beside
from dropclip_ros.grasping.grippers import ROBOTIQ_2F_140 as HAND
from dropclip_ros.grasping.handoff import HandoffConfig
from dropclip_ros.grasping.matching import RULES, MatchConfig
from dropclip_ros.tabletop.workspace import Workspace
from dropclip_ros.vision.geometry import backproject, invert_pose, transform_points

CONFIG = MatchConfig(rules=tuple(RULES), max_distance=0.1, rank="score", open_wider=0.2, sample_target=True)
LIMITS = Limits()
FIRST = 2  # label of the first object


class Scene:
    """A synthetic table, an object on it that was found, and proposals for all of them."""

    def __init__(self, tabletop):
        self.frame, self.up = tabletop.frame, tabletop.up
        points, pixels = backproject(self.frame.depth, self.frame.intrinsics)
        labels = tabletop.labels.reshape(-1)[pixels]
        self.target, pose = points[labels == FIRST], self.frame.camera_pose
        self.proposals = sample_antipodal(points[labels >= FIRST], table=np.append(pose[2, :3], pose[2, 3]))
        v, u = np.nonzero(tabletop.labels == FIRST)
        self.box = (slice(v.min() - 3, v.max() + 4), slice(u.min() - 3, u.max() + 4))

    def choose(self, depth, limits=LIMITS, world=None, config=CONFIG):
        """Proposals and target in the world, where z is up."""
        pose = self.frame.camera_pose
        view = View(depth, self.frame.intrinsics, pose, pose)
        target = transform_points(pose, self.target)
        seen = look(target, view, Workspace(), 0.1, limits)
        world = world or World(np.eye(4), level=True)
        return choose(self.proposals.transformed(pose), target, config, HAND, HandoffConfig(), world, limits, seen)


@pytest.fixture(scope="module")
def scene(make_tabletop):
    return Scene(make_tabletop())


def hole(scene, depth):
    depth[scene.box] = 0


def hand_before(scene, depth):
    depth[scene.box] = 0.3


def thing_on_top(scene, depth):
    depth[scene.box] = np.minimum(depth[scene.box], np.median(depth[scene.box]) - 0.1)


def out_of_view(scene, depth):
    """As where the camera has turned: only what is right of the target is seen."""
    depth[:, : scene.box[1].stop] = 0


def three_quarters_hidden(scene, depth):
    rows, columns = scene.box
    depth[rows.start : rows.start + 3 * (rows.stop - rows.start) // 4, columns] = 0


@pytest.mark.parametrize("hide", [hole, hand_before, thing_on_top, out_of_view, three_quarters_hidden])
def test_a_target_that_is_not_seen_any_more_gets_no_grasp(scene, hide):
    assert len(scene.choose(scene.frame.depth).match.grasps) == 3
    depth = scene.frame.depth.copy()
    hide(scene, depth)
    with pytest.raises(DropclipError) as caught:
        scene.choose(depth)
    assert caught.value.status == Status.TARGET_UNSEEN, caught.value.message


def test_a_few_holes_do_no_harm(scene):
    depth = np.where(np.random.default_rng(0).random(scene.frame.depth.shape) < 0.2, 0, scene.frame.depth)
    assert len(scene.choose(depth).match.grasps) == 3


def test_hands_do_not_open_into_what_the_image_does_not_know(scene):
    """The target itself is seen, all around it is not."""
    depth, (rows, columns) = scene.frame.depth.copy(), scene.box
    depth[rows, max(columns.start - 40, 0) : columns.stop + 40] = 0
    depth[scene.box] = scene.frame.depth[scene.box]
    match = scene.choose(depth).match
    camera_from_world = invert_pose(scene.frame.camera_pose)
    hands = replace(match.grasps, width=match.widths).transformed(camera_from_world)
    wider = match.widths > match.grasps.width + 1e-6
    assert (seen_beside(hands, depth, scene.frame.intrinsics, HAND)[wider] >= 0.5).all()
    usual = scene.choose(scene.frame.depth).match
    assert (usual.widths > usual.grasps.width + 0.03).all() and not wider.all()


def test_where_some_of_the_best_are_refused_others_take_their_place(scene):
    many = replace(CONFIG, top_k=20)
    motion = scene.choose(scene.frame.depth, config=many).motion
    ends = np.stack([motion.tip, motion.tool, motion.pregrasp, motion.retreat])[:, :, :3, 3].max(axis=0)  # (K, 3)
    axis = int(np.argmax((ends < ends[0] - 1e-3).sum(axis=0)))  # along which the best one goes far
    most = np.full(3, 5.0)
    most[axis] = ends[0, axis] - 1e-3
    choice = scene.choose(scene.frame.depth, Limits(workspace=(-5, -5, -5, *most)))
    assert len(choice.match.grasps) == 3 and choice.refused[Status.OUT_OF_WORKSPACE] >= 1
    assert (choice.motion.tool[:, axis, 3] <= most[axis]).all()


@pytest.mark.parametrize(
    ("limits", "world", "status"),
    [
        (Limits(workspace=(5, 5, 5, 6, 6, 6)), None, Status.OUT_OF_WORKSPACE),
        (Limits(reach=0.1), World(np.eye(4), True, np.array([2.0, 0, 0])), Status.OUT_OF_REACH),
        (Limits(clearance=0.5), None, Status.TOO_LOW),
        (Limits(), World(np.diag([1.0, -1, -1, 1]), True), Status.BAD_APPROACH),
    ],
    ids=lambda x: getattr(x, "name", None),
)
def test_what_the_gate_refuses_does_not_leave(scene, limits, world, status):
    with pytest.raises(DropclipError) as caught:
        scene.choose(scene.frame.depth, limits, world)
    assert caught.value.status == status, caught.value.message


def test_a_wall_is_not_the_table_where_gravity_is_known(make_tabletop):
    """A large wall behind a small table, seen by a camera that looks ahead; each lift must rise."""
    scene = Scene(make_tabletop(table=(0.25, 0.2), wall=0.35, floor=-0.75, pitch=0.35))
    choice = scene.choose(scene.frame.depth)
    rise = (choice.motion.retreat - choice.motion.tool)[:, :3, 3]
    np.testing.assert_allclose(rise, np.tile([0, 0, 0.15], (len(rise), 1)), atol=0.01)
    assert (choice.motion.tip[:, 2, 3] > 0).all()
