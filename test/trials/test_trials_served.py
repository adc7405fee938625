# SPDX-License-Identifier: Apache-2.0
"""moveit_pick_node served over DDS before a stand-in of move_group: what it plans, in which scene, and what moves.

Messages are those of Humble and of later distros by name (test/moveit_fields.yaml), and MoveIt's own over DDS where
they are installed.
"""

import importlib
import os
import sys
import time
from pathlib import Path

import move_group
import moveit_support
import numpy as np
import pytest
import yaml
from move_group import MoveGroup, Standing, corners, lowest
from rclpy.action import ActionClient
from rclpy.node import Node
from ros_support import FakeCamera, ros, wait_until  # noqa: F401
from scipy.spatial import Delaunay
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header

from dropclip_ros.action import Pick
from dropclip_ros.base.errors import Status
from dropclip_ros.grasping.grippers import ROBOTIQ_2F_140
from dropclip_ros.msg import Grasp, GraspCandidate
from dropclip_ros.ros.arm.placing import put_down
from dropclip_ros.ros.common import ACTION_CLIENT_QOS, LATCHED_QOS
from dropclip_ros.ros.messages import pose_message
from dropclip_ros.ros.outputs.detections import records_cloud
from dropclip_ros.ros.outputs.surroundings import RECORD

NODE = "dropclip_ros.nodes.moveit_pick_node"
OF_MOVEIT = (NODE, "dropclip_ros.ros.arm.scene_keeper", "dropclip_ros.ros.arm.planning_scene")
HAND = ["gripper_mount", "left_inner_finger_pad"]
BASE = np.eye(4)
WIDTH, TIP = 0.06, ROBOTIQ_2F_140.tool_from_tip(np.array([0.06]))[0]


def down(x: float, tip: float) -> np.ndarray:
    """world_from_tool with the tips at a height, straight down at x."""
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler("x", np.pi).as_matrix()
    pose[:3, 3] = x, 0.1, tip + TIP[2, 3]
    return pose


def candidate(x: float = 0.5, tip: float = 0.03) -> GraspCandidate:
    """Of a thing that stands on the table at height 0."""

    def at(above: float):
        return pose_message(down(x, tip + above))

    grasp = Grasp(width=WIDTH, tip=pose_message(down(x, tip) @ TIP))
    return GraspCandidate(grasp=grasp, tool=at(0.0), pregrasp=at(0.1), retreat=at(0.15))


class Cell:
    """The node, its move_group, TF, and a client of `pick` and `place`."""

    def __init__(self, ros, module, group: MoveGroup, **parameters):
        self.ros, self.group, self.camera = ros, group, FakeCamera(ros.node)
        own = Node("cell_client")  # a node of its own: rclpy may wait on an action's client before it is whole
        self.module = module
        self.tool, self.header = down(0.4, 0.3), Header(frame_id="world")
        self.scenes = ros.node.create_publisher(PointCloud2, "grounding_node/scene", LATCHED_QOS)
        self.clients = {name: ActionClient(own, Pick, name, **ACTION_CLIENT_QOS) for name in ("pick", "place")}
        self.own = ros.serve(own)
        self.timer = ros.node.create_timer(0.1, self._publish)
        self.node = ros.start(module.MoveItPickNode, hand_links=HAND, tf_timeout=5.0, **parameters)
        group.places = {"base_link": BASE, "tool0": self.tool}

    def _publish(self) -> None:
        stamp = self.ros.node.get_clock().now().to_msg()
        self.camera.send_transform(stamp, "world", "base_link", BASE)
        self.camera.send_transform(stamp, "base_link", "tool0", self.tool)

    def see(self, things: dict[int, np.ndarray]) -> None:
        """The grounding node tells the scene of a frame, points (N, 3) in the world by number; candidates are of it."""
        records = np.zeros(sum(map(len, things.values())), RECORD)
        records["x"], records["y"], records["z"] = np.vstack(list(things.values())).T
        records["id"] = np.repeat(list(things), [len(points) for points in things.values()])
        self.header.stamp = self.ros.node.get_clock().now().to_msg()
        wait_until(lambda: self.scenes.get_subscription_count() == 1)
        self.scenes.publish(records_cloud(self.header, records))

    def send(self, name: str, *candidates: GraspCandidate):
        client = self.clients[name]
        assert client.wait_for_server(30)
        sent = client.send_goal_async(Pick.Goal(header=self.header, candidates=list(candidates)))
        wait_until(sent.done, 30)
        return sent.result()

    def ask(self, name: str, *candidates: GraspCandidate) -> Pick.Result:
        result = self.send(name, *candidates).get_result_async()
        wait_until(result.done, 60)
        return result.result().result

    def told(self, *kinds: str) -> list[tuple]:
        return [one for one in self.group.told if one[0] in kinds]

    def close(self) -> None:
        self.timer.cancel()
        self.ros.stop(self.node)
        self.ros.node.destroy_publisher(self.scenes)
        for client in self.clients.values():
            client.destroy()
        self.ros.stop(self.own)


