# SPDX-License-Identifier: Apache-2.0
"""Phrases read by a language model behind an OpenAI-compatible endpoint, as the same trees. Off unless asked for.

Phrases go to that endpoint and nowhere else; the answer is checked as any tree from outside, and where there
is none in time, or none that holds, the grammar's own reading stands.
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from dataclasses import dataclass, replace
from functools import lru_cache

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.base.reading import parse_json
from dropclip_ros.language.parse import read_phrase
from dropclip_ros.language.tree import ALL, ORDERS, RELATIONS, Node, Phrase, from_dict

KEY = "DROPCLIP_READER_KEY"  # the environment's variable
LONGEST = 1 << 16  # bytes of an answer
PROMPT = f"""You turn a phrase that refers to objects on a table into JSON, nothing else.
A node: {{"head": noun or null, "attributes": [], "negated_attributes": [], "relations": [{{"relation": one of
{", ".join(RELATIONS)}, "landmarks": [nodes], "negated": bool}}], "not": [excluded nodes], "order": null or
{{"by": one of {", ".join(ORDERS)}, "direction": "most" or "least", "index": from 1}}, "number": null, an integer,
"all" or "any", "other": bool, "same": bool}}. Several alternatives: {{"union": [nodes]}}. Thing, object, one: head
null. "The other" refers to an earlier answer: other true; "it": same true. Keep the words of the phrase, in English.
What no camera can tell, or is no reference: {{"unsupported": "why"}}."""


@dataclass(frozen=True)
class ChatReader:
    """Reads phrases by asking a model: `grounder.reader = ChatReader(url, model)`. url: up to /v1; timeout: s.

    The key, where the endpoint needs one, is taken from the environment's DROPCLIP_READER_KEY, and is in no message.
    """

    url: str
    model: str
    timeout: float = 10.0
    multilingual: bool = False

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise DropclipError(Status.BAD_REQUEST, f"reader {self.url!r}: expected http(s)://host/v1")

    def __call__(self, phrase: str) -> Phrase:
        """The phrase as the model reads it, or as the grammar does, which `not_understood` then says."""
        own = read_phrase(phrase, self.multilingual)
        if own.whole:  # there is nothing to it that a comparison does not say
            return own
        try:
            return self._read(phrase)
        except (OSError, ValueError, LookupError, TypeError, urllib.error.URLError) as error:
            why = f"the reader at {self.url.split('?')[0]} gave no tree ({type(error).__name__})"
            return replace(own, not_understood=(*own.not_understood, why))

    @lru_cache(maxsize=1024)  # noqa: B019 (frozen, and as long-lived as the grounder)
    def _read(self, phrase: str) -> Phrase:
        tree = parse_json(self._ask(phrase))
        if isinstance(tree, dict) and isinstance(tree.get("unsupported"), str):
            return Phrase(phrase, None, phrase, unsupported=tree["unsupported"][:200])
        reading = from_dict(tree)
        plain = (
            isinstance(reading, Node)
            and reading.head
            and not (
                reading.relations
                or reading.excluded
                or reading.order
                or reading.negated_attributes
                or reading.other
                or reading.same
                or isinstance(reading.number, int)
                or reading.number == ALL
            )
        )
        text = reading.text if isinstance(reading, Node) and plain else phrase
        return Phrase(phrase, reading, text, whole=bool(plain))

    def _ask(self, phrase: str) -> str:
        """The words of the model's answer."""
        said = [{"role": "system", "content": PROMPT}, {"role": "user", "content": phrase}]
        body = json.dumps({"model": self.model, "messages": said, "temperature": 0}).encode()
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(KEY, "").strip():
            headers["Authorization"] = f"Bearer {key}"
        address = self.url.rstrip("/").removesuffix("/chat/completions") + "/chat/completions"
        request = urllib.request.Request(address, body, headers)
        with urllib.request.urlopen(request, timeout=self.timeout) as response:
            answer = parse_json(response.read(LONGEST))
        text = answer["choices"][0]["message"]["content"]
        return text[text.index("{") : text.rindex("}") + 1]
