# SPDX-License-Identifier: Apache-2.0
"""Annotation against a local endpoint that behaves well and badly; nothing may be lost, and the key shown nowhere."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from email.utils import formatdate
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from training.annotation import annotate as annotation
from training.annotation import vlm
from training.annotation.annotate import ASKS, FAILED, STRIKES, Annotation, InvalidAnswerError, annotate, parse
from training.annotation.turntable import digest, pictures
from training.objects.catalogue import Catalogue, matches
from training.objects.spec import TRAIN, ObjectModel, ObjectSpec
from training.objects.words.phrases import FAMILIES
from training.runs.errors import InputError

KEY = "sk-test/0123456789-SECRET"
SAID = {
    "category": "coffee mug",
    "color": ["teal", "white"],
    "material": ["ceramic"],
    "state": ["empty"],
    "utility": ["drinking coffee"],
    "affordance": ["I need something for my coffee", "something to warm my hands on"],
    "title": None,
    "brand": "Kellogg's",
}
GOOD = json.dumps(SAID)
MUGS = tuple(spec for spec in Catalogue.procedural().specs if spec.category == "mug")[:3]
BUILD = Catalogue.build
CHILD = """
import signal, sys
from pathlib import Path
import test_annotate as t
signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores it
t.annotation.pictures = lambda model: [b"png"] * 10
with t.vlm.Chat(sys.argv[1], "seer", t.KEY) as chat:
    t.annotation.annotate_objects(t.Catalogue(t.MUGS), Path(sys.argv[2]), chat, concurrency=1)
