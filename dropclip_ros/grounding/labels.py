# SPDX-License-Identifier: Apache-2.0
"""Text that is printed on things: what is read in a frame, on which instance it stands, and how well a phrase says it.

Brand, flavour and contents stand on the package; no feature of 5 mm voxels holds them. Reading takes a few hundred
milliseconds, so a frame is read once, and only for a phrase with a word that a label could bear: "the Cheez-It" waits
for it, "the red mug" and "something to drink from" do not.
"""

from __future__ import annotations

import importlib.util
import re
import unicodedata
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.grounding.brands import BRANDS
from dropclip_ros.networks.backbone import imagenet_names

LONGEST, MOST_PIXELS, LARGEST_ZOOM = 1280, 900_000, 3.0  # of the picture that is read
MARGIN = 8  # px around the instances
SURE = 0.5  # confidence under which a reading is none
ON_IT = 0.3  # share of a word's area that its instance covers
SHORTEST = 3  # letters of a word that counts; of less than four all must be right
ALIKE = 0.7  # share of letters of a word that must be right, from four on
BRAND = 0.8  # what it counts that not the word was read, but the brand of what it says
PART = 4  # letters of a word that are its own though the rest was not read
# Said of anything, and no evidence where they are printed: colours, materials, sizes, shapes, and small words.
SAID_OF_ANYTHING = frozenset(  # a text, since it is long
    """
    the and with for from that this one its are has have not any some my your his her our their me to of in on at by an
    is it or as be into out off up down over under please hand give pass get take find show pick put bring want need
    black white red green blue yellow orange purple pink brown gray grey gold golden silver beige turquoise violet cyan
    magenta cream dark light bright clear transparent colored coloured striped checkered dotted plain
    wooden wood metal metallic plastic glass ceramic paper cardboard rubber leather cloth fabric steel foam furry
    big small large tiny little tall short long wide thin thick round square flat empty full open closed old new
    left right front back top bottom middle near next nearest farthest biggest smallest other another second first third
    thing things object objects item items something anything stuff piece pieces kind type set pair
    can cans tin box boxes bottle bottles jar carton packet pack package bag tube cup mug bowl plate lid cap container
    canister pot case roll bar stick block cube ball toy tool food drink snack fruit vegetable holder label
    brand logo handle rim soda beverage cereal book cover card
    """.split()  # noqa: SIM905
)


@dataclass(frozen=True)
class ReadWord:
    """A piece of text as it was read, how sure the reader was in [0, 1], and the instance it stands on, 1..K."""

    text: str
    confidence: float
    instance: int


class LabelReader:
    """Reads text with PP-OCR (PyPI's rapidocr-onnxruntime, the extra `labels`). MODEL_ERROR where it is not installed.

    threads: of the reader; 0 for all cores.
    """

    def __init__(self, threads: int = 0) -> None:
        if not can_read():
            raise DropclipError(
                Status.MODEL_ERROR,
                "labels cannot be read; pip install rapidocr-onnxruntime, or leave labels off",
            )
        self._threads = threads

    @cached_property
    def _read(self) -> Callable:
        """The reader; loaded when it is first asked, for most phrases need none."""
        from rapidocr_onnxruntime import RapidOCR

        some = {"intra_op_num_threads": self._threads or -1, "inter_op_num_threads": 1}
        return RapidOCR(det_limit_type="max", det_limit_side_len=2 * LONGEST, text_score=SURE, **some)

    def load(self) -> None:
        """So that the first label is read as fast as the later ones."""
        _ = self._read

    def read(self, rgb: np.ndarray, labels: np.ndarray) -> list[ReadWord]:
        """The words on the instances 1..K of `labels` (H,W) int in the image `rgb` (H,W,3) uint8."""
        rows, columns = np.flatnonzero(labels.any(1)), np.flatnonzero(labels.any(0))
        if not len(rows):
            return []
        top, left = max(rows[0] - MARGIN, 0), max(columns[0] - MARGIN, 0)
        seen = rgb[top : rows[-1] + MARGIN, left : columns[-1] + MARGIN]
        height, width = seen.shape[:2]
        zoom = min(LONGEST / max(height, width), (MOST_PIXELS / (height * width)) ** 0.5, LARGEST_ZOOM)
        size = max(round(width * zoom), 32), max(round(height * zoom), 32)
        picture = np.asarray(Image.fromarray(seen).resize(size, Image.Resampling.BICUBIC))
        found, _ = self._read(np.ascontiguousarray(picture[..., ::-1]), use_cls=True)
        words = []
        for corners, text, confidence in found or ():
            polygon = np.asarray(corners, float) / (size[0] / width, size[1] / height) + (left, top)
            if instance := _instance_under(polygon, labels):
                words.append(ReadWord(text, float(confidence), instance))
        return words


