# SPDX-License-Identifier: Apache-2.0
"""The client's calls as tools of a language model: JSON schemas, one function that answers calls, and an MCP server.

    python -m dropclip_ros.tools --namespace cell       # an MCP server on stdin and stdout; needs the extra `mcp`

A refusal is an answer like any other: {"status": "NOT_FOUND", "message": ...}, in the words of the nodes. `pick` moves
the arm: it takes only the number of a `grasp` that this process answered, and each number once.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Mapping
from itertools import count
from typing import Any

import numpy as np

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.client import Client, Grasped, Refused, SeenObject

_QUERY = {
    "query": {"type": "string", "minLength": 1, "maxLength": 256, "description": "the object, as 'the red mug'"},
    "previous": {
        "type": "array",
        "items": {"type": "integer"},
        "description": "ids of the last answer's objects, so that 'the other one' is understood",
    },
    "literal": {"type": "boolean", "description": "compare the phrase as a whole, without reading relations"},
}


def _schema(properties: Mapping[str, Any], required: list[str]) -> dict[str, Any]:
    return {"type": "object", "properties": dict(properties), "required": required, "additionalProperties": False}


TOOLS: dict[str, tuple[str, dict[str, Any]]] = {
    "ground": (
        "Find what a phrase means on the table: objects with place and size in metres. Nothing moves.",
        _schema(_QUERY, ["query"]),
    ),
    "grasp": (
        "Find grasps of what a phrase means, best first. Nothing moves; the answer's number is what `pick` takes.",
        _schema(_QUERY | {"top_k": {"type": "integer", "minimum": 1, "maximum": 50}}, ["query"]),
    ),
    "pick": (
        "MOVES THE ARM: pick up what an earlier `grasp` found, by the number in its answer.",
        _schema(
            {"grasp": {"type": "integer", "minimum": 1, "description": "the number that `grasp` answered"}}, ["grasp"]
        ),
    ),
}


class Tools:
    """Answers calls of TOOLS through a client; keeps the grasps that were found, by number, until they are picked."""

    def __init__(self, client: Client) -> None:
        self._client, self._grasps, self._numbers = client, dict[int, Grasped](), count(1)

    def call(self, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The answer as plain values; what is refused is an answer with its status and message."""
        try:
            return {"status": Status.OK.name} | self._answer(name, dict(arguments))
        except Refused as error:
            told = {"status": error.status.name, "message": error.message}
            more = {"question": error.question, "candidates": list(map(_object, error.candidates))}
            return told | {key: value for key, value in more.items() if value}
        except DropclipError as error:
            return {"status": error.status.name, "message": error.message}
        except TypeError as error:
            return {"status": Status.BAD_REQUEST.name, "message": f"{name}: {error}"}

    def _answer(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        if name not in TOOLS:
            raise DropclipError(Status.BAD_REQUEST, f"no tool {name!r}: expected one of {', '.join(TOOLS)}")
        if name == "ground":
            found = self._client.ground(**arguments)
            return {"message": found.message, "frame": found.frame, "objects": list(map(_object, found.objects))}
        if name == "grasp":
            grasped = self._client.grasp(**arguments)
            number = next(self._numbers)  # its own, however many calls are answered at once
            self._grasps[number] = grasped
            objects = list(map(_object, grasped.objects))
            return {"message": grasped.message, "grasp": number, "objects": objects}
        chosen = self._grasps.pop(arguments.get("grasp", 0), None)
        if chosen is None:
            known = ", ".join(map(str, self._grasps)) or "none: call grasp first"
            raise DropclipError(
                Status.BAD_REQUEST, f"grasp {arguments.get('grasp')} is not one to pick; those are {known}"
            )
        picked = self._client.pick(chosen)
        return {"message": picked.message, "executed": picked.executed, "not_executed": list(picked.reasons)}


def _object(found: SeenObject) -> dict[str, Any]:
    return {
        "id": found.id,
        "label": found.label,
        "score": round(float(found.score), 3),
        "doubtful": found.doubtful,
        "centre_m": np.round(found.centre, 4).tolist(),
        "size_m": np.round(found.box_size, 4).tolist(),
        "words_read": list(found.words_read),
    }


def make_server(tools: Tools) -> Any:
    """An MCP server of TOOLS (mcp's low-level one)."""
    from mcp.server.lowlevel import Server
    from mcp.types import TextContent, Tool

    server: Any = Server("dropclip_ros")

    @server.list_tools()
    async def list_tools() -> list[Tool]:
        return [Tool(name=name, description=text, inputSchema=schema) for name, (text, schema) in TOOLS.items()]

    @server.call_tool()
    async def call_tool(name: str, arguments: dict[str, Any]) -> list[TextContent]:
        answer = await asyncio.to_thread(tools.call, name, arguments)
        return [TextContent(type="text", text=json.dumps(answer, allow_nan=False))]

    return server


async def serve(tools: Tools) -> None:
    """Serves on stdin and stdout until they end."""
    from mcp.server.stdio import stdio_server

    server = make_server(tools)
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--namespace", default="", help="of the nodes")
    parser.add_argument("--timeout", type=float, default=120.0, help="s for an answer")
    args = parser.parse_args()
    with Client(namespace=args.namespace, timeout=args.timeout) as client:
        asyncio.run(serve(Tools(client)))


if __name__ == "__main__":
    main()
