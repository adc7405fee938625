# SPDX-License-Identifier: Apache-2.0
"""The optional reader behind an endpoint: its trees are checked, and the grammar stands in where there is none."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from dropclip_ros.base.errors import DropclipError
from dropclip_ros.language.chat import KEY, ChatReader
from dropclip_ros.language.parse import read_phrase
from dropclip_ros.language.tree import in_words

TREE = {"head": "mug", "relations": [{"relation": "left", "landmarks": [{"head": "banana"}]}]}
PHRASE = "the mug one would find if one went left of the banana"


@pytest.fixture
def endpoint():
    """A local server that answers with `says`; `heard` are the requests."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            server.heard.append((self.path, self.headers.get("Authorization"), body))
            self.send_response(server.code)
            self.end_headers()
            self.wfile.write(json.dumps({"choices": [{"message": {"content": server.says}}]}).encode())

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.heard, server.says, server.code = [], f"```json\n{json.dumps(TREE)}\n```", 200
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def reader_of(server, **more):
    return ChatReader(f"http://127.0.0.1:{server.server_port}/v1", "a-model", **more)


def test_a_tree_comes_back_checked(endpoint, monkeypatch):
    monkeypatch.setenv(KEY, "secret")
    read = reader_of(endpoint)(PHRASE)
    assert in_words(read.reading) == "mug, left (banana)" and not read.whole
    path, authorization, body = endpoint.heard[0]
    assert path == "/v1/chat/completions" and authorization == "Bearer secret"
    assert body["model"] == "a-model" and body["messages"][-1]["content"] == PHRASE


def test_what_names_one_thing_is_not_sent(endpoint):
    assert reader_of(endpoint)("the red mug").whole and endpoint.heard == []


@pytest.mark.parametrize(
    "says", ["no tree", "{}}{", '{"head": 7}', '{"relations": [{"relation": "beyond", "landmarks": [{}]}]}', "[1]"]
)
def test_without_a_tree_that_holds_the_grammar_reads(endpoint, says):
    endpoint.says = says
    phrase = "the mug left of the banana"
    read = reader_of(endpoint)(phrase)
    assert read.reading == read_phrase(phrase).reading and "reader" in read.not_understood[-1]


def test_an_endpoint_that_fails_or_is_not_there_costs_no_answer(endpoint):
    endpoint.code = 500
    assert reader_of(endpoint)("the mug left of the banana").reading is not None
    assert ChatReader("http://127.0.0.1:9/v1", "m", timeout=0.5)("the mug left of the jar").reading is not None
    with pytest.raises(DropclipError):
        ChatReader("file:///etc/passwd", "m")


def test_refusals_of_the_model_are_passed_on(endpoint):
    endpoint.says = '{"unsupported": "nobody sees that"}'
    read = reader_of(endpoint)("the heaviest mug")
    assert read.reading is None and read.unsupported == "nobody sees that"
