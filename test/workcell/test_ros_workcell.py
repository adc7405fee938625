# SPDX-License-Identifier: Apache-2.0
"""The embedded workcell over DDS, with the real matcher: what a planner is handed, every fault's typed answer, that the
arm stays where it is then, and one whole trial."""

from dataclasses import replace

import numpy as np
import pytest
from ros_support import Ros, ros, wait_until  # noqa: F401  skips where ROS is missing
from sensor_msgs.msg import JointState
from std_msgs.msg import Header

pytest.importorskip("mujoco", reason="mujoco is not installed (make setup)")
pytest.importorskip("ompl", reason="ompl is not installed (make setup)")

from rclpy.action import ActionClient
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node

from dropclip_ros.action import Pick
from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.grasping.grasps import Grasps
from dropclip_ros.msg import FoundObject
from dropclip_ros.nodes.grasp_matcher_node import GraspMatcherNode
from dropclip_ros.ros.arm.placing import put_down
from dropclip_ros.ros.common import ACTION_CLIENT_QOS, DEPTH_TOPIC, GRASPS_TOPIC, PICK_ACTION, PLACE_ACTION
from dropclip_ros.ros.grasp_messages import grasp_array_message
from dropclip_ros.ros.messages import cloud_message, depth_image, nanoseconds, time_message
from dropclip_ros.srv import Ground, ResetCell
from dropclip_ros.vision.geometry import transform_points
from training.scenes.description import SceneConfig
from training.trials import runner, truth
from training.trials.client import MATCHER_NODE, TrialClient
from training.trials.grading import visible
from training.trials.protocol import Protocol
from training.trials.results import ResultFile, read_results
from training.workcell.cell import CellConfig
from training.workcell.node import WorkcellNode
from training.workcell.topics import LABELS_TOPIC, RESET_SERVICE, WORLD

SCENE = SceneConfig(min_objects=1, width=320, height=240, area=(0.2, 0.17), focal=(540.0, 540.0), scale=(1.0, 1.0))
CAN = "soda_can_12"  # what most tests pick: it stands alone in the middle


class Bench:
    """The nodes, and the client that a trial runner is."""

    def __init__(self, ros: Ros):
        self.client = ros.serve(TrialClient(300.0))
        self.cell = ros.start(WorkcellNode, {"config": CellConfig(scene=SCENE)}, rate=10.0)
        ros.start(GraspMatcherNode, world_frame=WORLD, gripper="parallel_140", proposals_timeout=1.0, tf_timeout=1.0)
        self.client.wait_for_servers([RESET_SERVICE, PICK_ACTION, "match_grasps"], 60.0)
        self.joints: JointState | None = None
        self.fresh = 0
        ros.node.create_subscription(JointState, "joint_states", lambda msg: setattr(self, "joints", msg), 1)

    def lay(self, *objects: str) -> list[str]:
        request = ResetCell.Request(seed=1, clutter="scattered", objects=list(objects), min_objects=1)
        answer = self.client._call(RESET_SERVICE, request)
        assert answer.status == Status.OK, answer.message
        self.fresh = self.client.now()
        return list(answer.names)

    def target(self, label: int = 1):
        """The points of an object on the table, of which the camera says what they are, and the same in the world."""
        depth = self.client.newest(DEPTH_TOPIC, self.fresh)
        self.client.newest(LABELS_TOPIC, self.fresh)
        labels = self.client.labels(nanoseconds(depth.header.stamp))
        points = truth.true_points(depth_image(depth), self.client.intrinsics(), labels, label)
        pose = self.client.frames.lookup(WORLD, depth.header.frame_id, depth.header.stamp, 5.0)
        cloud = cloud_message(depth.header, points, np.zeros((len(points), 3)), np.ones(len(points)))
        return cloud, transform_points(pose, points)

    def from_above(self, points: np.ndarray, below_top: float = 0.02, width: float = 0.12) -> Grasps:
        """Grasps straight from above on the middle of points (N,3) in the world, four turns about it."""
        x, y = (points[:, :2].min(0) + points[:, :2].max(0)) / 2
        rows = []
        for turn in np.arange(4) * np.pi / 4:
            closing = np.array([np.cos(turn), np.sin(turn), 0.0])
            approach = np.array([0.0, 0.0, -1.0])
            rotation = np.stack([approach, closing, np.cross(approach, closing)], axis=1)
            rows.append([1.0, width, 0.03, 0.0, *rotation.ravel(), x, y, points[:, 2].max() - below_top, 1])
        return Grasps.from_rows(np.array(rows))

    def propose(self, grasps: Grasps) -> None:
        stamp = time_message(self.client.now())
        self.client.propose(grasp_array_message(Header(stamp=stamp, frame_id=WORLD), grasps))
        self.client.newest(GRASPS_TOPIC, nanoseconds(stamp))

    def matched(self):
        """Header and candidates of the object that stands alone, as the matcher hands them over."""
        cloud, points = self.target()
        self.propose(self.from_above(points))
        answer = self.client.match(cloud, 3)
        assert answer.status == Status.OK and answer.candidates, answer.message
        return answer.grasps.header, list(answer.candidates)

    def arm(self) -> np.ndarray:
        self.joints = None
        wait_until(lambda: self.joints is not None, 20.0)
        return np.array(self.joints.position[:6])


