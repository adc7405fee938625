# SPDX-License-Identifier: Apache-2.0
"""Images and calibrations that do not belong together are refused over real DDS, in words that say what to set.

No model is needed for that: where a frame is taken, the answer is that there is none.
"""

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from ros_support import OPTICAL_FRAME, FakeCamera, ros, wait_until  # noqa: F401
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.nodes.grasp_matcher_node import GraspMatcherNode
from dropclip_ros.nodes.grounding_node import GroundingNode
from dropclip_ros.ros.common import GROUND_SERVICE, SERVICE_QOS
from dropclip_ros.ros.messages import camera_info_message, depth_image, image_message, transform_message
from dropclip_ros.srv import Ground
from dropclip_ros.vision.geometry import RgbdFrame, invert_pose
from dropclip_ros.vision.registration import register_depth

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
OTHER = "camera_depth_optical_frame"


def framed(name: str, frame_id: str):
    def change(messages):
        messages[name].header = Header(stamp=messages[name].header.stamp, frame_id=frame_id)

    return change


def several(*changes):
    return lambda messages: [change(messages) for change in changes]


def sized(name: str, width: int, height: int):
    def change(messages):
        messages[name].width, messages[name].height = width, height

    return change


def cut_depth(messages):
    depth = depth_image(messages["depth"])
    messages["depth"] = image_message(messages["depth"].header, np.round(1000 * depth[:30]), "16UC1")


NOWHERE = several(*(framed(name, "") for name in ("color", "depth", "info")))
WRONG = {
    "depth of the depth camera": (framed("depth", OTHER), "align_depth.enable:=true"),
    "CameraInfo of the depth camera": (framed("info", OTHER), "of another camera"),
    "depth and CameraInfo of it": (several(framed("depth", OTHER), framed("info", OTHER)), "not registered"),
    "no frame_id at all": (NOWHERE, "set it in the camera's driver"),
    "depth without frame_id": (framed("depth", ""), "the depth image have no frame_id"),
    "CameraInfo without frame_id": (framed("info", ""), "the CameraInfo have no frame_id"),
    "depth of another shape": (cut_depth, "another aspect ratio"),
    "CameraInfo of another shape": (sized("info", 64, 64), "another aspect"),
}


class Setup:
    def __init__(self, ros, frame):
        self.ros, self.frame, self.camera = ros, frame, FakeCamera(ros.node)
        self.node = ros.start(GroundingNode, model="/nowhere", reliable=True, frame_timeout=5.0, max_frame_age=300.0)
        self.camera.wait_for()
        self.client = ros.node.create_client(Ground, GROUND_SERVICE, qos_profile=SERVICE_QOS)

    def ask(self, change=lambda messages: None) -> Ground.Response:
        """About a frame that was changed, by its stamp."""
        messages = self.camera.messages(self.frame)
        change(messages)
        self.camera.send(messages)
        return self.ros.call(self.client, Ground.Request(query="a mug", stamp=messages["color"].header.stamp), 20)

    def trust(self, yes: bool) -> None:
        self.node.set_parameters([Parameter("trust_registration", value=yes)])


@pytest.fixture(scope="module")
def setup(ros, make_tabletop):
    return Setup(ros, make_tabletop(size=(64, 48)).frame)


@pytest.mark.parametrize("name", WRONG)
def test_a_frame_that_does_not_belong_together_is_refused(setup, name):
    change, words = WRONG[name]
    answer = setup.ask(change)
    assert answer.status == Status.BAD_FRAME and words in answer.message, answer.message
    assert "trust_registration" in answer.message and not answer.objects
    assert setup.ask().status == Status.MODEL_ERROR  # a good frame is taken again


def test_whoever_knows_better_says_so(setup):
    setup.trust(True)
    try:
        for name in ("depth of the depth camera", "CameraInfo of the depth camera", "CameraInfo without frame_id"):
            assert setup.ask(WRONG[name][0]).status == Status.MODEL_ERROR
        assert setup.ask(NOWHERE).status == Status.BAD_FRAME  # nobody could transform the answer
    finally:
        setup.trust(False)
    assert setup.ask(framed("color", "/" + OPTICAL_FRAME)).status == Status.MODEL_ERROR  # as ROS 1 wrote it


