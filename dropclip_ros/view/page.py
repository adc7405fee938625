# SPDX-License-Identifier: Apache-2.0
"""The page: viser's server, a panel to ask with, and the scene in 3D. Viewers come and go; the session stays."""

from __future__ import annotations

import threading
from collections.abc import Callable
from string import ascii_uppercase
from typing import Any

import numpy as np

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.grasping.grasps import Grasps
from dropclip_ros.view.session import CAMERA, Answer, Question, Session
from dropclip_ros.vision.geometry import transform_points

COLOURS = ("camera", "similarity", "instances")
_NONE = "(none)"
_FOLLOW_EVERY = 0.5  # s between looks, the looking not counted
_CUBE = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
_EDGES = [(i, i | bit) for i in range(8) for bit in (1, 2, 4) if not i & bit]


class Page:
    """Serves a session until `close`. host: who may look, the own machine alone by default."""

    def __init__(self, session: Session, host: str = "127.0.0.1", port: int = 8080) -> None:
        try:
            import viser
        except ImportError as error:
            raise DropclipError(Status.MODEL_ERROR, "the view needs viser; pip install 'dropclip_ros[view]'") from error
        self.session, self._answer = session, Answer("", session.plain_picture())
        self._closed = threading.Event()
        self._turn = threading.Lock()  # callbacks run in threads: sliders that are dragged ask many times at once
        self._server: Any = viser.ViserServer(host, port, label="dropclip", verbose=False)
        self._server.scene.set_up_direction("+z")
        self._server.gui.configure_theme(control_width="large")
        self._server.on_client_connect(lambda client: self._see(client))
        self._build()
        self.refresh()
        if session.live is not None:
            threading.Thread(target=self._keep_looking, daemon=True).start()

    @property
    def viewers(self) -> int:
        return len(self._server.get_clients())

    def close(self) -> None:
        self._closed.set()
        self._server.stop()

    def _build(self) -> None:
        gui, session = self._server.gui, self.session
        self._text = gui.add_text("phrase", "", hint="what to find, as 'the red mug'")
        self._line = gui.add_markdown("")
        self._picture = gui.add_image(session.plain_picture(), label="camera", format="jpeg", jpeg_quality=85)
        model, known = session.grounder.config, len(session.grounder.config.canonical_negatives)
        with gui.add_folder("how it is compared"):
            self._threshold = gui.add_slider("threshold", 0.05, 0.95, 0.05, float(np.clip(model.threshold, 0.05, 0.95)))
            self._count = gui.add_slider("negatives", 0, known or 1, 1, known, hint="how many of the model's own")
            self._negatives = gui.add_text("and these", "", hint="phrases that are not meant, with commas between")
            self._by = gui.add_dropdown("colours", COLOURS)
        with gui.add_folder("what is looked at"):
            self._recordings = gui.add_dropdown("recording", session.recordings() or [_NONE])
            self._index = gui.add_slider("frame", 0, 1, 1, 0)
            latest = gui.add_button("latest recording")
            look = gui.add_button("look through the camera", disabled=session.live is None)
            self._follows = gui.add_checkbox("follow the camera", False, disabled=session.live is None)
        ask = self._safe(self._ask_again)
        for part in (self._threshold, self._count, self._negatives):
            part.on_update(ask)
        self._text.on_update(self._safe(self._ask_newest))
        self._by.on_update(self._safe(lambda: self._draw_things()))
        self._recordings.on_update(self._safe(self._choose))
        self._index.on_update(self._safe(self._turn_to))
        latest.on_click(self._safe(self._open_latest))
        look.on_click(self._safe(self._look))

    def _safe(self, act: Callable[[], None]) -> Callable[[Any], None]:
        """One callback at a time, of those of one kind that wait the newest; what goes wrong is said on the page."""
        latest = 0

        def called(_: Any) -> None:
            nonlocal latest
            latest += 1
            mine = latest
            with self._turn:
                if mine != latest:
                    return  # somebody has asked again meanwhile
                try:
                    act()
                except Exception as error:
                    self._line.content = f"**{type(error).__name__}**: {error}"

        return called

    def _ask_again(self) -> None:
        self.ask()

    def _ask_newest(self) -> None:
        """A phrase is asked about what the camera sees by then."""
        self._look() if self.session.recording == CAMERA else self.ask()

    def _keep_looking(self) -> None:
        look = self._safe(self._look_again)
        while not self._closed.wait(_FOLLOW_EVERY):
            if self._follows.value and self.viewers and self.session.recording == CAMERA:
                look(None)

    def _choose(self) -> None:
        if self._recordings.value != self.session.recording:
            self._open(self._recordings.value, 0)

    def _turn_to(self) -> None:
        session = self.session
        if session.recording and int(self._index.value) != session.index:
            self._open(session.recording, int(self._index.value))

    def _open_latest(self) -> None:
        found = self.session.recordings()
        self._recordings.options = found or [_NONE]
        if recorded := [name for name in found if name != CAMERA]:
            self._open(recorded[0], 0)

    def _look(self) -> None:
        self._line.content = "looking ..."
        self._look_again()

    def _look_again(self) -> None:
        self.session.look()
        self.refresh()

    def _open(self, recording: str, index: int) -> None:
        if recording == _NONE:
            return
        self._line.content = f"reading {recording} ..."
        self.session.open(recording, index)
        self.refresh()

    def refresh(self) -> None:
        """Shows what the session looks at now, and asks the phrase about it."""
        session, options = self.session, list(self._recordings.options)
        self._index.max = max(session.count - 1, 1)
        self._index.value = session.index
        if session.recording in options:
            self._recordings.value = session.recording
        cloud = session.surroundings()
        self._points("/surroundings", cloud.points, cloud.colours // 2 + 96, 0.002)
        self.ask()

    def ask(self, phrase: str | None = None) -> Answer:
        """Asks the phrase of the box, or another one, and shows the answer."""
        if phrase is not None:
            self._text.value = phrase
        typed = tuple(part.strip() for part in self._negatives.value.split(",") if part.strip())
        question = Question(self._text.value, float(self._threshold.value), typed, int(self._count.value))
        answer = self._answer = self.session.ask(question)
        self._line.content = answer.line
        self._picture.image = answer.picture
        self._draw_things()
        self._draw_answer(answer)
        return answer

    def _points(self, name: str, points: np.ndarray, colours: np.ndarray, size: float) -> None:
        self._server.scene.add_point_cloud(name, points, colours.astype(np.uint8), point_size=size)

    def _draw_things(self) -> None:
        cloud = self.session.things(self._by.value, self._answer)
        self._points("/things", cloud.points, cloud.colours, 0.003)

    def _draw_answer(self, answer: Answer) -> None:
        scene, up = self._server.scene, self.session.up()
        scene.remove_by_name("/answer")
        for i, found in enumerate(answer.result.objects if answer.result else ()):
            colour = np.array(answer.colours[i])
            corners = transform_points(up @ found.box_pose, _CUBE * found.size)
            self._lines(f"/answer/{i}/box", corners[_EDGES], colour)
            doubt = "?" if found.doubtful else ""
            letter = ascii_uppercase[i] if i < 26 else str(i + 1)
            scene.add_label(f"/answer/{i}/name", f"{letter} {found.score:.2f}{doubt}", position=corners.max(0))
        for k in range(min(len(answer.grasps), 3)):
            colour = np.array(answer.colours[0]) if answer.colours else np.ones(3)
            fork = transform_points(up, _fork(answer.grasps[k], self.session.gripper.finger_depth).reshape(-1, 3))
            self._lines(f"/answer/grasp_{k + 1}", fork.reshape(-1, 2, 3), colour, 4.0 if k == 0 else 2.0)
            scene.add_label(f"/answer/grasp_{k + 1}/name", f"A{k + 1}", position=fork[-1])

    def _lines(self, name: str, segments: np.ndarray, colour: np.ndarray, thick: float = 2.0) -> None:
        self._server.scene.add_line_segments(
            name,
            segments.astype(np.float32),
            np.round(255 * colour).astype(np.uint8),
            thickness=thick,
            thickness_units="screen",
        )

    def _see(self, client: Any) -> None:
        """Puts a new viewer where the camera stands."""
        try:
            up, scene = self.session.up(), self.session.scene
            middle = scene.points.mean(0) if scene is not None else np.array([0, 0, 0.8])
            client.camera.position = self.session.eye()[:3, 3]
            client.camera.look_at = transform_points(up, middle[None])[0]
        except Exception:  # it left before it was there
            return


def _fork(grasp: Grasps, depth: float) -> np.ndarray:
    """Line segments (4, 2, 3) of one grasp: fingers, palm, and the approach, which comes last."""
    half = grasp.width[0] / 2
    ends = np.array(
        [
            [[0, -half], [-depth, -half]],
            [[0, half], [-depth, half]],
            [[-depth, -half], [-depth, half]],
            [[-depth, 0], [-2 * depth, 0]],
        ]
    )
    return grasp.tips() + ends @ grasp.rotation[0, :, :2].T