"""


class Endpoint:
    """A server of chat completions; `script` holds what it does with each request in turn, then it answers well.

    A step is the words of an answer, or a function of the request's handler.
    """

    def __init__(self) -> None:
        self.script: list = []
        self.requests: list[dict] = []
        self.keys: list[str | None] = []
        self.paths: list[str] = []
        self.at_once = self.most_at_once = 0
        self._lock = threading.Lock()
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with endpoint._lock:
                    endpoint.requests.append(body)
                    endpoint.keys.append(self.headers["Authorization"])
                    endpoint.paths.append(self.path)
                    endpoint.at_once += 1
                    endpoint.most_at_once = max(endpoint.most_at_once, endpoint.at_once)
                    step = endpoint.script.pop(0) if endpoint.script else GOOD
                try:
                    step(self) if callable(step) else answer(self, step)
                except (BrokenPipeError, ConnectionResetError):
                    pass  # the client went away
                finally:
                    with endpoint._lock:
                        endpoint.at_once -= 1

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()


def reply(handler: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict | None = None, cut: int = 0) -> None:
    handler.send_response(status)
    for name, value in ({"Content-Length": str(len(body))} | (headers or {})).items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body[: len(body) - cut])
    handler.close_connection = True


def answer(handler: BaseHTTPRequestHandler, words: object, cut: int = 0) -> None:
    body = {"choices": [{"message": {"role": "assistant", "content": words}, "finish_reason": "stop"}]}
    reply(handler, 200, json.dumps(body).encode(), cut=cut)


def status(code: int, message: str = "no", **headers: str):
    body = json.dumps({"error": {"message": message}}).encode()
    return lambda handler: reply(handler, code, body, {k.replace("_", "-"): v for k, v in headers.items()})


def silent(handler: BaseHTTPRequestHandler) -> None:
    time.sleep(0.6)


@pytest.fixture
def endpoint():
    endpoint = Endpoint()
    yield endpoint
    endpoint.server.shutdown()
    endpoint.server.server_close()


@pytest.fixture
def objects(monkeypatch):
    """Three mugs; what costs time and is tested elsewhere, pictures and meshes, is stood in for or made once."""
    monkeypatch.setattr(annotation, "pictures", lambda model: [b"png of " + model.name.encode()] * 10)
    monkeypatch.setattr(Catalogue, "build", lambda self, spec: BUILD(self, spec) if spec.mesh else build(spec.seed))
    return Catalogue(MUGS)


@cache
def build(seed: int) -> ObjectModel:
    return BUILD(Catalogue(MUGS), replace(MUGS[0], seed=seed))


@pytest.fixture
def run(endpoint, objects, tmp_path):
    """Annotates the objects into tmp_path/out; a patient client in a hurry."""

    def run(catalogue: Catalogue = objects, concurrency: int = 1, retries: int = 2, **settings) -> annotation.Report:
        settings = {"url": endpoint.url, "key": KEY, "key_name": "$MY_KEY", "timeout": 0.3, "backoff": 0.01} | settings
        with vlm.Chat(model="seer", retries=retries, **settings) as chat:
            return annotation.annotate_objects(catalogue, tmp_path / "out", chat, concurrency)

    return run


def test_pictures_show_the_object_from_ten_sides():
    shown = [np.asarray(Image.open(BytesIO(png))).astype(int) for png in pictures(build(MUGS[0].seed))]
    assert len(shown) == 10 and len({image.tobytes() for image in shown}) == 10
    for image in shown:
        object_ = (np.abs(image - image[0, 0]) > 8).any(axis=2)
        assert 0.1 < object_.mean() < 0.8
        assert not (object_[[0, -1]].any() or object_[:, [0, -1]].any())  # nothing is cut off


def test_digest_tells_looks_not_names(objects):
    model = objects.build(objects.specs[0])
    assert digest(model) == digest(replace(model, name="another"))
    assert digest(model) != digest(replace(model, texture=255 - model.texture))
    assert digest(model) != digest(replace(model, vertices=model.vertices * [1, 1, 1.1]))


def test_the_result_is_a_catalogue_with_phrases_of_four_families(run, endpoint, objects, tmp_path):
    report = run(concurrency=2)
    assert (report.annotated, report.cached, report.failed) == (3, 0, {})
    again = Catalogue.load(tmp_path / "out")
    assert [spec.name for spec in again.specs] == [spec.name for spec in objects.specs]
    prompts = again.specs[0].prompts
    assert set(prompts) == set(FAMILIES) and all(prompts.values())
    assert "coffee mug" in prompts["class"] and "teal coffee mug" in prompts["attribute"]
    assert list(prompts["affordance"]) == SAID["affordance"] and "Kellogg's mug" in prompts["open"]
    np.testing.assert_array_equal(again.build(again.specs[0]).texture, objects.build(objects.specs[0]).texture)


def test_ten_pictures_and_the_prompt_are_sent(run, endpoint):
    run()
    assert endpoint.paths == ["/v1/chat/completions"] * 3 and endpoint.keys == [f"Bearer {KEY}"] * 3
    (message,) = endpoint.requests[0]["messages"]
    text, *images = message["content"]
    assert endpoint.requests[0]["model"] == "seer" and "It is a mug" in text["text"]
    assert all(f'"{name}"' in text["text"] for name in Annotation.model_fields)
    assert len(images) == 10 and images[0]["image_url"]["url"].startswith("data:image/png;base64,")


def test_asking_again_is_free(run, endpoint):
    run()
    report = run()
    assert (report.annotated, report.cached) == (0, 3) and len(endpoint.requests) == 3


def test_a_broken_answer_on_disk_is_asked_for_again(run, endpoint, tmp_path):
    run()
    next((tmp_path / "out" / "annotations").iterdir()).write_text(GOOD[:40])
    report = run()
    assert (report.annotated, report.cached) == (1, 2)


@pytest.mark.parametrize(
    "words",
    [
        "```json\n" + GOOD + "\n```",
        "Here you are: " + GOOD + " I hope this helps.",
        "<think>a {mug}?</think>" + GOOD,
        [{"type": "text", "text": GOOD}],
        json.dumps(SAID | {"color": "teal", "state": None, "brand": "n/a", "more": 1}),
    ],
)
def test_answers_may_be_dressed_up(run, endpoint, words):
    endpoint.script = [words]
    assert run().annotated == 3 and len(endpoint.requests) == 3


@pytest.mark.parametrize(
    "words, reason",
    [
        ("It is a mug.", "JSON object"),
        (GOOD[:-20], "JSON"),
        (json.dumps({k: v for k, v in SAID.items() if k != "color"}), "color"),
        (json.dumps(SAID | {"affordance": []}), "affordance"),
        (json.dumps(SAID | {"material": ["x" * 500]}), "material"),
        (json.dumps(SAID | {"category": "mug\ncup"}), "category"),
        ("[" * 5000, "JSON"),
    ],
)
def test_a_wrong_answer_is_sent_back_with_the_reason(run, endpoint, words, reason):
    endpoint.script = [words]
    report = run()
    assert report.annotated == 3 and len(endpoint.requests) == 4
    first, wrong, again = endpoint.requests[1]["messages"]
    assert len(first["content"]) == 11 and wrong == {"role": "assistant", "content": words}
    assert reason in again["content"]


def test_who_never_answers_well_is_listed_and_the_run_goes_on(run, endpoint, objects, tmp_path):
    endpoint.script = ["no"] * ASKS
    report = run()
    assert report.annotated == 2 and list(report.failed) == [objects.specs[0].name]
    assert json.loads((tmp_path / "out" / FAILED).read_text()) == report.failed
    assert "JSON" in report.failed[objects.specs[0].name]
    saved = Catalogue.load(tmp_path / "out").specs
    assert saved[0] == objects.specs[0] and saved[1].prompts
    assert run().annotated == 1  # a second run asks for it alone
    assert json.loads((tmp_path / "out" / FAILED).read_text()) == {}


@pytest.mark.parametrize(
    "step",
    [
        status(429),
        status(429, retry_after="0"),
        status(429, retry_after="0.05"),
        status(503, retry_after=formatdate(usegmt=True)),
        status(503, retry_after="soon"),
        status(500),
        silent,
        lambda handler: answer(handler, GOOD, cut=30),
        lambda handler: reply(handler, 200, b"<html>"),
        lambda handler: reply(handler, 200, b'{"choices": []}'),
        lambda handler: reply(handler, 200, b"\xff\xfe\x00"),
        lambda handler: reply(handler, 200, b"no gzip", {"Content-Encoding": "gzip"}),
        lambda handler: handler.connection.close(),
        lambda handler: answer(handler, None),
    ],
)
def test_a_hiccup_is_tried_again(run, endpoint, step):
    endpoint.script = [step, step]
    report = run()
    assert report.annotated == 3 and len(endpoint.requests) == 5


def test_retry_after_is_waited_for_by_all(run, endpoint, monkeypatch):
    waits = []
    monkeypatch.setattr(vlm.Chat, "_wait", lambda self, seconds: waits.append(seconds))
    endpoint.script = [status(429, retry_after="70")]
    run()
    assert 70 in waits and any(60 < seconds <= 70 for seconds in waits if seconds != 70)


def test_without_retry_after_pauses_double(run, endpoint, monkeypatch):
    waits = []
    monkeypatch.setattr(vlm.Chat, "_wait", lambda self, seconds: waits.append(seconds))
    endpoint.script = [status(500)] * 4
    run(retries=4, backoff=1.0)
    pauses = [seconds for seconds in waits if seconds > 0]
    assert all(0.7 <= pause / 2**k <= 1.3 for k, pause in enumerate(pauses)) and len(pauses) == 4


def test_a_request_that_is_refused_fails_its_object_alone(run, endpoint, objects):
    endpoint.script = [status(400, "image too large")]
    report = run()
    assert report.annotated == 2 and "image too large" in report.failed[objects.specs[0].name]


@pytest.mark.parametrize(
    "step, told",
    [
        (status(401, f"Incorrect API key provided: {KEY}"), r"refused the key in \$MY_KEY"),
        (status(403, "no access"), r"refused the key in \$MY_KEY.*no access"),
        (status(402, "no credit"), "no credit"),
        (status(404, "no model seer"), "mend the url or the model's name.*no model seer"),
        (status(308, location="https://elsewhere/"), "mend the url"),
        (status(429, "daily quota", retry_after="86400"), "86400 s.*daily quota"),
    ],
)
def test_what_only_the_user_can_mend_stops_at_once(run, endpoint, step, told):
    endpoint.script = [step] * 20
    with pytest.raises(InputError, match=told) as caught:
        run()
    assert len(endpoint.requests) == 1
    assert KEY not in str(caught.value) and "SECRET" not in str(caught.value)


def test_without_a_key_none_is_sent_and_a_refusal_says_which_to_set(run, endpoint):
    endpoint.script = [status(401)]
    with pytest.raises(InputError, match=r"wants a key; set \$MY_KEY"):
        run(key=None)
    assert endpoint.keys == [None]


def test_nobody_there(run, tmp_path):
    with pytest.raises(InputError, match=r"none of 3 objects was annotated.*[Rr]efused.*\(3 tries\)"):
        run(url="http://127.0.0.1:9/v1")
    assert len(json.loads((tmp_path / "out" / FAILED).read_text())) == 3


def test_an_endpoint_that_is_gone_ends_the_run_and_what_was_kept_stays(run, endpoint, objects):
    many = Catalogue(tuple(replace(s, seed=seed, name=f"mug_{seed}") for seed in range(9) for s in objects.specs[:1]))
    endpoint.script = [GOOD] + [status(500)] * 99
    with pytest.raises(InputError, match=f"{STRIKES} objects in a row got no answer; run again"):
        run(many, retries=0)
    assert len(endpoint.requests) <= 1 + STRIKES + 2  # what was under way
    endpoint.script = []
    assert run(many).cached == 1


def test_an_object_that_cannot_be_built_is_listed(run, objects, tmp_path):
    broken = replace(objects.specs[0], name="ghost", mesh="nowhere/ghost.obj")
    report = run(replace(objects, specs=(broken, *objects.specs), root=tmp_path / "out"))
    assert report.annotated == 3 and list(report.failed) == ["ghost"] and "ghost" in report.failed["ghost"]


def test_meshes_are_annotated_where_they_lie(run, endpoint, tmp_path):
    """Attributes become the annotation's; asking again is free though the object is of another material now."""
    folder = tmp_path / "out"
    folder.mkdir()
    trimesh.creation.box((0.1, 0.06, 0.08)).export(folder / "box.obj")
    spec = ObjectSpec("thing", "mug", TRAIN, {"color": "red", "color2": "blue", "size": "small"}, mesh="box.obj")
    Catalogue((spec,), folder).save(folder)
    assert run(Catalogue.load(folder)).annotated == 1
    (found,) = Catalogue.load(folder).specs
    assert found.attributes == {
        "size": "small",
        "class": "coffee mug",
        "color": "teal",
        "color2": "white",
        "material": "ceramic",
        "state": "empty",
        "utility": "drinking coffee",
        "brand": "Kellogg's",
    }
    assert matches(found, "white cup") and matches(found, "ceramic mug") and not matches(found, "red mug")
    assert run(Catalogue.load(folder)).cached == 1 and len(endpoint.requests) == 1


