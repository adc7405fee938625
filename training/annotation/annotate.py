# SPDX-License-Identifier: Apache-2.0
"""Annotation of objects by a vision-language model (A.1.1): ten pictures and one prompt an object, any endpoint that
speaks OpenAI's chat completions. The result is a catalogue again, with attributes and prompts of the four families.

Each answer is kept in `annotations/` of the output folder as soon as it is there, under a hash of what was shown and
asked: a run that was killed goes on where it was, and asking again is free.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError
from tqdm import tqdm

from dropclip_ros.base.reading import read_json
from training.annotation.turntable import digest, pictures
from training.annotation.vlm import Chat, NoAnswerError
from training.objects.catalogue import NAME, PROCEDURAL, Catalogue, open_catalogue
from training.objects.spec import ObjectSpec
from training.objects.words import wording
from training.runs.errors import InputError
from training.runs.files import alone, write_atomically

ASKS = 3  # times that a model may answer until its answer is an annotation
STRIKES = 5  # objects in a row without any answer end a run: the endpoint is gone
ANSWERS, FAILED = "annotations", "failed.json"


def _listed(value: object) -> object:
    """Models give one word where a list of one was asked for, and null for an empty list."""
    return [] if value is None else [value] if isinstance(value, str) else value


def _known(value: object) -> object:
    return None if str(value).strip().lower() in ("", "none", "null", "n/a", "unknown", "not applicable") else value


Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60, pattern=r"^[^\n]*$")]
Sentence = Annotated[str, StringConstraints(strip_whitespace=True, min_length=3, max_length=160, pattern=r"^[^\n]*$")]
Listed = BeforeValidator(_listed)
Known = BeforeValidator(_known)


class Annotation(BaseModel):
    """What the model says of an object (A.1.1). The descriptions are the prompt's."""

    model_config = ConfigDict(frozen=True)

    category: Words = Field(description="string: its usual name, singular, without attributes")
    color: Annotated[tuple[Words, ...], Listed] = Field(
        min_length=1, max_length=4, description="list of 1 to 4 strings: plain colour words, the main colour first"
    )
    material: Annotated[tuple[Words, ...], Listed] = Field(
        min_length=1, max_length=4, description="list of 1 to 4 strings: materials that it seems to be made of"
    )
    state: Annotated[tuple[Words, ...], Listed] = Field(
        (), max_length=6, description="list of 0 to 6 adjectives that tell it from others of its kind: empty, potted"
    )
    utility: Annotated[tuple[Words, ...], Listed] = Field(
        min_length=1, max_length=5, description="list of 1 to 5 strings that go on after 'a thing for': holding flowers"
    )
    affordance: Annotated[tuple[Sentence, ...], Listed] = Field(
        min_length=1,
        max_length=8,
        description="list of 3 to 6 requests of somebody who needs such a thing and does not name it, "
        "true of any object of its category: I want something sweet",
    )
    title: Annotated[Words | None, Known] = Field(
        None,
        description="string or null: title or product name, if one is printed on it or it is commonly known by one",
    )
    brand: Annotated[Words | None, Known] = Field(
        None, description="string or null: brand, if it can be read or recognised"
    )


PROMPT = (
    "The pictures show one object from different sides. It is a {label}, alone on a plain background. "
    "Describe it for people who will ask a robot to fetch it from among other objects. Say only what the pictures show "
    "or what is true of every {label}. Answer with one JSON object and nothing else, in English, with these keys:\n"
) + "\n".join(f'- "{name}": {info.description}' for name, info in Annotation.model_fields.items())
AGAIN = "This is not yet what was asked for: {reason}. Answer again with the whole JSON object and nothing else."


@dataclass
class Report:
    """How many objects were annotated in this run, how many had been before, and why the others failed, by name."""

    annotated: int = 0
    cached: int = 0
    failed: dict[str, str] = field(default_factory=dict)


