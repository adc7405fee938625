# SPDX-License-Identifier: Apache-2.0
"""The action `grasp` over real DDS: a phrase becomes poses for a planner, in stages, or a typed result says why not.

`Ground` is stood in for by a service that knows where the boxes of a synthetic table are.
"""

import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from action_msgs.msg import GoalStatus
from rclpy.action import ActionClient
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.parameter import Parameter
from ros_support import OPTICAL_FRAME, FakeCamera, ros, wait_until  # noqa: F401
from scipy.spatial.transform import Rotation
from std_msgs.msg import Header

from dropclip_ros.action import Grasp
from dropclip_ros.base.errors import Status
from dropclip_ros.grasping.antipodal import sample_antipodal
from dropclip_ros.grasping.grasps import Grasps
from dropclip_ros.grasping.grippers import GRIPPERS
from dropclip_ros.grasping.matching import RULES
from dropclip_ros.msg import FoundObject, GraspArray, Interpretation
from dropclip_ros.nodes.grasp_matcher_node import GraspMatcherNode
from dropclip_ros.ros.common import GRASP_ACTION, GRASPS_TOPIC, GROUND_SERVICE, MATCH_SERVICE
from dropclip_ros.ros.grasp_messages import grasp_array_message
from dropclip_ros.ros.messages import cloud_message, pose_matrix
from dropclip_ros.srv import Ground, MatchGrasps
from dropclip_ros.vision.geometry import backproject, transform_points

WORLD = "world"


class FakeGround(Node):
    """Finds what `points` holds (m, camera frame), in the image's frame; waits for `may_answer` first."""

    def __init__(self):
        super().__init__("fake_ground")
        self.points: dict[str, np.ndarray] = {}
        self.header, self.asked, self.may_answer = Header(), 0, threading.Event()
        self.request, self.status = Ground.Request(), Status.OK
        self.may_answer.set()
        self.create_service(Ground, GROUND_SERVICE, self._ground, callback_group=ReentrantCallbackGroup())

    def _ground(self, request, response):
        self.asked, self.request = self.asked + 1, request
        self.may_answer.wait(20)
        if request.query not in self.points:
            return Ground.Response(status=int(Status.NOT_FOUND), message=f"no {request.query}")
        points = self.points[request.query]
        cloud = cloud_message(self.header, points, np.zeros_like(points), np.ones(len(points)))
        response.header = Header(stamp=self.header.stamp, frame_id=request.target_frame or OPTICAL_FRAME)
        response.objects = [FoundObject(cloud=cloud, score=0.9, id=7, label="thing")]
        response.interpretation = Interpretation(text="thing [red]", question="which of them?")
        response.status = int(self.status)
        return response


class Setup:
    """A camera over two boxes and a ball, proposals for them, the matcher, and a client of its action."""

    def __init__(self, ros, tabletop):
        self.ros, self.frame = ros, tabletop.frame
        points, pixels = backproject(self.frame.depth, self.frame.intrinsics)
        labels = tabletop.labels.reshape(-1)[pixels]
        self.pose = self.frame.camera_pose  # world_from_camera, the table at z = 0
        plane = np.append(self.pose[2, :3], self.pose[2, 3])
        self.grasps = sample_antipodal(points[labels >= 2], table=plane)
        self.ground = ros.serve(FakeGround())
        self.ground.points = {f"thing {label}": points[labels == label] for label in (2, 3, 4)}
        self.camera = FakeCamera(ros.node)
        self.publisher = ros.node.create_publisher(GraspArray, GRASPS_TOPIC, 1)
        self.matcher = ros.start(
            GraspMatcherNode,
            world_frame=WORLD,
            proposals_timeout=0.5,
            tf_timeout=0.5,
            ground_timeout=20.0,
            reliable=True,
            frame_timeout=0.5,
            max_frame_age=60.0,
        )
        self.client = ActionClient(ros.node, Grasp, GRASP_ACTION)
        assert self.client.wait_for_server(20)
        self.camera.wait_for(streams=("depth", "info"))
        wait_until(lambda: self.publisher.get_subscription_count() == 1)
        self.show()

    def show(self, frame=None, proposals: Grasps | None = None) -> None:
        """The camera sees a frame; what stands on the table and what is proposed are of this moment."""
        self.ground.header = self.camera.send(
            {k: v for k, v in self.camera.messages(frame or self.frame).items() if k != "color"}
        )
        self.camera.send_transform(self.ground.header.stamp, WORLD, OPTICAL_FRAME, self.pose)
        self.publisher.publish(grasp_array_message(self.ground.header, self.grasps if proposals is None else proposals))
        time.sleep(0.2)  # until the matcher has them

    def start(self, query: str, stages: list | None = None, **fields):
        feedback = (lambda msg: stages.append(msg.feedback.stage)) if stages is not None else None
        future = self.client.send_goal_async(Grasp.Goal(query=query, **fields), feedback_callback=feedback)
        wait_until(future.done, 20)
        return future.result()

    def result(self, goal) -> tuple[Grasp.Result, int]:
        future = goal.get_result_async()
        wait_until(future.done, 20)
        return future.result().result, future.result().status

    def ask(self, query: str, **fields) -> tuple[Grasp.Result, int]:
        return self.result(self.start(query, **fields))

    def set(self, **parameters) -> None:
        results = self.matcher.set_parameters([Parameter(name, value=value) for name, value in parameters.items()])
        assert all(r.successful for r in results), results


