# SPDX-License-Identifier: Apache-2.0
"""What others plug into: detections with ids that last, a standing question, diagnostics; a node that nobody asks."""

import time

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.parameter import Parameter
from ros_support import FakeCamera, model_folder, ros, wait_until  # noqa: F401  fixtures
from sensor_msgs.msg import Image, PointCloud2
from std_msgs.msg import String
from vision_msgs.msg import Detection3DArray

from dropclip_ros.base.errors import Status
from dropclip_ros.msg import GraspArray, Standing
from dropclip_ros.nodes.grounding_node import GroundingNode
from dropclip_ros.nodes.proposal_node import ProposalNode
from dropclip_ros.ros.common import GRASPS_TOPIC, GROUND_SERVICE, LATCHED_QOS
from dropclip_ros.ros.messages import cloud_to_numpy, image_to_numpy
from dropclip_ros.ros.sleeping import Wanted
from dropclip_ros.srv import Ground


@pytest.fixture(scope="module")
def setup(ros, model_folder, make_tabletop):
    camera = FakeCamera(ros.node)
    node = ros.start(
        GroundingNode,
        model=str(model_folder),
        device="cpu",
        reliable=True,
        max_frame_age=300.0,
        listen_time=0.5,
        threshold=0.01,
    )
    camera.wait_for()
    client = ros.node.create_client(Ground, GROUND_SERVICE)
    frame = make_tabletop().frame

    def ask(query="the red boxes") -> Ground.Response:
        return ros.call(client, Ground.Request(query=query))

    camera.send(camera.messages(frame))
    wait_until(lambda: ask().status == Status.OK)
    return camera, node, frame, ask


def heard(ros, kind, topic, qos=1):
    """Messages of a topic, as they come."""
    messages = []
    subscription = ros.node.create_subscription(kind, topic, messages.append, qos)
    messages_end = lambda: ros.node.destroy_subscription(subscription)  # noqa: E731
    return messages, messages_end


def test_detections_labels_and_objects_bear_the_same_lasting_ids(ros, setup):
    camera, node, frame, ask = setup
    got = {
        name: heard(ros, kind, f"/grounding_node/{name}")
        for name, kind in {"detections": Detection3DArray, "labels": Image, "objects": PointCloud2}.items()
    }
    wait_until(lambda: node._detections._objects.get_subscription_count() == 1 and node._detections.heard)
    ids = []
    for _ in range(2):
        for messages, _ in got.values():
            messages.clear()
        camera.send(camera.messages(frame))
        answers = []
        wait_until(lambda answers=answers: answers.append(ask()) or all(messages for messages, _ in got.values()))
        array, labels, cloud = (got[name][0][-1] for name in ("detections", "labels", "objects"))
        assert len(array.detections) == len(answers[-1].objects) > 0
        for detection, found in zip(array.detections, answers[-1].objects, strict=True):
            assert detection.results[0].hypothesis.score == pytest.approx(found.score, abs=1e-6)
            assert detection.bbox.size == found.box_size and detection.bbox.center == found.box_pose
            assert detection.results[0].hypothesis.class_id and array.header.frame_id == answers[-1].header.frame_id
        numbers = {int(detection.id) for detection in array.detections}
        assert set(np.unique(image_to_numpy(labels))) - {0} == numbers
        points = cloud_to_numpy(cloud).ravel()
        assert set(points["id"]) == numbers and len(points) == sum(found.cloud.width for found in answers[-1].objects)
        ids.append(numbers)
    assert ids[0] == ids[1]
    for _, end in got.values():
        end()


def test_the_scene_has_all_that_stands_there_by_the_ids_of_detections_and_the_table(ros, setup):
    camera, _, frame, ask = setup
    found, end = heard(ros, Detection3DArray, "/grounding_node/detections")
    told, end_scene = heard(ros, PointCloud2, "/grounding_node/scene", LATCHED_QOS)
    wait_until(lambda: camera.send(camera.messages(frame)) and ask() and found and told)
    wait_until(lambda: camera.send(camera.messages(frame)) and ask() and told[-1].header == found[-1].header)
    points = cloud_to_numpy(told[-1]).ravel()
    xyz = np.stack([points[axis] for axis in "xyz"], axis=1)
    objects = {number: xyz[points["id"] == number] for number in np.unique(points["id"])}
    table = objects.pop(0)
    assert (
        np.abs(table[:, 2]).max() < 0.005 and np.ptp(table, axis=0)[:2].min() > 0.3
    )  # the answer's frame is the table's
    assert len(objects) >= len(found[-1].detections) > 0
    for detection in found[-1].detections:
        part, box = objects[int(detection.id)], detection.bbox
        assert np.linalg.norm((part.min(0) + part.max(0)) / 2 - [getattr(box.center.position, a) for a in "xyz"]) < 0.02
        assert part[:, 2].min() > 0
    end(), end_scene()