@alone
def annotate(
    out: Path,
    url: str,
    model: str,
    catalogue: str = PROCEDURAL,
    key_env: str = "OPENAI_API_KEY",
    concurrency: int = 4,
    timeout: float = 120.0,
    retries: int = 6,
    limit: int | None = None,
) -> None:
    """Annotates objects by a vision-language model; run again, it goes on.

    Args:
        out: folder of the new catalogue, that of the old one or beside it; answers are kept there, and reasons of
            failures in failed.json.
        url: of an endpoint that speaks OpenAI's chat completions, up to /v1.
        model: as the endpoint calls it; it must take images.
        catalogue: "procedural", or a folder with catalogue.json.
        key_env: environment variable with the key; unset where the endpoint needs none. The key is never written.
        concurrency: requests under way at a time.
        timeout: seconds without a byte of an answer.
        retries: of a request that the endpoint was too busy for.
        limit: only the first so many objects, to try.
    """
    objects = open_catalogue(catalogue)
    with Chat(url, model, os.environ.get(key_env), f"${key_env}", timeout, retries) as chat:
        report = annotate_objects(objects, out, chat, concurrency, limit)
    print(
        f"{out}: {report.annotated} objects annotated, {report.cached} had been before, {len(report.failed)} failed"
        + (f"; see {out / FAILED}, run again to ask again" if report.failed else "")
    )


def annotate_objects(
    objects: Catalogue, out: Path, chat: Chat, concurrency: int = 4, limit: int | None = None
) -> Report:
    """Writes the catalogue with annotations to `out`; objects that failed stay as they were.

    Raises InputError where the endpoint refuses all requests, or STRIKES objects in a row got no answer, or none of
    the objects could be annotated; answers that came before are kept.
    """
    if concurrency < 1 or (limit is not None and limit < 1):
        raise InputError(f"concurrency {concurrency}, limit {limit}: expected numbers above 0")
    if not (out / NAME).is_file():
        objects.save(out)  # fails now where it would fail after all was paid for
    report = Report()
    specs = {spec.name: spec for spec in objects.specs}
    for name, answer in _answers(objects, specs, out / ANSWERS, chat, concurrency, limit, report):
        specs[name] = annotated(specs[name], answer)
    with write_atomically(out / FAILED, replace=True) as path:
        path.write_text(json.dumps(report.failed, indent=1))
    if report.failed and not report.annotated + report.cached:
        raise InputError(f"none of {len(report.failed)} objects was annotated: {next(iter(report.failed.values()))}")
    replace(objects, specs=tuple(specs.values())).save(out)
    return report


def _answers(
    objects: Catalogue,
    specs: dict[str, ObjectSpec],
    folder: Path,
    chat: Chat,
    concurrency: int,
    limit: int | None,
    report: Report,
) -> Iterator[tuple[str, Annotation]]:
    """Annotations by name as they come, kept in `folder`; pictures are made while requests are under way."""
    pending: dict[Future[Annotation], tuple[str, Path]] = {}
    strikes = 0

    def collect(futures: set[Future[Annotation]]) -> Iterator[tuple[str, Annotation]]:
        nonlocal strikes
        for future in futures:
            name, path = pending.pop(future)
            try:
                answer = future.result()
            except (NoAnswerError, InvalidAnswerError) as error:
                report.failed[name] = str(error)
                strikes = strikes + 1 if isinstance(error, NoAnswerError) else 0
                if strikes == STRIKES:
                    raise InputError(
                        f"{strikes} objects in a row got no answer; run again to go on: {error}"
                    ) from error
                continue
            strikes = 0
            with write_atomically(path, replace=True) as part:
                part.write_text(answer.model_dump_json(indent=1))
            report.annotated += 1
            yield name, answer

    for spec in tqdm(list(specs.values())[:limit], desc="annotate"):
        try:
            model = objects.build(spec)
            path = folder / f"{_key(digest(model), chat.model, spec.category)}.json"
            if (kept := _read(path)) is not None:
                report.cached += 1
                yield spec.name, kept
                continue
            shown = list(pictures(model))
        except ValueError as error:  # a mesh that cannot be built or drawn
            report.failed[spec.name] = str(error)
            continue
        if len(pending) == concurrency:
            yield from collect(wait(pending, return_when=FIRST_COMPLETED).done)
        pending[_start(ask, chat, spec.category, shown)] = (spec.name, path)
    while pending:
        yield from collect(wait(pending, return_when=FIRST_COMPLETED).done)