def test_a_folder_that_cannot_hold_the_result_is_refused_before_anything_is_asked(run, endpoint):
    spec = ObjectSpec("thing", "mug", TRAIN, {}, mesh="box.obj")
    with pytest.raises(InputError, match="where the meshes are"):
        run(Catalogue((spec,), Path("/nowhere")))
    assert not endpoint.requests


def test_requests_under_way_are_bounded(run, endpoint, objects):
    many = Catalogue(tuple(replace(s, seed=seed, name=f"mug_{seed}") for seed in range(8) for s in objects.specs[:1]))
    endpoint.script = [lambda handler: (time.sleep(0.3), answer(handler, GOOD))] * 8
    assert run(many, concurrency=3, timeout=5.0).annotated == 8
    assert 2 <= endpoint.most_at_once <= 3


@pytest.mark.parametrize("key", ["sk two words", "sk-\nX-Other: header", "ключ"])
def test_a_key_that_is_none_is_refused_unseen(run, endpoint, key):
    with pytest.raises(InputError, match=r"\$MY_KEY") as caught:
        run(key=key)
    assert key not in str(caught.value) and not endpoint.requests


@pytest.mark.parametrize(
    "url", ["localhost:8000/v1", "ftp://x/v1", "http://", "http://me:pass@x/v1", "http://a b/v1", ""]
)
def test_urls_are_checked(run, url):
    with pytest.raises(InputError, match="http") as caught:
        run(url=url)
    assert "pass@" not in str(caught.value)