def test_a_standing_question_that_changes_often_is_bounded_and_typed(ros, setup):
    camera, node, frame, _ = setup
    told, end = heard(ros, Standing, "/grounding_node/standing", LATCHED_QOS)
    askers = [ros.node.create_publisher(String, "/grounding_node/query", 10) for _ in range(2)]
    wait_until(lambda: all(asker.get_subscription_count() for asker in askers))
    node.set_parameters([Parameter("query_rate", value=20.0)])
    last = ""
    for number in range(20):  # two clients, ten times a second between them
        last = f"the box {number}"
        askers[number % 2].publish(String(data=last))
        if number % 5 == 0:
            camera.send(camera.messages(frame))
        time.sleep(0.1)
    wait_until(lambda: told and told[-1].query == last)
    assert len(told) <= 40 and {one.status for one in told} <= {Status.OK, Status.NOT_FOUND, Status.AMBIGUOUS}
    assert told[-1].header.frame_id and told[-1].milliseconds > 0
    askers[0].publish(String(data="the \x07 box"))
    wait_until(lambda: told[-1].status == Status.BAD_REQUEST)
    node.set_parameters([Parameter("query", value="a mug")])  # what was set last counts
    wait_until(lambda: told[-1].query == "a mug")
    node.set_parameters([Parameter("enabled", value=False)])
    time.sleep(0.5)
    count = len(told)
    camera.send(camera.messages(frame))
    time.sleep(0.5)
    assert len(told) == count
    node.set_parameters([Parameter("query", value=""), Parameter("enabled", value=True)])
    end()


def test_diagnostics_tell_camera_model_requests_and_memory(ros, setup):
    camera, _, frame, ask = setup
    told, end = heard(ros, DiagnosticArray, "/diagnostics")
    camera.send(camera.messages(frame))
    ask()

    def newest() -> dict[str, DiagnosticStatus]:
        return {one.name.partition(": ")[2]: one for one in told[-1].status} if told else {}

    def values(part) -> dict[str, str]:
        return {value.key: value.value for value in newest()[part].values}

    wait_until(lambda: "requests" in newest() and int(values("requests").get("OK", 0)) > 0)
    assert float(values("requests")["p99, ms"]) >= float(values("requests")["p50, ms"]) > 0
    assert newest()["model"].level == DiagnosticStatus.OK and values("model")["device"] == "cpu"
    assert int(values("memory")["resident, MB"]) > 100 and values("camera")["publishers of depth"] == "1"
    wait_until(lambda: newest()["camera"].message == "nobody asks")
    end()


def test_nobody_asks_and_nothing_is_taken(ros, setup):
    camera, node, frame, ask = setup
    wait_until(lambda: not node._camera._group.awake)
    before = dict(node._camera._received)
    for _ in range(5):
        header = camera.send(camera.messages(frame))
        time.sleep(0.05)
    time.sleep(0.3)
    assert node._camera._received == before
    answer = ask()  # of the newest that came meanwhile
    assert answer.status == Status.OK and answer.header.stamp == header.stamp
    assert node._camera._received["depth"] > before["depth"]


def test_an_answer_that_outlasts_the_listening_gives_back_what_it_took(ros, setup, monkeypatch):
    camera, node, frame, ask = setup
    given = []
    monkeypatch.setattr("dropclip_ros.ros.camera.listener.give_back", lambda: given.append(node._camera._group.awake))
    camera.send(camera.messages(frame))
    assert ask().status == Status.OK
    wait_until(lambda: not node._camera._group.awake)
    given.clear()
    assert ask("the \x07 box").status == Status.BAD_REQUEST  # asks no camera
    assert given == [False]


def test_a_proposer_rests_until_grasps_are_wanted(ros, setup):
    """A matcher subscribes and says nothing: it rests. It says so once: it works. Anybody else: it works too."""
    camera, _, frame, _ = setup
    proposer = ros.start(ProposalNode, reliable=True, max_rate=20.0, max_frame_age=300.0, listen_time=0.5)
    wanted = Wanted(ros.node, GRASPS_TOPIC)
    got, end = heard(ros, GraspArray, GRASPS_TOPIC)
    wait_until(lambda: proposer._grasps.heard and proposer.count_publishers(f"{GRASPS_TOPIC}/wanted") == 1)
    time.sleep(0.5)
    got.clear()
    camera.send(camera.messages(frame))
    time.sleep(0.5)
    assert not got
    wait_until(lambda: wanted.say(0.0) or wanted._publisher.get_subscription_count() == 1)
    camera.send(camera.messages(frame))
    wanted.say(0.0)
    wait_until(lambda: got)
    other, end_other = heard(ros, GraspArray, GRASPS_TOPIC)
    time.sleep(1.0)
    camera.send(camera.messages(frame))
    wait_until(lambda: other)
    end(), end_other()


def test_a_node_that_is_not_active_refuses_and_one_that_is_cleaned_up_loads_again(ros, setup):
    camera, node, frame, ask = setup

    def change(label: str) -> bool:
        transition = Transition(id=getattr(Transition, f"TRANSITION_{label}"))
        client = ros.node.create_client(ChangeState, "/grounding_node/change_state")
        return ros.call(client, ChangeState.Request(transition=transition)).success

    assert change("DEACTIVATE") and ask().status == Status.BUSY
    assert change("CLEANUP")
    wait_until(lambda: node._grounder is None)
    assert ask().status == Status.BUSY and change("CONFIGURE") and change("ACTIVATE")
    camera.send(camera.messages(frame))
    assert ask().status == Status.OK
