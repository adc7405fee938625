# SPDX-License-Identifier: Apache-2.0
"""The live view: what the session answers, and what a headless Chromium sees of it."""

import json
import shutil
import socket
import threading
import time
import urllib.request
from dataclasses import replace
from pathlib import Path
from unittest import mock
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image

from dropclip_ros.cli import main
from dropclip_ros.commands.view import check_port
from dropclip_ros.grounding.pipeline import Grounder
from dropclip_ros.view.plain import make_plain_server
from dropclip_ros.view.session import CAMERA, Question, Session
from dropclip_ros.vision.geometry import load_frame

DEMO = Path(__file__).resolve().parents[2] / "demo"
GL = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]


@pytest.fixture(scope="module")
def grounder():
    return Grounder.from_pretrained()


@pytest.fixture
def session(grounder):
    session = Session(grounder, DEMO)
    session.open(DEMO / "frame")
    return session


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def test_a_phrase_is_answered_with_a_picture_grasps_and_colours(session):
    answer = session.ask(Question("the red mug"))
    assert "FOUND" in answer.line and answer.result.objects and len(answer.grasps) == 3
    assert answer.picture.shape[1] == 1400 and len(answer.colours) == len(answer.result.objects)
    assert "NOT FOUND" in session.ask(Question("a giraffe")).line
    assert "BAD_REQUEST" in session.ask(Question("x" * 1000)).line  # a refusal is an answer
    assert "things on the table" in session.ask(Question(" ")).line


def test_threshold_and_negatives_change_the_answer(session):
    low, high = (session.ask(Question("a cup", threshold=t)).result for t in (0.05, 0.95))
    assert len(low.objects) >= len(high.objects)
    bare, many = (session.ask(Question("the red mug", canonical=k)).result.scores for k in (0, None))
    against = session.ask(Question("the red mug", negatives=("the red cup",), canonical=0)).result.scores
    assert (bare != many).any() and against.max() < bare.max()


def test_clouds_stand_on_the_table_and_are_coloured(session):
    answer = session.ask(Question("the red mug"))
    clouds = [session.things(by, answer) for by in ("camera", "similarity", "instances")]
    assert len({cloud.colours.tobytes() for cloud in clouds}) == 3
    assert -0.01 < clouds[0].points[:, 2].min() < 0.02 < clouds[0].points[:, 2].max() < 0.4  # z up, from the table
    around = session.surroundings()
    assert 10_000 < len(around.points) < 130_000 and np.isfinite(around.points).all()


def test_bags_folders_and_scenes_of_mvtod_are_opened_and_what_is_none_is_said(session, tmp_path):
    pytest.importorskip("rosbags", reason="rosbags is not installed (extra `ros`)")
    names = {Path(name).name for name in session.recordings()}
    assert names == {"frame", "tabletop"}
    session.open(DEMO / "tabletop", 1)
    assert session.count == 2 and session.index == 1 and session.scene is not None
    frame = load_frame(DEMO / "frame/color.jpg", DEMO / "frame/depth.png", "mm", DEMO / "frame/k.json")
    Image.fromarray(frame.rgb).save(tmp_path / "view_00.rgb.jpg")
    Image.fromarray(np.round(1e4 * frame.depth).astype(np.uint16)).save(tmp_path / "view_00.depth.png")
    view = {"file_name": "view_00.rgb.jpg", "depth_file": "view_00.depth.png", "K": frame.intrinsics.matrix.tolist()}
    pose = np.diag([1.0, -1, -1, 1])
    view |= {"width": 640, "height": 480, "world_from_camera": pose.tolist()}
    (tmp_path / "scene.json").write_text(json.dumps({"images": [view]}))
    session.open(tmp_path)
    assert session.frame.camera_pose is not None and np.abs(session.frame.depth - frame.depth).max() < 1e-4
    session.open(tmp_path / "nothing")
    assert session.scene is None and "BAD_REQUEST" in session.ask(Question("mug")).line


def test_a_camera_that_gives_nothing_is_said_and_the_next_frame_is_looked_at(grounder):
    frame = load_frame(DEMO / "frame/color.jpg", DEMO / "frame/depth.png", "mm", DEMO / "frame/k.json")
    dark = type(frame)(frame.rgb, np.zeros_like(frame.depth), frame.intrinsics)
    frames = iter([dark, frame])
    session = Session(grounder, DEMO, live=lambda: next(frames))
    session.look()
    assert "BAD_FRAME" in session.ask(Question("mug")).line and not len(session.surroundings().points)
    session.look()
    assert session.ask(Question("the red mug")).result.objects
    assert session.recordings()[0] == session.recording == CAMERA and session.count == 1
    session.open(DEMO / "tabletop", 1)
    assert session.recording != CAMERA and session.index == 1


def test_all_that_was_looked_at_is_asked_as_one_scene(grounder, make_tabletop):
    frames = [make_tabletop(azimuth=azimuth).frame for azimuth in (0.0, 0.6, 1.2)]
    looks = iter([*frames, replace(frames[0], camera_pose=None)])
    session, counts = Session(grounder, DEMO, live=lambda: next(looks), lasting=True), []
    for _ in frames:
        session.look()
        answer = session.ask(Question("the red box", threshold=0.01))
        assert answer.result.objects, answer.line
        counts.append(len(session.scene.points))
        ground = session.surroundings().points  # the camera's, where the map has its table
        assert abs(np.median(ground[np.abs(ground[:, 2]) < 0.02, 2])) < 0.004
        assert len(session.things("instances", answer).points) == counts[-1]
    assert counts[2] > counts[1] > counts[0] and session.map.frames == 3
    session.look()
    assert "TF_ERROR" in session.ask(Question("the red box")).line
    session.open(DEMO / "frame")
    assert not session.map.frames and "TF_ERROR" in session.ask(Question("mug")).line  # it has no pose