@pytest.fixture(scope="module")
def bench(ros, off_screen):
    return Bench(ros)


@pytest.fixture
def handed_over(bench):
    """A can alone on the table, what the matcher says of it, and a check that the arm has not moved since."""
    bench.lay(CAN)
    header, candidates = bench.matched()
    before = bench.arm()
    yield header, candidates
    assert np.allclose(bench.arm(), before, atol=1e-6)


def test_the_cell_is_a_camera_and_an_arm(bench):
    names = bench.lay(CAN, "mug_12")
    assert set(names) == {CAN, "mug_12"}
    depth = bench.client.newest(DEPTH_TOPIC, bench.fresh)
    assert depth.encoding == "16UC1" and depth.header.frame_id == "camera_color_optical_frame"
    cloud, points = bench.target()
    pose = bench.client.poses(names, bench.client.now())[names[0]]
    assert np.linalg.norm(points.mean(0) - pose[:3, 3]) < 0.08  # camera, TF, labels and truth agree
    shown = visible(bench.client.labels(nanoseconds(depth.header.stamp)), names)
    assert shown[names[0]] == pytest.approx(cloud.width, rel=0.5) and min(shown.values()) > 0
    tip = bench.client.frames.lookup("base_link", "gripper_tip", bench.client.get_clock().now().to_msg(), 5.0)
    truth_of_tip = bench.cell.owned(bench.cell.cell.frames)
    assert np.allclose(tip, np.linalg.inv(truth_of_tip["base_link"]) @ truth_of_tip["gripper_tip"], atol=1e-4)
    assert bench.arm().shape == (6,) and bench.joints.name[0] == "shoulder_pan_joint"


def test_a_reset_that_makes_no_sense_is_answered(bench):
    for wrong in ({"clutter": "heaped"}, {"split": "test"}, {"objects": ["no_such_thing"]}):
        answer = bench.client._call(RESET_SERVICE, ResetCell.Request(seed=1, **wrong))
        assert answer.status == Status.BAD_REQUEST and answer.message, wrong


def test_without_proposals_or_with_far_ones_there_is_no_grasp(bench):
    bench.lay(CAN)
    bench.client._set(MATCHER_NODE, sample_target=False)
    cloud, points = bench.target()
    bench.propose(Grasps.empty())
    assert bench.client.match(cloud, 3).status == Status.NO_GRASPS
    bench.propose(bench.from_above(points + np.array([0.3, 0.0, 0.0])))
    answer = bench.client.match(cloud, 3)
    assert answer.status == Status.NO_GRASPS and not answer.candidates and answer.message
    bench.client._set(MATCHER_NODE, sample_target=True)
    answer = bench.client.match(cloud, 3)
    assert answer.status == Status.OK and "sampled on the target" in answer.message


def test_what_would_collide_is_not_executed(bench, handed_over):
    _, candidates = handed_over
    for one in candidates:  # into the table
        for pose in (one.tool, one.pregrasp, one.retreat, one.grasp.tip, one.grasp.pose):
            pose.position.z -= 0.25
    result = bench.client.pick(Header(frame_id=WORLD), candidates)
    assert result.status == Status.TOO_LOW and result.executed == -1
    assert list(result.reason_codes) == [Status.TOO_LOW] * len(candidates)
    assert len(result.reasons) == len(candidates) and all(result.reasons)