def stand_in(monkeypatch):
    """The node's module of the table's messages, and a move_group that its clients reach in the process."""
    module, group = importlib.import_module(NODE), MoveGroup()
    monkeypatch.setattr(module, "ActionClient", lambda node, kind, name, **_: Standing(group, kind, name))
    monkeypatch.setattr(
        module.MoveItPickNode, "create_client", lambda self, kind, name, **_: Standing(group, kind, name)
    )
    return module, group


@pytest.fixture(params=["humble", "kilted", "MoveIt's own"])
def cell(request, ros, monkeypatch):
    names = OF_MOVEIT
    for name in names:
        sys.modules.pop(name, None)
    if request.param == "MoveIt's own":
        pytest.importorskip("moveit_msgs.action", reason="moveit_msgs is not installed")
        pytest.importorskip("control_msgs.action", reason="control_msgs is not installed")
        module, group, server = importlib.import_module(NODE), MoveGroup(), Node("move_group")
        gripper = importlib.import_module("control_msgs.action").ParallelGripperCommand
        kept = move_group.serve(ros.serve(server), group, gripper)
        one = Cell(ros, module, group)
        yield one
        one.close()
        for action in kept:
            action.destroy()
        ros.stop(server)
    else:
        with moveit_support.messages(request.param):
            kind = "gripper_command" if request.param == "humble" else "parallel_gripper_command"
            one = Cell(ros, *stand_in(monkeypatch), gripper_type=kind)
            yield one
            one.close()
    for name in names:
        sys.modules.pop(name, None)


def test_a_thing_is_picked_carried_and_put_down(cell):
    picked = cell.ask("pick", candidate())
    assert picked.status == Status.OK, picked.message
    assert cell.told("plan") == [("plan", 0.5, round(0.13 + TIP[2, 3], 3))]
    both = frozenset(HAND)
    assert [allowed for _, _, allowed in cell.told("straight")] == [both, both]
    assert not cell.group.may_touch_octomap()  # only on the straight ways
    heights = [0.13, 0.03, 0.18]  # of the tips: before it, at it, lifted
    assert cell.told("move") == [("move", pytest.approx(h + TIP[2, 3], abs=1e-3)) for h in heights]
    assert cell.told("grip") == [("grip", round(0.695 * (1 - WIDTH / 0.14), 3)), ("grip", 0.695)]
    assert cell.told("move", "grip")[-1][0] == "move" and set(cell.group.objects) == {"table"}

    (thing,) = cell.group.carried.values()
    assert thing.link_name == "tool0" and list(thing.touch_links) == HAND
    assert lowest(thing, down(0.5, 0.03)) == pytest.approx(0.005, abs=1e-6)  # where it was taken: over the table

    cell.group.told.clear()
    place = put_down(candidate(), (0.0, -0.2, 0.0))
    placed = cell.ask("place", place)
    assert placed.status == Status.OK, placed.message
    assert cell.told("straight")[0][2] == frozenset([*HAND, "carried"])
    assert [step[0] for step in cell.told("move", "grip")] == ["move", "move", "grip", "move"]
    assert not cell.group.carried and set(cell.group.objects) == {"table"}


def test_an_empty_hand_carries_nothing_and_a_new_pick_begins_with_one(cell):
    cell.group.holds = False
    assert cell.ask("pick", candidate()).status == Status.SLIPPED and not cell.group.carried
    cell.group.holds = True
    assert cell.ask("pick", candidate()).status == Status.OK and cell.group.carried
    cell.group.blocked = lambda pose: bool(cell.group.carried)  # the new plan is for an empty hand
    assert cell.ask("pick", candidate(0.6)).status == Status.OK