def test_what_is_looked_at_live_is_looked_at_anew_for_each_phrase_and_when_followed(grounder):
    pytest.importorskip("viser", reason="viser is not installed (extra `view`)")
    from dropclip_ros.view.page import Page

    frame = load_frame(DEMO / "frame/color.jpg", DEMO / "frame/depth.png", "mm", DEMO / "frame/k.json")
    looks = []
    session = Session(grounder, DEMO, live=lambda: looks.append(1) or frame)
    session.look()
    page = Page(session, port=free_port())
    try:
        typed = page._safe(page._ask_newest)
        typed(None)
        assert len(looks) == 2
        page._recordings.value = str(DEMO / "frame")
        wait_until(lambda: session.recording == str(DEMO / "frame"))
        typed(None)
        assert len(looks) == 2  # a recording stays
        page._recordings.value = CAMERA
        wait_until(lambda: len(looks) == 3)
        with mock.patch.object(Page, "viewers", 1):
            page._follows.value = True
            wait_until(lambda: len(looks) >= 5)
    finally:
        page.close()


def wait_until(met, seconds=30.0):
    end = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def test_a_port_in_use_is_one_line_and_loopback_is_the_default(capsys):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert main(["view", str(DEMO), "--port", str(port)]) == 1
        error = capsys.readouterr().err
        assert error.startswith(f"dropclip: BAD_REQUEST: cannot serve on 127.0.0.1:{port}") and error.count("\n") == 1
    check_port("127.0.0.1", free_port())
    assert main(["view", "/no/such/place", "--port", str(free_port())]) == 1


def test_a_browser_without_javascript_asks_by_a_form(session):
    port = free_port()
    server = make_plain_server(session, "127.0.0.1", port)
    try:
        at = f"http://127.0.0.1:{port}/"
        page = urllib.request.urlopen(f"{at}?phrase={quote('the red <mug>')}&threshold=0.3", timeout=60).read().decode()
        assert "the red &lt;mug&gt;" in page and "<mug>" not in page and "data:image/jpeg" in page
        page = urllib.request.urlopen(f"{at}?phrase=the+red+mug&threshold=abc", timeout=60).read().decode()
        assert "could not convert" in page
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(at + "etc/passwd", timeout=60)
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def browser():
    sync = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("no Chromium is installed (apt install chromium)")
    with sync.sync_playwright() as p:
        yield lambda *flags: p.chromium.launch(executable_path=chromium, args=["--no-sandbox", *flags])


@pytest.fixture
def page(session):
    pytest.importorskip("viser", reason="viser is not installed (extra `view`)")
    from dropclip_ros.view.page import Page

    port = free_port()
    page = Page(session, port=port)
    yield page, f"http://127.0.0.1:{port}"
    page.close()


def test_chromium_asks_and_sees_and_a_viewer_that_leaves_leaves_nothing(page, browser, tmp_path):
    served, address = page
    with_gl = browser(*GL)
    one, two = with_gl.new_page(viewport={"width": 1400, "height": 900}), with_gl.new_page()
    errors = []
    one.on("pageerror", lambda error: errors.append(error))
    for tab in (one, two):
        tab.goto(address)
        tab.get_by_text("phrase", exact=True).wait_for(timeout=120_000)
    two.close()  # while it is still being drawn for
    one.locator("input:visible").first.fill("the red mug")
    one.get_by_text('"the red mug": FOUND').wait_for(timeout=120_000)
    one.wait_for_timeout(3000)
    picture = tmp_path / "view.png"
    one.screenshot(path=picture)
    seen = np.asarray(Image.open(picture).convert("RGB")).astype(int)
    middle = seen[:, :1000]
    red = (middle[..., 0] > 80) & (middle[..., 1:].max(-1) < 50)
    assert red.sum() > 300 and not errors  # the mug and its box of juice, drawn in 3D
    with_gl.close()
    assert served.ask("the blue cup").result.objects  # nobody looks, and it goes on


def test_of_those_that_wait_the_newest_of_each_kind_acts(page):
    """A phrase that is typed does not undo a click on the camera."""
    served, _ = page
    done = []
    look, ask = (served._safe(lambda kind=kind: done.append(kind)) for kind in ("look", "ask"))
    with served._turn:
        waiting = [threading.Thread(target=act, args=[None]) for act in (look, ask, ask, ask)]
        for thread in waiting:
            thread.start()
        time.sleep(0.2)
    for thread in waiting:
        thread.join()
    assert sorted(done) == ["ask", "look"]


def test_chromium_without_webgl_is_told_and_has_the_plain_page(page, browser, session):
    _, address = page
    blind = browser("--disable-3d-apis", "--disable-gpu")
    tab = blind.new_page()
    tab.goto(address)
    tab.get_by_text("WebGL unavailable").wait_for(timeout=120_000)
    port = free_port()
    server = make_plain_server(session, "127.0.0.1", port)
    tab.goto(f"http://127.0.0.1:{port}")
    tab.locator("input[name=phrase]").fill("the red mug")
    tab.locator("button").click()
    tab.get_by_text('"the red mug": FOUND').wait_for(timeout=120_000)
    assert tab.locator("img").evaluate("image => image.naturalWidth") == 1400
    blind.close()
    server.shutdown()
    server.server_close()