@pytest.fixture(scope="module")
def setup(ros, make_tabletop):
    return Setup(ros, make_tabletop())


@pytest.fixture(autouse=True)
def afresh(setup):
    yield
    setup.ground.may_answer.set()
    setup.ground.status = Status.OK
    setup.set(
        workspace=[0.0],
        **{"extrinsics.check_height": False},
        use_camera=True,
        open_wider=0.2,
        max_distance=0.1,
        rules=list(RULES),
        gripper="robotiq_2f_140",
        sample_target=True,
        rank="lift",
    )
    setup.show()


def test_a_phrase_becomes_poses_for_a_planner_stage_by_stage(setup):
    setup.set(gripper="parallel_140")  # its tips are in one place at any opening
    stages = []
    result, status = setup.result(setup.start("thing 2", stages, top_k=2))
    assert (result.status, status) == (Status.OK, GoalStatus.STATUS_SUCCEEDED), result.message
    assert result.header.frame_id == WORLD and result.header.stamp == setup.ground.header.stamp
    assert stages == ["ground", "proposals", "surroundings", "match"] == [t.stage for t in result.timing]
    assert 1 <= len(result.candidates) <= 2
    for candidate in result.candidates:
        tool, before, after, tip = (
            pose_matrix(p.position, p.orientation)
            for p in (candidate.tool, candidate.pregrasp, candidate.retreat, candidate.grasp.tip)
        )
        reach = GRIPPERS["parallel_140"].tool_from_tip(np.array([candidate.grasp.width]))[0]
        assert np.allclose(tool @ reach, tip, atol=1e-5)
        assert np.allclose(before[:3, 3], tool[:3, 3] - 0.1 * tip[:3, 0], atol=1e-5)
        assert np.allclose(after[:3, 3], tool[:3, 3] + (0, 0, 0.15), atol=2e-3)  # world's z is up
        assert np.linalg.norm(tip[:2, 3] - (-0.12, 0.0)) < 0.08  # at the first box


def test_service_and_action_give_the_same(setup):
    client = setup.ros.node.create_client(MatchGrasps, MATCH_SERVICE)
    answer = setup.ros.call(client, MatchGrasps.Request(query="thing 3"))
    result, _ = setup.ask("thing 3")
    assert answer.candidates == result.candidates
    assert [c.grasp for c in answer.candidates] == answer.grasps.grasps


def test_goals_wait_for_answers_side_by_side_and_can_be_cancelled_meanwhile(setup):
    setup.ground.may_answer.clear()
    asked = setup.ground.asked
    goals = [setup.start(f"thing {label}") for label in (2, 3, 4)]
    wait_until(lambda: setup.ground.asked == asked + 3, 10)
    waiting = goals[2].cancel_goal_async()
    wait_until(waiting.done)
    assert setup.result(goals[2])[0].status == Status.CANCELLED
    setup.ground.may_answer.set()
    assert [setup.result(goal)[0].status for goal in goals[:2]] == [Status.OK, Status.OK]


@pytest.mark.parametrize("stage", ["ground", "proposals"])
def test_a_goal_is_cancelled_while_it_waits(setup, stage):
    if stage == "ground":
        setup.ground.may_answer.clear()
    else:
        setup.set(proposals_timeout=20.0)
        setup.ground.header = Header(stamp=setup.ground.header.stamp, frame_id=OPTICAL_FRAME)
        setup.ground.header.stamp.sec -= 30  # no proposals are near that
    stages = []
    goal = setup.start("thing 2", stages)
    wait_until(lambda: stages[-1:] == [stage])
    cancel = goal.cancel_goal_async()
    wait_until(cancel.done)
    result, status = setup.result(goal)
    setup.set(proposals_timeout=0.5)
    assert (result.status, status) == (Status.CANCELLED, GoalStatus.STATUS_CANCELED)
    assert stage in result.message and not result.candidates