def test_a_grasp_too_wide_for_the_gripper_is_not_executed(bench, handed_over):
    header, candidates = handed_over
    for one in candidates:
        one.grasp.width = 0.16
    assert bench.client.pick(header, candidates).status == Status.TOO_WIDE


def test_an_unknown_frame_an_unknown_stamp_and_no_poses_are_refused(bench, handed_over):
    header, candidates = handed_over
    assert bench.client.pick(Header(frame_id="nowhere"), candidates).status == Status.TF_ERROR
    old = Header(stamp=time_message(nanoseconds(header.stamp) - 3_000_000_001), frame_id=WORLD)
    assert bench.client.pick(old, candidates).status == Status.STALE_FRAME
    assert bench.client.pick(header, []).status == Status.BAD_REQUEST
    for one in candidates:
        one.tool.position.x = float("nan")
    result = bench.client.pick(header, candidates)
    assert result.status == Status.BAD_POSE and set(result.reason_codes) == {Status.BAD_POSE}


def test_an_object_that_moved_since_is_not_grasped_at(bench, handed_over):
    header, candidates = handed_over

    def push() -> None:
        data, model = bench.cell.cell.data, bench.cell.cell.model
        at = model.jnt_qposadr[model.body(CAN).jntadr[0]]
        data.qpos[at + 1] += 0.15
        bench.cell.cell.step(0.05)

    bench.cell.owned(push)
    result = bench.client.pick(header, candidates)
    assert result.status == Status.SCENE_CHANGED and result.executed == -1, result.message


def test_a_cancelled_pick_stops_the_arm(bench):
    bench.lay(CAN)
    header, candidates = bench.matched()
    stages, home = [], bench.arm()
    action = bench.client._doers[PICK_ACTION]
    goal = action.send_goal_async(
        Pick.Goal(header=header, candidates=candidates),
        feedback_callback=lambda msg: stages.append(msg.feedback.stage),
    )
    wait_until(goal.done, 60.0)
    wait_until(lambda: "reach" in stages and np.abs(bench.arm() - home).max() > 1e-2, 60.0)
    goal.result().cancel_goal_async()
    ended = goal.result().get_result_async()
    wait_until(ended.done, 60.0)
    assert ended.result().result.status == Status.CANCELLED and "close" not in stages
    stands = bench.arm()
    assert np.abs(stands - home).max() > 1e-3 and np.allclose(bench.arm(), stands, atol=1e-3)


def test_what_was_picked_is_put_down_elsewhere(bench):
    bench.lay(CAN)
    header, candidates = bench.matched()

    def moved(name: str, goal: Pick.Goal) -> Pick.Result:
        client = ActionClient(bench.client, Pick, name, **ACTION_CLIENT_QOS)
        assert client.wait_for_server(30)
        sent = client.send_goal_async(goal)
        wait_until(sent.done, 60.0)
        ended = sent.result().get_result_async()
        wait_until(ended.done, 120.0)
        client.destroy()
        return ended.result().result

    home = bench.arm()
    picked = moved(PICK_ACTION, Pick.Goal(header=header, candidates=candidates))
    assert picked.status == Status.OK, picked.message
    place = put_down(candidates[picked.executed], (0.0, 0.1, 0.003))
    placed = moved(PLACE_ACTION, Pick.Goal(header=Header(frame_id=header.frame_id), candidates=[place]))
    assert placed.status == Status.OK and placed.message == "put down", placed.message
    wait_until(lambda: np.abs(bench.arm() - home).max() < 0.02, 20.0)


