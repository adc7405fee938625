# SPDX-License-Identifier: Apache-2.0
"""A client of OpenAI-compatible chat completions: patient with a busy endpoint, silent about the key."""

from __future__ import annotations

import random
import re
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from email.utils import parsedate_to_datetime
from types import TracebackType

import httpx2

from dropclip_ros.base.reading import parse_json
from training.runs.errors import InputError

BACKOFF = 1.0  # s before the first retry, doubled for each further one
LONGEST_WAIT = 600.0  # s
BUSY = (408, 409, 425, 429)  # and all of 5xx: the same request may pass later


class RefusedError(InputError):
    """No request will pass until the user mends something: key, address, credit."""


class NoAnswerError(InputError):
    """This request got no answer; another one may."""


class Chat:
    """One model at one endpoint, for any number of threads.

    url: up to /v1, or with /chat/completions; key: None or empty where the endpoint needs none; timeout: s without a
    byte; retries: after the first try. The key goes into the header of requests alone: it is cut out of all that the
    endpoint answers, so that no message, log or file can hold it.
    """

    def __init__(
        self,
        url: str,
        model: str,
        key: str | None = None,
        key_name: str = "key",
        timeout: float = 120.0,
        retries: int = 6,
        backoff: float = BACKOFF,
    ) -> None:
        key = (key or "").strip()
        if not re.fullmatch(r"[!-~]*", key):
            raise RefusedError(f"the key in {key_name} holds spaces or characters that no key has; set it again")
        if not re.fullmatch(r"https?://[^\s/@?#]+(/[^\s@?#]*)?(\?[^\s#]*)?", url):
            raise RefusedError("the url is no http(s)://host/path without user, password and spaces; give it up to /v1")
        address, _, query = url.partition("?")
        self.address = address.rstrip("/").removesuffix("/chat/completions") + "/chat/completions"
        self.model = model
        self._query, self._key, self._key_name = query, key, key_name
        self._retries, self._backoff = retries, backoff
        self._closed = threading.Event()
        self._open_at = 0.0  # no request before this time, for all threads
        self._client = httpx2.Client(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx2.Timeout(timeout, connect=min(timeout, 15.0)),
            limits=httpx2.Limits(max_connections=None),
        )

    def __enter__(self) -> Chat:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Ends waiting and requests under way in all threads."""
        self._closed.set()
        self._client.close()

    def ask(self, messages: Sequence[dict]) -> str:
        """The model's answer to a conversation. Raises NoAnswerError or RefusedError."""
        for attempt in range(self._retries + 1):
            self._wait(self._open_at - time.monotonic())
            answer, reason, pause = self._try(messages)
            if answer is not None:
                return answer
            if attempt < self._retries:
                if pause is None:
                    pause = self._backoff * 2**attempt * random.uniform(0.7, 1.3)
                else:  # the endpoint's wish: goes for all threads
                    self._open_at = max(self._open_at, time.monotonic() + pause)
                self._wait(min(pause, LONGEST_WAIT))
        raise NoAnswerError(f"{self.address}: {reason} ({self._retries + 1} tries)")

    def _wait(self, seconds: float) -> None:
        if self._closed.wait(max(seconds, 0.0)):
            raise NoAnswerError("stopped")

    def _try(self, messages: Sequence[dict]) -> tuple[str | None, str, float | None]:
        """The answer, or None, why there is none, and how long the endpoint asks to wait, in s."""
        try:
            response = self._client.post(
                f"{self.address}?{self._query}" if self._query else self.address,
                json={"model": self.model, "messages": list(messages)},
            )
            text = self._hide(response.text)
        except (httpx2.TransportError, httpx2.DecodingError) as error:
            return None, f"no answer, {self._hide(str(error)) or type(error).__name__}", None
        except RuntimeError:  # the client was closed meanwhile
            raise NoAnswerError("stopped") from None
        status = response.status_code
        if status == 200:
            words, reason = _content(text)
            return words and self._hide(words), reason, None
        said = self._hide(f"status {status}, {_complaint(text)}")
        if status in (401, 403):
            hint = f"refused the key in {self._key_name}" if self._key else f"wants a key; set {self._key_name}"
            raise RefusedError(f"{self.address} {hint}: {said}")
        if status in BUSY or status >= 500:
            pause = _retry_after(response.headers.get("retry-after"))
            if pause is not None and pause > LONGEST_WAIT:
                raise RefusedError(f"{self.address} wants {pause:.0f} s of rest, run again then: {said}")
            return None, said, pause
        if status == 402:
            raise RefusedError(f"{self.address} wants to be paid: {said}")
        if status in (404, 405) or 300 <= status < 400:
            raise RefusedError(f"{self.address}: expected chat completions; mend the url or the model's name: {said}")
        raise NoAnswerError(f"{self.address}: {said}")

    def _hide(self, text: str) -> str:
        return text.replace(self._key, "[key]") if self._key else text


def _content(text: str) -> tuple[str | None, str]:
    """The words of a chat completion; None and a reason for anything else."""
    try:
        message = parse_json(text)["choices"][0]["message"]
        words = message.get("content")
        if isinstance(words, list):
            words = "".join(part.get("text", "") for part in words)
    except (OSError, LookupError, TypeError, AttributeError):
        return None, f"expected a chat completion, got {text[:200]!r}"
    return (
        (words, "")
        if words and isinstance(words, str)
        else (None, str(message.get("refusal") or "an answer without words"))
    )


def _complaint(text: str) -> str:
    """What an error's body says, in one line."""
    with suppress(OSError, LookupError, TypeError):
        text = parse_json(text)["error"]["message"]
    return " ".join(str(text).split())[:300] or "no reason given"


def _retry_after(header: str | None) -> float | None:
    """Seconds of a Retry-After header, which holds seconds or a date; None where it holds neither."""
    if header is None:
        return None
    if re.fullmatch(r"\d+(\.\d*)?", header):
        return float(header)
    with suppress(ValueError):
        return max(parsedate_to_datetime(header).timestamp() - time.time(), 0.0)
    return None