def test_too_many_goals_are_rejected_and_the_node_serves_on(setup):
    setup.ground.may_answer.clear()
    goals = [setup.start("thing 2") for _ in range(12)]
    assert [goal.accepted for goal in goals] == 8 * [True] + 4 * [False]
    setup.ground.may_answer.set()
    assert {setup.result(goal)[0].status for goal in goals if goal.accepted} == {Status.OK}
    assert setup.ask("thing 2")[0].status == Status.OK


def moved(grasps: Grasps, offset=(0.0, 0.0, 0.0), **changes) -> Grasps:
    return replace(grasps, translation=grasps.translation + offset, **changes)


def nothing_near(setup, _):
    setup.show(proposals=moved(setup.grasps, (2.0, 0, 0)))


def none_proposed(setup, _):
    setup.show(proposals=Grasps.empty())


def all_collide(setup, _):
    """5 cm too low: the hand would be in the object, the fingers in the table."""
    setup.show(proposals=moved(setup.grasps, -0.05 * setup.pose[2, :3]))


def too_wide(setup, _):
    setup.show(proposals=moved(setup.grasps, width=np.full(len(setup.grasps), 0.145)))


def object_moved(setup, make_tabletop):
    """Found, and proposed for, where it no longer is when the matcher looks."""
    header = setup.ground.header
    frame = make_tabletop(boxes=((0.3, 0.2, 0.08, 0.06, 0.12), (0.12, 0.1, 0.1, 0.1, 0.05))).frame
    setup.show(frame)
    setup.ground.header = header


@pytest.mark.parametrize(
    ("break_it", "status", "words"),
    [
        (none_proposed, Status.NO_GRASPS, "no grasp proposals"),
        (nothing_near, Status.NO_GRASPS, "is near the target"),
        (all_collide, Status.NO_GRASPS, "in something seen"),
        (too_wide, Status.TOO_WIDE, "wider than the gripper"),
        (object_moved, Status.SCENE_CHANGED, "no longer where it was"),
    ],
)
def test_each_fault_is_a_typed_result_without_poses(setup, make_tabletop, break_it, status, words):
    setup.set(sample_target=False)
    break_it(setup, make_tabletop)
    result, ended = setup.ask("thing 2")
    assert (result.status, ended) == (status, GoalStatus.STATUS_ABORTED), result.message
    assert words in result.message and not result.candidates


@pytest.mark.parametrize("break_it", [none_proposed, nothing_near, all_collide, too_wide])
def test_where_no_proposal_can_be_used_the_target_is_sampled(setup, make_tabletop, break_it):
    break_it(setup, make_tabletop)
    result, _ = setup.ask("thing 2")
    assert result.status == Status.OK and 1 <= len(result.candidates) <= 8, result.message
    assert "sampled on the target; " in result.message and result.timing
    target = setup.ground.points["thing 2"].mean(axis=0)
    assert result.header.frame_id == WORLD
    points = [candidate.grasp.tip.position for candidate in result.candidates]
    tips = np.array([(point.x, point.y, point.z) for point in points])
    assert (np.linalg.norm(tips - transform_points(setup.pose, target), axis=1) < 0.1).all()


def test_without_tf_or_an_answer_of_ground_the_result_says_so(setup):
    assert setup.ask("thing 2", target_frame="nowhere")[0].status == Status.TF_ERROR
    assert setup.ask("a dragon")[0].status == Status.NOT_FOUND
    assert setup.ask("  ")[0].status == Status.BAD_REQUEST
    setup.set(rules=["width"], rank="score", open_wider=0.0, sample_target=False, use_camera=False)
    assert setup.ask("thing 2")[0].status == Status.BAD_REQUEST


def test_a_smaller_gripper_gets_other_grasps_and_parameters_that_make_no_sense_are_refused(setup, tmp_path):
    setup.set(gripper="robotiq_2f_85")
    result, _ = setup.ask("thing 2")
    assert result.status != Status.OK or all(c.grasp.width < 0.0851 for c in result.candidates)
    for name, value, words in (
        ("gripper", "claw", "expected one of"),
        ("rules", ["luck"], "luck"),
        ("gripper", str(tmp_path / "none.yaml"), "cannot be used"),
        ("use_camera", False, "need no camera"),
    ):
        refused = setup.matcher.set_parameters([Parameter(name, value=value)])[0]
        assert not refused.successful and words in refused.reason