class GroundsByTruth(Node):
    """Stands in for the model: answers `ground` with the true points of what the phrase fits, or of all else."""

    def __init__(self, bench: Bench, right: bool):
        super().__init__("grounding_node")
        self._bench, self._right = bench, right
        self.targets: tuple[str, ...] = ()
        group = ReentrantCallbackGroup()
        self._service = self.create_service(Ground, "ground", self._ground, callback_group=group)

    def _ground(self, request: Ground.Request, response: Ground.Response) -> Ground.Response:
        names = bench_names(self._bench)
        label = next(k for k, name in enumerate(names, 1) if (name in self.targets) == self._right)
        cloud, points = self._bench.target(label)
        response.header = Header(stamp=cloud.header.stamp, frame_id=WORLD)
        there = cloud_message(response.header, points, np.zeros((len(points), 3)), np.ones(len(points)))
        response.objects, response.status = [FoundObject(cloud=there, score=0.9)], int(Status.OK)
        return response


def bench_names(bench: Bench) -> tuple[str, ...]:
    return bench.cell.cell.names


@pytest.fixture
def grasps_from_above(bench, monkeypatch):
    """In the place of true grasps, which take seconds to try."""

    def from_above(poses, wanted, *_):
        rows = []
        for name in wanted:
            model = bench.cell.cell.models[name]
            rows.append(bench.from_above(transform_points(poses[name], model.vertices), below_top=0.03).rows())
        return Grasps.from_rows(np.concatenate(rows))

    monkeypatch.setattr(runner, "true_grasps", from_above)


PROTOCOL = Protocol(seed=3, clutter=("scattered",), families=("class",), min_objects=2, max_objects=3)


@pytest.mark.parametrize("right", [True, False], ids=["right", "wrong"])
def test_a_trial_asks_the_action_and_grades_the_answer(bench, ros, grasps_from_above, tmp_path, monkeypatch, right):
    """The action `grasp` of the real matcher, and `ground` answered by the truth, or by another object."""
    model = ros.serve(GroundsByTruth(bench, right))
    planned = runner.ask

    def ask(*args):
        asked = planned(*args)
        model.targets = asked.targets if asked else ()
        return asked

    monkeypatch.setattr(runner, "ask", ask)
    setup = runner.Setup(PROTOCOL, proposals="true", attempts=1, hold=0.0)
    result = runner.Runner(bench.client, setup).trial("scattered", 0)
    ros.stop(model)
    assert result.grounded == right and (result.answered in result.targets.split()) == right, result
    assert result.seconds_to_pose > 0 and result.candidates
    if right:
        assert result.iou > 0.9 and result.success, result
    else:
        assert result.iou < 0.1 and not result.success and result.reason == "grounding", result


def test_a_trial_from_phrase_to_lift(bench, grasps_from_above, tmp_path):
    """True masks, and grasps from above: what is left is the cell, the matcher, and the runner's book-keeping."""
    setup = runner.Setup(PROTOCOL, proposals="true", grounding="true", hold=0.0)
    file = ResultFile(tmp_path / "trials.csv")
    player = runner.Runner(bench.client, setup)
    results = list(player.run(file, 1, tmp_path / "films"))
    file.close()
    (result,) = results
    assert read_results(tmp_path / "trials.csv") == [
        replace(result, **{k: float(f"{v:.6g}") for k, v in vars(result).items() if isinstance(v, float)})
    ]
    assert result.success and result.reason == "" and result.lifted == result.targets, result
    assert result.grounded and result.executed >= 0 and result.phrase
    assert len(list((tmp_path / "films").glob("*.gif"))) == 1
    again = ResultFile(tmp_path / "trials.csv")
    assert list(player.run(again, 1)) == []
    again.close()


def test_a_node_that_is_missing_is_named(bench):
    with pytest.raises(DropclipError, match="ground is not there"):
        bench.client.wait_for_servers(["ground"], 0.2)


def test_the_runner_stops_after_errors_in_a_row(bench, tmp_path, monkeypatch):
    def fail(*_):
        raise DropclipError(Status.TIMEOUT, "reset_cell has not answered")

    monkeypatch.setattr(bench.client, "reset", fail)
    file = ResultFile(tmp_path / "trials.csv")
    with pytest.raises(DropclipError, match="5 trials in a row failed; reset_cell"):
        list(runner.Runner(bench.client, runner.Setup(Protocol(clutter=("mixed",)), grounding="true")).run(file, 9))
    file.close()
    assert [result.reason for result in read_results(tmp_path / "trials.csv")] == ["error"] * 5
