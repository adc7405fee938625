# SPDX-License-Identifier: Apache-2.0
"""The same session as a page of text and one picture, for browsers without WebGL or JavaScript."""

from __future__ import annotations

import base64
import io
import threading
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
from PIL import Image

from dropclip_ros.base.errors import DropclipError
from dropclip_ros.view.session import Question, Session

_PAGE = """<!doctype html><html><head><meta charset="utf-8"><title>dropclip</title></head>
<body style="font-family: sans-serif; max-width: 1400px; margin: 1em auto">
<form>phrase <input name="phrase" size="40" value="{phrase}" autofocus>
threshold <input name="threshold" type="number" min="0" max="0.99" step="0.05" value="{threshold}">
not <input name="negatives" size="30" value="{negatives}" placeholder="phrases with commas between">
recording <select name="recording"><option value="">as it is</option>{recordings}</select>
<button>ask</button></form>
<p>{line}</p><img alt="the answer" style="max-width: 100%" src="data:image/jpeg;base64,{picture}">
<pre>{objects}</pre></body></html>
"""


def make_plain_server(session: Session, host: str, port: int) -> ThreadingHTTPServer:
    """Listens at once, on a thread of its own; `shutdown` and `server_close` end it. OSError where it cannot listen."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if urlsplit(self.path).path != "/":
                self.send_error(404)
                return
            body = answer_page(session, parse_qs(urlsplit(self.path).query)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            try:
                self.wfile.write(body)
            except ConnectionError:
                return  # the viewer has left

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer((host, port), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def answer_page(session: Session, asked: dict[str, list[str]]) -> str:
    """The page for the fields of its form."""

    def of(name: str) -> str:
        return asked.get(name, [""])[-1]

    known = session.recordings()
    if of("recording").isdigit() and int(of("recording")) < len(known):
        session.open(known[int(of("recording"))])
    try:
        threshold = float(of("threshold") or 0)
        negatives = tuple(filter(None, (part.strip() for part in of("negatives").split(","))))
        answer = session.ask(Question(of("phrase"), threshold, negatives))
        line, picture = answer.line, answer.picture
    except (ValueError, DropclipError) as error:
        answer, line, picture = None, str(error), session.plain_picture()
    objects = answer.result.objects if answer is not None and answer.result is not None else []
    rows = [f"{i + 1}.  score {o.score:.2f}  centre {np.round(o.centre, 3)} m" for i, o in enumerate(objects)]
    return _PAGE.format(
        phrase=escape(of("phrase")),
        threshold=escape(of("threshold") or "0"),
        negatives=escape(of("negatives")),
        recordings="".join(f'<option value="{i}">{escape(name)}</option>' for i, name in enumerate(known)),
        line=escape(line),
        picture=_jpeg(picture),
        objects=escape("\n".join(rows)),
    )


def _jpeg(picture: np.ndarray) -> str:
    data = io.BytesIO()
    Image.fromarray(picture).save(data, "JPEG", quality=85)
    return base64.b64encode(data.getvalue()).decode()