def test_proposals_that_are_not_of_where_the_target_is_are_dropped(setup):
    """As when it moved between proposals and query: none closes on it."""
    aside = moved(setup.grasps, 0.12 * setup.pose[0, :3])  # along the world's x, in the camera's frame
    setup.set(rules=["target"], max_distance=0.2, sample_target=False)
    setup.show(proposals=aside)
    result, _ = setup.ask("thing 2")
    assert result.status == Status.NO_GRASPS and "without the target" in result.message


HOW = {
    "negatives": ["a cup"],
    "negatives_mode": Ground.Request.NEGATIVES_CUSTOM,
    "threshold": 0.25,
    "viewer_frame": "robot",
    "previous": [3, 4],
    "literal": True,
    "source": Ground.Request.SOURCE_MAP,
}


@pytest.mark.parametrize("ask", ["grasp", "match_grasps"])
def test_how_a_phrase_is_meant_goes_to_ground_and_its_reading_comes_back(setup, ask):
    if ask == "grasp":
        answer, _ = setup.ask("thing 2", **HOW)
    else:
        client = setup.ros.node.create_client(MatchGrasps, MATCH_SERVICE)
        answer = setup.ros.call(client, MatchGrasps.Request(query="thing 2", **HOW))
    assert answer.status == Status.OK, answer.message
    for name, value in HOW.items():
        told = getattr(setup.ground.request, name)
        assert (list(told) if isinstance(value, list) else told) == value, name
    assert (answer.objects[0].id, answer.objects[0].label) == (7, "thing")
    assert answer.objects[0].cloud.width == 0  # what is large stays behind
    assert answer.interpretation.text == "thing [red]"


def test_a_phrase_that_fits_several_things_is_handed_back_with_them(setup):
    setup.ground.status = Status.AMBIGUOUS
    result, ended = setup.ask("thing 2")
    assert (result.status, ended) == (Status.AMBIGUOUS, GoalStatus.STATUS_ABORTED)
    assert result.objects[0].id == 7 and result.interpretation.question and not result.candidates


def hidden(frame, share: float):
    """Without depth in the left part of the image, where the first box is."""
    depth = frame.depth.copy()
    depth[:, : int(share * depth.shape[1])] = 0
    return replace(frame, depth=depth)


def test_a_target_that_is_not_seen_any_more_gets_no_grasp(setup):
    header = setup.ground.header
    setup.show(hidden(setup.frame, 0.5))
    setup.ground.header = header
    result, _ = setup.ask("thing 2")
    assert result.status == Status.TARGET_UNSEEN and not result.candidates, result.message


def test_no_pose_leaves_the_workspace(setup):
    setup.set(workspace=[2.0, 2.0, 0.0, 3.0, 3.0, 1.0])
    result, _ = setup.ask("thing 2")
    assert result.status == Status.OUT_OF_WORKSPACE and not result.candidates, result.message
    setup.set(workspace=[-1.0, -1.0, 0.0, 1.0, 1.0, 1.5])
    assert setup.ask("thing 2")[0].status == Status.OK
    for wrong in ([0.0, 0.0, 0.0, 0.0, 0.0, 0.0], [1.0, 2.0]):
        assert not setup.matcher.set_parameters([Parameter("workspace", value=wrong)])[0].successful
    assert not setup.matcher.set_parameters([Parameter("reach", value=1.0)])[0].successful  # of what arm?


@pytest.mark.parametrize(
    ("degrees", "lower", "status"),
    [(0, 0, "fine"), (2, 0, "warned"), (5, 0, "TF_ERROR"), (0, 15, "warned"), (0, 40, "TF_ERROR")],
)
def test_a_camera_that_is_not_where_tf_says_is_told(setup, degrees, lower, status):
    setup.set(**{"extrinsics.check_height": True})
    right, wrong = setup.pose, np.eye(4)
    wrong[:3, :3] = Rotation.from_rotvec([0, np.radians(degrees), 0]).as_matrix()
    wrong[2, 3] = -lower / 1000
    setup.pose = wrong @ right
    try:
        setup.show()
        result, _ = setup.ask("thing 3")
    finally:
        setup.pose = right
    doubted = "is the camera where TF says" in result.message
    found = "fine" if not doubted else "warned" if result.status == Status.OK else Status(result.status).name
    assert found == status, result.message