class Beside:
    """A depth camera 30 mm beside the colour's, turned a little, over the same table."""

    info_topic = "camera/aligned_depth_to_color/camera_info"

    def __init__(self, setup, make_tabletop):
        self.setup, self.stamps = setup, []
        self.colour_from_depth = np.eye(4)
        self.colour_from_depth[:3, :3] = Rotation.from_euler("xyz", (0.01, -0.02, 0.015)).as_matrix()
        self.colour_from_depth[:3, 3] = 0.03, 0.002, -0.004
        self.frame = make_tabletop(size=(80, 60)).frame
        self.info = setup.ros.node.create_publisher(CameraInfo, self.info_topic, LATCHED)
        self.tf = setup.ros.node.create_publisher(TFMessage, "/tf_static", LATCHED)

    def seen(self) -> dict:
        """Messages with the depth as this camera sees the scene."""
        frame, messages = self.setup.frame, self.setup.camera.messages(self.setup.frame)
        seen = register_depth(frame.depth, frame.intrinsics, self.frame.intrinsics, invert_pose(self.colour_from_depth))
        header = Header(stamp=messages["depth"].header.stamp, frame_id=OTHER)
        messages["depth"] = image_message(header, np.round(1000 * seen).astype(np.uint16), "16UC1")
        return messages

    def tell(self, frame: bool, info: bool) -> None:
        """Latched: once, and then it is known."""
        if info:
            self.info.publish(camera_info_message(Header(frame_id=OTHER), self.frame.intrinsics))
        if frame:
            told = transform_message(Time(), OPTICAL_FRAME, OTHER, self.colour_from_depth)
            self.tf.publish(TFMessage(transforms=[told]))


def test_depth_beside_the_colour_is_registered_where_all_for_it_is_known(setup, make_tabletop):
    """What is missing is said; then the frame is that of an aligned depth camera, for every kind of node."""
    beside = Beside(setup, make_tabletop)
    matcher = setup.ros.start(GraspMatcherNode, reliable=True, frame_timeout=5.0, max_frame_age=300.0)
    setup.camera.wait_for(2, ("depth", "info"))

    def refused() -> str:
        messages = beside.seen()
        setup.camera.send(messages)
        with pytest.raises(DropclipError) as caught:
            setup.node._camera.at(messages["color"].header.stamp)
        assert caught.value.status == Status.BAD_FRAME
        return caught.value.message

    assert beside.info_topic in refused()
    beside.tell(frame=False, info=True)
    wait_until(lambda: "no transform" in refused(), 30)
    beside.tell(frame=True, info=False)
    wait_until(lambda: setup.ask(lambda messages: messages.update(beside.seen())).status == Status.MODEL_ERROR, 30)

    messages = beside.seen()
    setup.camera.send(messages)
    truth = setup.frame.depth
    for node in (setup.node, matcher):
        listener = node._camera
        frame = listener.at(messages["depth"].header.stamp)
        assert frame.header.frame_id == frame.depth.header.frame_id == OPTICAL_FRAME
        depth = depth_image(frame.depth)
        both = (depth > 0) & (truth > 0)
        assert depth.shape == truth.shape and both.mean() > 0.6
        assert np.median(np.abs(depth - truth)[both]) < 0.003
        assert listener.at(messages["depth"].header.stamp) is frame  # once a frame
    setup.ros.stop(matcher)


def test_nothing_goes_out_on_tf_for_images_of_nowhere(setup):
    seen = []
    subscription = setup.ros.node.create_subscription(TFMessage, "/tf", seen.append, 10)
    setup.ask(NOWHERE)
    setup.ros.node.destroy_subscription(subscription)
    assert not seen


@pytest.mark.parametrize("change", [framed("depth", OTHER), framed("info", OTHER), framed("depth", "")])
def test_what_looks_at_depth_alone_checks_it_too(setup, change):
    matcher = setup.ros.start(GraspMatcherNode, reliable=True, frame_timeout=2.0, max_frame_age=300.0)
    setup.camera.wait_for(2, ("depth", "info"))
    messages = setup.camera.messages(setup.frame)
    change(messages)
    setup.camera.send(messages)
    with pytest.raises(Exception, match="BAD_FRAME"):
        matcher._camera.newest()
    setup.ros.stop(matcher)


@pytest.mark.parametrize("bigendian", [False, True])
def test_depth_of_either_byte_order_and_type_is_the_same(bigendian, make_tabletop):
    frame: RgbdFrame = make_tabletop(size=(64, 48)).frame
    for encoding, scale, kind in (("32FC1", 1, "f4"), ("16UC1", 1000, "u2")):
        message = image_message(Header(frame_id="camera"), frame.depth * scale, encoding)
        message.is_bigendian = int(bigendian)
        if bigendian:
            message.data = np.frombuffer(bytes(message.data), f"<{kind}").astype(f">{kind}").tobytes()
        np.testing.assert_allclose(depth_image(message), frame.depth, atol=1.1e-3)