def test_the_first_candidate_with_a_way_is_executed(cell):
    cell.group.blocked = lambda pose: pose.position.x > 0.55
    result = cell.ask("pick", candidate(0.6), candidate(0.5))
    assert result.status == Status.OK and result.executed == 1 and list(result.reason_codes) == [Status.NO_PATH]


def test_a_model_that_has_the_arm_elsewhere_moves_nothing(cell):
    cell.group.places = {"base_link": BASE, "tool0": cell.tool + np.array([[0, 0, 0, -0.52]] + 3 * [4 * [0.0]])}
    result = cell.ask("pick", candidate())
    assert result.status == Status.ROBOT_MISMATCH and "520" in result.message and not cell.told("plan", "move", "grip")


def test_a_stop_of_the_controller_and_a_cancelled_goal_end_cancelled(cell):
    cell.group.ends_with = move_group.CONTROL_FAILED
    stopped = cell.ask("pick", candidate())
    assert stopped.status == Status.CANCELLED and len(cell.told("move")) == 1 and not cell.group.carried
    cell.group.ends_with, cell.group.pause = move_group.SUCCESS, 30.0
    cell.group.told.clear()
    handle = cell.send("pick", candidate())
    wait_until(lambda: cell.told("move"), 30)
    began = time.monotonic()
    handle.cancel_goal_async()
    result = handle.get_result_async()
    wait_until(result.done, 30)
    assert result.result().result.status == Status.CANCELLED and time.monotonic() - began < 20
    assert len(cell.told("move")) == 1 and not cell.told("grip")


def block(x: float, size: float = 0.05, height: float = 0.06, y: float = 0.1) -> np.ndarray:
    """Points (N, 3) of what a camera above sees of a block on the table: its top, and its sides but for the lowest."""
    at = np.linspace(-size / 2, size / 2, 11)
    points = np.array(np.meshgrid(at, at, np.linspace(0.02, height, 9))).reshape(3, -1).T
    return points[(np.abs(points[:, :2]) > 0.49 * size).any(1) | (points[:, 2] > 0.99 * height)] + [x, y, 0.0]


DESK = np.array([[0.2, -0.5, 0.0], [0.9, -0.5, 0.0], [0.9, 0.5, 0.0], [0.2, 0.5, 0.0]])


def holds_points(thing, points: np.ndarray) -> bool:
    """Whether all points (N, 3) are within a convex collision object: MoveIt then takes them out of the octomap."""
    return bool((Delaunay(corners(thing)).find_simplex(points) >= 0).all())


def volume(thing) -> float:
    """Of a mesh, m3; negative where its triangles face inwards."""
    (mesh,) = thing.meshes
    points = np.array([[p.x, p.y, p.z] for p in mesh.vertices])
    triangles = points[np.array([list(face.vertex_indices) for face in mesh.triangles])]
    return float(np.linalg.det(triangles).sum() / 6)


def test_what_stands_around_is_in_the_scene_and_what_is_taken_hold_of_in_the_hand(cell):
    mug, bowl = block(0.5), block(0.62)
    cell.see({0: DESK, 7: mug, 9: bowl})
    picked = cell.ask("pick", candidate())
    assert picked.status == Status.OK, picked.message
    assert set(cell.group.objects) == {"table", "object_9"} and set(cell.group.carried) == {"object_7"}
    for way in cell.group.allowed:  # the hand may touch the target alone, and only on the straight ways
        assert way["object_7"] == set(HAND) and not way["object_9"] and not way["table"]
    assert list(cell.group.matrix.entry_names) == list(move_group.LINKS) and not cell.group.may_touch_octomap()
    held = cell.group.carried["object_7"]
    assert held.link_name == "tool0" and list(held.touch_links) == HAND
    assert 0 < lowest(held, down(0.5, 0.03)) < 0.01  # as it stood, clear of the table
    assert holds_points(cell.group.objects["object_9"], bowl)
    assert volume(cell.group.objects["object_9"]) == pytest.approx(0.054**2 * 0.059, rel=0.01)  # faces outwards

    place = put_down(candidate(), (0.0, -0.2, 0.0))  # the same frame's; what was there then is not put there again
    cell.group.allowed.clear()
    placed = cell.ask("place", place)
    assert placed.status == Status.OK, placed.message
    assert cell.group.allowed[0]["table"] == {"object_7"} and not cell.group.allowed[0]["object_9"]
    assert not cell.group.carried and set(cell.group.objects) == {"table", "object_7", "object_9"}
    assert holds_points(cell.group.objects["object_7"], mug + np.array([0.0, -0.2, 0.0]))
    assert list(cell.group.matrix.entry_names) == list(move_group.LINKS)