def _start(function: Callable[..., Annotation], *arguments: object) -> Future[Annotation]:
    """Calls in a thread that does not outlive the program: nobody waits for an answer after Ctrl-C."""
    future: Future[Annotation] = Future()

    def work() -> None:
        try:
            future.set_result(function(*arguments))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    return future


def _key(shown: bytes, model: str, label: str) -> str:
    return hashlib.sha256(b"\0".join([shown, model.encode(), PROMPT.format(label=label).encode()])).hexdigest()


def _read(path: Path) -> Annotation | None:
    """An answer kept before; None where there is none, or a broken one."""
    try:
        return Annotation.model_validate(read_json(path))
    except (OSError, ValidationError):
        return None


class InvalidAnswerError(InputError):
    """The model answered, but not what it was asked for."""


def ask(chat: Chat, label: str, shown: Sequence[bytes]) -> Annotation:
    """The model's annotation of an object of class `label` in PNG pictures.

    A wrong answer is sent back with the reason; the last of ASKS wrong ones raises InvalidAnswerError.
    """
    images = [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + base64.b64encode(png).decode()}}
        for png in shown
    ]
    messages = [{"role": "user", "content": [{"type": "text", "text": PROMPT.format(label=label)}, *images]}]
    for _ in range(ASKS):
        answer = chat.ask(messages)
        try:
            return parse(answer)
        except InvalidAnswerError as error:
            reason = error
        messages += [
            {"role": "assistant", "content": answer},
            {"role": "user", "content": AGAIN.format(reason=reason)},
        ]
    raise InvalidAnswerError(f"{ASKS} answers, none as asked: {reason}")


def parse(answer: str) -> Annotation:
    """The annotation of an answer, whatever stands around its JSON. Raises InvalidAnswerError with what is wrong."""
    found = re.search(r"\{.*\}", re.sub(r"<think>.*?</think>", "", answer, flags=re.DOTALL), re.DOTALL)
    if not found:
        raise InvalidAnswerError("expected a JSON object, found none")
    try:
        return Annotation.model_validate_json(found.group())
    except ValidationError as error:
        wrong = (": ".join((".".join(map(str, one["loc"])) or "JSON", one["msg"])) for one in error.errors()[:5])
        raise InvalidAnswerError("; ".join(wrong)) from None


def annotated(spec: ObjectSpec, annotation: Annotation) -> ObjectSpec:
    """The spec with prompts by family and, for a mesh, attributes; a procedural object is made of its own."""
    attributes = {"class": annotation.category} if annotation.category.lower() != spec.category.lower() else {}
    for name in ("color", "material", "state", "utility"):
        for k, value in enumerate(getattr(annotation, name), 1):
            attributes[name if k == 1 else f"{name}{k}"] = value if name == "utility" else value.lower()
    attributes |= {name: value for name in ("title", "brand") if (value := getattr(annotation, name))}
    said = wording.describe(spec.category, attributes).training
    prompts = {**said, "affordance": tuple(dict.fromkeys(annotation.affordance))}
    if spec.mesh is None:
        return replace(spec, prompts=prompts)
    others = {
        k: v for k, v in spec.attributes.items() if k.rstrip("23456789") not in {*Annotation.model_fields, "class"}
    }
    return replace(spec, attributes=others | attributes, prompts=prompts)
