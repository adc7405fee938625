# SPDX-License-Identifier: Apache-2.0
"""Whatever a peer sets as a parameter, the node lives on, says no in a line, and quotes no file of its machine."""

import pytest
from rcl_interfaces.srv import SetParameters
from rclpy.node import Node
from rclpy.parameter import Parameter
from ros_support import ros  # noqa: F401

from dropclip_ros.nodes.proposal_node import ProposalNode
from dropclip_ros.ros.common import Setting, Settings


@pytest.fixture(scope="module")
def set_gripper(ros):
    """Sets the parameter `gripper` of a proposer, as another program would."""
    node = ros.start(ProposalNode)
    client = ros.node.create_client(SetParameters, f"{node.get_name()}/set_parameters")

    def call(value: str):
        request = SetParameters.Request(parameters=[Parameter("gripper", value=value).to_parameter_msg()])
        return ros.call(client, request, 10).results[0]

    return call


@pytest.mark.parametrize(
    "text",
    [
        "[" * 50_000,
        "root:x:0:0: secret line : here\n\t- x",
        "{secret: [1",
        "\x00secret",
        "secret: &a [*a]",
        "&a [*a, secret]",
    ],
    ids=["nested", "tab", "cut", "NUL", "circle", "circle in a list"],
)
def test_a_file_that_is_no_profile_is_refused_and_not_quoted(set_gripper, tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    answer = set_gripper(str(path))
    assert not answer.successful and path.name in answer.reason and "secret" not in answer.reason
    assert str(tmp_path) not in answer.reason
    assert set_gripper("franka_hand").successful


def test_whatever_a_check_raises_is_a_refusal(ros):
    def check(values):
        if values["level"] > 1:
            raise KeyError("a bug, or a file of somebody")

    node = ros.serve(Node("checked"))
    Settings(node, [Setting("level", 1, "A number")], check)
    result = node.set_parameters([Parameter("level", value=2)])[0]
    assert not result.successful and "KeyError" in result.reason and "somebody" not in result.reason
    assert node.set_parameters([Parameter("level", value=0)])[0].successful