def test_names_last_and_what_is_gone_leaves_the_scene(cell):
    cell.see({7: block(0.5), 9: block(0.62), 11: block(0.8)})
    cell.group.holds = False
    assert cell.ask("pick", candidate()).status == Status.SLIPPED
    assert set(cell.group.objects) == {"table", "object_9", "object_11"}  # where it slipped to, the octomap knows
    del cell.group.objects["object_9"]  # somebody clears it; ours to be removed is no longer there
    cell.see({7: block(0.55), 11: block(0.8)})
    cell.group.holds = True
    assert cell.ask("pick", candidate(0.55)).status == Status.OK
    assert set(cell.group.objects) == {"table", "object_11"} and set(cell.group.carried) == {"object_7"}


def test_what_was_allowed_ends_with_a_way_that_fails_and_with_a_cancel(cell):
    cell.see({7: block(0.5), 9: block(0.62)})
    cell.group.ends_with = move_group.CONTROL_FAILED
    assert cell.ask("pick", candidate()).status == Status.CANCELLED
    assert set(cell.group.objects) == {"table", "object_7", "object_9"} and not cell.group.carried
    assert list(cell.group.matrix.entry_names) == list(move_group.LINKS)
    cell.group.ends_with, cell.group.pause = move_group.SUCCESS, 30.0
    cell.group.told.clear()
    cell.see({7: block(0.5), 9: block(0.62)})
    handle = cell.send("pick", candidate())
    wait_until(lambda: cell.told("move"), 30)
    handle.cancel_goal_async()
    result = handle.get_result_async()
    wait_until(result.done, 30)
    assert result.result().result.status == Status.CANCELLED and not cell.group.may_touch("object_7")
    assert list(cell.group.matrix.entry_names) == list(move_group.LINKS)


def test_a_table_that_nobody_has_measured_is_what_the_camera_sees_of_it(ros, monkeypatch):
    for name in OF_MOVEIT:
        sys.modules.pop(name, None)
    with moveit_support.messages("humble"):
        cell = Cell(ros, *stand_in(monkeypatch), gripper_type="gripper_command", table=[0.0, 0.0, 0.0])
        cell.see({0: DESK, 7: block(0.5)})
        assert cell.ask("pick", candidate()).status == Status.OK
        slab = corners(cell.group.objects["table"])
        assert np.allclose([slab.min(0), slab.max(0)], [[0.2, -0.5, -0.045], [0.9, 0.5, -0.005]])
        assert 0 < lowest(cell.group.carried["object_7"], down(0.5, 0.03)) < 0.01
        cell.see({7: block(0.5)})  # no table is seen: there is none in the scene
        assert cell.ask("pick", candidate()).status == Status.OK and "table" not in cell.group.objects
        cell.close()
    for name in OF_MOVEIT:
        sys.modules.pop(name, None)


def test_a_piece_between_the_fingers_may_be_touched_too_and_a_scene_that_is_refused_moves_nothing(cell):
    """An object that was taken for two."""
    whole = block(0.5)
    left = whole[:, 1] < 0.11
    cell.see({7: whole[left], 8: whole[~left]})
    assert cell.ask("pick", candidate()).status == Status.OK
    assert cell.group.allowed[0]["object_7"] == cell.group.allowed[0]["object_8"] == set(HAND)
    assert set(cell.group.carried) == {"object_7"}  # the larger share
    cell.group.refuses = True
    cell.group.told.clear()
    cell.see({7: whole})
    refused = cell.ask("pick", candidate())
    assert refused.status == Status.NO_PATH and "planning scene" in refused.message and not cell.told("move")


def test_the_table_of_fields_is_that_of_the_sources():
    folder = os.environ.get("DROPCLIP_MOVEIT_MSGS")
    if not folder:
        pytest.skip("no checkouts of moveit_msgs, control_msgs, ... (set DROPCLIP_MOVEIT_MSGS)")
    table = yaml.safe_load(moveit_support.TABLE.read_text())["fields"]
    assert table == moveit_support.read_fields(Path(folder))