def test_the_whole_address_and_a_query_may_be_given(run, endpoint):
    run(url=endpoint.url + "/chat/completions?api-version=1")
    assert set(endpoint.paths) == {"/v1/chat/completions?api-version=1"}


def test_the_key_is_nowhere(endpoint, objects, tmp_path, monkeypatch, caplog, capfd):
    """Though the endpoint repeats it in answers and errors, and all logs are on."""
    escaped = json.dumps({"error": {"message": f"bad key {KEY}"}}).replace("/", "\\/").encode()
    endpoint.script = [
        json.dumps(SAID | {"title": KEY}),
        lambda handler: reply(handler, 500, escaped),
        lambda handler: reply(handler, 200, f"what is {KEY}?".encode()),
        lambda handler: reply(handler, 400, escaped),
    ]
    monkeypatch.setenv("SOME_KEY", KEY)
    monkeypatch.setattr(annotation, "open_catalogue", lambda name: objects)
    monkeypatch.setattr(vlm, "BACKOFF", 0.01)
    caplog.set_level(logging.DEBUG)
    annotate(tmp_path / "out", endpoint.url, "seer", key_env="SOME_KEY", concurrency=1, timeout=1.0)
    assert set(endpoint.keys) == {f"Bearer {KEY}"}
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    output = capfd.readouterr()
    for text in (written.decode(), caplog.text, output.out, output.err):
        assert KEY not in text and "SECRET" not in text
    assert "[key]" in written.decode() and "1 failed" in output.out


