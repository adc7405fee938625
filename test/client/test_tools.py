# SPDX-License-Identifier: Apache-2.0
"""Tools of a language model: schemas, refusals as answers, and that the arm moves only for a grasp that was found."""

import asyncio
import json
import os
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import ros_support  # noqa: F401  skips where ROS is missing

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.client import SeenObject
from dropclip_ros.tools import TOOLS, Tools, make_server

MUG = SeenObject(
    3,
    "mug",
    0.75,
    -1.0,
    False,
    np.array([0.1, 0.2, 0.3]),
    np.eye(4),
    np.full(3, 0.08),
    *[np.zeros((0, 3))] * 3,
    ("CUP",),
)


class FakeClient:
    def __init__(self):
        self.picked = []

    def ground(self, query, **fields):
        if query == "a giraffe":
            raise DropclipError(Status.NOT_FOUND, "no giraffe")
        return SimpleNamespace(message="1 found", frame="world", objects=(MUG,))

    def grasp(self, query, top_k=0, **fields):
        return SimpleNamespace(message="2 grasps", objects=(MUG,), query=query)

    def pick(self, grasped):
        self.picked.append(grasped.query)
        return SimpleNamespace(message="lifted", executed=0, reasons=())


@pytest.fixture
def tools():
    return Tools(FakeClient())


def test_answers_are_plain_json(tools):
    answer = json.loads(json.dumps(tools.call("ground", {"query": "the mug"}), allow_nan=False))
    assert answer["status"] == "OK" and answer["frame"] == "world"
    (mug,) = answer["objects"]
    assert (mug["id"], mug["centre_m"], mug["words_read"]) == (3, [0.1, 0.2, 0.3], ["CUP"])


@pytest.mark.parametrize(
    "name, arguments, status, words",
    [
        ("ground", {"query": "a giraffe"}, "NOT_FOUND", "no giraffe"),
        ("ground", {}, "BAD_REQUEST", "query"),
        ("fly", {}, "BAD_REQUEST", "ground, grasp, pick"),
        ("pick", {"grasp": 1}, "BAD_REQUEST", "call grasp first"),
        ("pick", {}, "BAD_REQUEST", "call grasp first"),
    ],
)
def test_a_refusal_is_an_answer(tools, name, arguments, status, words):
    answer = tools.call(name, arguments)
    assert answer["status"] == status and words in answer["message"]


def test_the_arm_moves_once_for_each_grasp_that_was_found(tools):
    number = tools.call("grasp", {"query": "the mug"})["grasp"]
    assert tools.call("pick", {"grasp": number})["message"] == "lifted"
    assert tools.call("pick", {"grasp": number})["status"] == "BAD_REQUEST"
    assert tools._client.picked == ["the mug"]


def test_the_server_speaks_mcp(tools):
    pytest.importorskip("mcp", reason="mcp is not installed (the extra mcp)")
    from mcp.shared.memory import create_connected_server_and_client_session as connected

    async def talk():
        async with connected(make_server(tools)) as session:
            listed = {tool.name: tool.inputSchema for tool in (await session.list_tools()).tools}
            good = await session.call_tool("ground", {"query": "the mug"})
            bad = await session.call_tool("ground", {"query": "the mug", "wings": 2})
            return listed, good, bad

    listed, good, bad = asyncio.run(talk())
    assert listed == {name: schema for name, (_, schema) in TOOLS.items()}
    assert json.loads(good.content[0].text)["status"] == "OK"
    assert bad.isError and "wings" in bad.content[0].text


def test_the_command_serves_on_stdin_and_stdout_and_nodes_that_are_not_there_are_an_answer():
    pytest.importorskip("mcp", reason="mcp is not installed (the extra mcp)")
    from mcp import ClientSession, StdioServerParameters
    from mcp.client.stdio import stdio_client

    words = ["-m", "dropclip_ros.tools", "--namespace", "nobody", "--timeout", "1"]
    command = StdioServerParameters(command=sys.executable, args=words, env=dict(os.environ))

    async def talk():
        async with stdio_client(command) as (read, write), ClientSession(read, write) as session:
            await session.initialize()
            names = [tool.name for tool in (await session.list_tools()).tools]
            return names, await session.call_tool("ground", {"query": "the mug"})

    names, answer = asyncio.run(asyncio.wait_for(talk(), 120))
    assert names == list(TOOLS) and json.loads(answer.content[0].text)["status"] == "TIMEOUT"