def _instance_under(polygon: np.ndarray, labels: np.ndarray) -> int:
    """The instance that covers most of a polygon (4,2) of pixels (u, v); 0 where none covers enough."""
    height, width = labels.shape
    (left, top), (right, bottom) = np.floor(polygon.min(0)).astype(int), np.ceil(polygon.max(0)).astype(int) + 1
    left, top, right, bottom = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
    if left >= right or top >= bottom:
        return 0
    inside = Image.new("1", (int(right - left), int(bottom - top)))
    ImageDraw.Draw(inside).polygon([(u - left, v - top) for u, v in polygon.tolist()], fill=1, outline=1)
    counts = np.bincount(labels[top:bottom, left:right][np.asarray(inside)].astype(np.int64), minlength=1)
    share = counts / max(counts.sum(), 1)
    share[0] = 0
    return int(share.argmax()) if share.max() >= ON_IT else 0


def can_read() -> bool:
    """Whether a reader is installed."""
    return importlib.util.find_spec("rapidocr_onnxruntime") is not None


def label_words(phrase: str, categories: Collection[str] = ()) -> list[str]:
    """Words of a phrase that only a label could tell: no colours, materials, small words or `categories`."""
    words = _words(phrase)
    if words[:1] in (["something"], ["anything"]):
        return []  # a use, not a name
    return [word for word in words if len(word) >= SHORTEST and word not in common_words() | set(categories)]


@cache
def common_words() -> frozenset[str]:
    """Words that are evidence for nothing where they are printed: of any thing, or of ImageNet's categories."""
    return SAID_OF_ANYTHING | {word for name in imagenet_names() for word in _words(name)}


def _words(text: str) -> list[str]:
    """Lower-case words; 'Cheez-It' and "French's" are one word each, accents are dropped."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    plain = "".join(character for character in plain if not unicodedata.combining(character))
    return [word for part in re.split(r"[^\w'’-]+", plain) if (word := re.sub(r"[\W_]", "", part))]


def label_evidence(
    phrase: str, words: Sequence[ReadWord], instances: int, categories: Collection[str] = ()
) -> tuple[np.ndarray, dict[int, list[str]]]:
    """How well the labels say what the phrase does, (K,) in [0, 1], and what was read for it on each instance 1..K."""
    read: dict[int, list[str]] = {}
    evidence, wanted = np.zeros(instances), label_words(phrase, categories)
    joined = {*wanted, *("".join(pair) for pair in pairwise(wanted))}
    for word in words if wanted else ():
        pieces = _words(word.text)
        pieces += ["".join(pieces)] if len(pieces) > 1 else []
        alike = max((likeness(want, piece) for want in joined for piece in pieces), default=0.0)
        alike = max(alike, *(contents(piece).get(said, 0.0) for said in _words(phrase) for piece in pieces), 0.0)
        if alike > 0:
            evidence[word.instance - 1] = max(evidence[word.instance - 1], alike * word.confidence)
            read.setdefault(word.instance, []).append(word.text)
    return evidence, read


@lru_cache(maxsize=1024)
def contents(piece: str) -> dict[str, float]:
    """Words for what is in a package by the brand that was read, and how well it was; none where it is no brand."""
    found: dict[str, float] = {}
    for brand, (_, said) in BRANDS.items():
        alike = likeness(_words(brand)[0], piece)
        if alike == 1 or (alike and len(brand) > PART):
            found |= dict.fromkeys(said.split(), BRAND * alike)
    return found


def likeness(wanted: str, read: str) -> float:
    """Share of letters that are right, in [ALIKE, 1], also where only a part of the word was read; 0: another word."""
    if min(len(wanted), len(read)) < SHORTEST:
        return 0.0
    if wanted == read:
        return 1.0
    if max(len(wanted), len(read)) < 4:
        return 0.0
    alike = 1 - _edits(wanted, read) / max(len(wanted), len(read))
    short, long = sorted((wanted, read), key=len)
    if len(short) >= PART and short in long:
        alike = max(alike, 0.5 + 0.5 * len(short) / len(long))
    return alike if alike >= ALIKE else 0.0


def _edits(a: str, b: str) -> int:
    """Levenshtein distance."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (x != y))
    return row[-1]