def test_a_failure_in_the_middle_loses_only_what_was_under_way(run, endpoint, monkeypatch):
    shown = []

    def interrupted(model):
        shown.append(model)
        if len(shown) == 3:
            raise KeyboardInterrupt
        return [b"png"] * 10

    monkeypatch.setattr(annotation, "pictures", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run()
    report = run()
    assert report.cached >= 1 and report.cached + report.annotated == 3
    assert len(endpoint.requests) <= 3 + 1


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_process_loses_only_what_was_under_way(run, endpoint, tmp_path, number):
    endpoint.script = [GOOD, lambda handler: time.sleep(60)]
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, endpoint.url, str(tmp_path / "out")],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, Path(__file__).parents[:3]))},
        stderr=subprocess.PIPE,
        text=True,
    )
    while len(endpoint.requests) < 2:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    process.send_signal(number)
    _, said = process.communicate(timeout=30)  # not as long as the answer takes
    assert len(endpoint.requests) == 2
    assert process.returncode and KEY not in said
    report = run()
    assert (report.cached, report.annotated) == (1, 2) and len(endpoint.requests) == 4


def test_parse_names_what_is_wrong():
    with pytest.raises(InvalidAnswerError, match=r"color: .*; material\.0: "):
        parse(json.dumps(SAID | {"color": [], "material": [3]}))
