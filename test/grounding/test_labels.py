# SPDX-License-Identifier: Apache-2.0
"""Text on things: which words of a phrase a label could tell, how words match, and what a reader gives."""

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.grounding.brands import BRANDS, brands_of
from dropclip_ros.grounding.labels import (
    LabelReader,
    ReadWord,
    _instance_under,
    can_read,
    label_evidence,
    label_words,
    likeness,
)

WORDS = st.text("abcdefghijklmnopqrstuvwxyz", min_size=3, max_size=12)


@pytest.mark.parametrize(
    "phrase", ["the red mug", "a bottle", "something to drink from", "the laptop", "the yellow box"]
)
def test_a_phrase_of_colours_and_categories_waits_for_no_label(phrase):
    assert label_words(phrase) == []


def test_brands_contents_and_flavours_do():
    assert label_words("the Cheez-It box") == ["cheezit"]
    assert label_words("French's mustard") == ["frenchs", "mustard"]
    assert label_words("das Müesli") == ["das", "muesli"]
    assert label_words("the stapler", categories={"stapler"}) == []


@given(WORDS)
def test_a_word_is_its_own_likeness_in_any_capitals(word):
    assert likeness(word, word) == 1
    evidence, read = label_evidence(f"qq{word}", [ReadWord(f"QQ{word.upper()}", 0.9, 2)], 3)
    assert evidence.tolist() == pytest.approx([0, 0.9, 0])
    assert read == {2: [f"QQ{word.upper()}"]}


@given(WORDS, WORDS)
def test_likeness_is_symmetric_and_in_range(a, b):
    assert likeness(a, b) == likeness(b, a)
    assert likeness(a, b) == 0 or 0.7 <= likeness(a, b) <= 1


def test_words_misspelt_or_read_in_part_match_and_others_do_not():
    assert likeness("original", "originai") > 0.8
    assert likeness("domino", "mino") > 0.7
    assert likeness("mustard", "custard") > 0.7  # what was read may be wrong by a letter
    assert likeness("mustard", "master") == 0
    assert likeness("spam", "spa") == 0.75
    assert likeness("tea", "ten") == 0  # of short words every letter counts


def test_two_words_of_a_phrase_may_be_one_on_the_label():
    evidence, _ = label_evidence("Soft Scrub", [ReadWord("SOFTSCRUB", 1.0, 1)], 1)
    assert evidence[0] == 1


def test_a_colour_or_category_that_is_printed_is_no_evidence():
    words = [ReadWord("ORANGE", 1.0, 1), ReadWord("BOX", 1.0, 2)]
    assert not label_evidence("the orange box", words, 2)[0].any()


def test_a_brand_that_was_read_says_what_is_inside_and_a_likeness_of_a_short_one_does_not():
    read = [ReadWord("CHEEZIT", 1.0, 1), ReadWord("Campbel's", 0.9, 2), ReadWord("SPAN", 1.0, 3)]
    for phrase, instance in (("the crackers", 1), ("the cracker box", 1), ("tomato soup", 2)):
        evidence, words = label_evidence(phrase, read, 3)
        assert evidence.argmax() == instance - 1 and evidence[instance - 1] > 0.5 and list(words) == [instance]
    assert label_evidence("the Cheez-It", read, 3)[0][0] > label_evidence("the crackers", read, 3)[0][0]
    assert not label_evidence("the canned meat", read, 3)[0].any()


def test_brands_are_words_that_can_be_read_and_names_know_theirs():
    assert all(len(label_words(brand)) == 1 for brand in BRANDS)
    assert "cheez-it" in brands_of("cracker box") and brands_of("mug") == ()


def test_other_scripts_match_nothing_and_break_nothing():
    words = [ReadWord("黑人牙膏", 1.0, 1), ReadWord("", 1.0, 2), ReadWord("!?", 1.0, 2)]
    evidence, read = label_evidence("the Darlie", words, 2)
    assert not evidence.any() and read == {}
    assert label_evidence("黑人牙膏", words, 2)[0][0] == 1


def test_no_reader_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "rapidocr_onnxruntime", None)
    with pytest.raises(DropclipError, match="pip install rapidocr-onnxruntime") as caught:
        LabelReader()
    assert caught.value.status == Status.MODEL_ERROR


@pytest.fixture(scope="module")
def reader() -> LabelReader:
    if not can_read():
        pytest.skip("rapidocr-onnxruntime is not installed (the extra `labels`)")
    return LabelReader(threads=1)


def printed(text: str, turned: int = 0) -> np.ndarray:
    """A label (H,W,3) with a text on it."""
    image = Image.new("RGB", (220, 60), (240, 230, 200))
    ImageDraw.Draw(image).text((12, 8), text, (30, 30, 60), ImageFont.load_default(36))
    return np.asarray(image.rotate(turned, expand=True))


def test_words_are_read_and_assigned_to_what_they_stand_on(reader):
    rgb, labels = np.full((300, 480, 3), 90, np.uint8), np.zeros((300, 480), np.int64)
    rgb[20:80, 20:240], labels[20:80, 20:240] = printed("GRANOLA"), 1
    rgb[200:260, 240:460], labels[200:260, 240:460] = printed("DOMINO", 180), 2
    rgb[120:180, 20:240] = printed("NOTHING")  # on the table
    read = {word.instance: word.text for word in reader.read(rgb, labels)}
    assert read == {1: "GRANOLA", 2: "DOMINO"}


def test_nothing_is_read_where_nothing_is(reader):
    blank = np.full((120, 160, 3), 128, np.uint8)
    assert reader.read(blank, np.zeros((120, 160), np.int64)) == []
    labels = np.zeros((120, 160), np.int64)
    labels[50:52, 70:72] = 1  # a tiny object without texture
    assert reader.read(blank, labels) == []


@pytest.mark.parametrize(("corners", "instance"), [
    ([(2, 2), (8, 2), (8, 5), (2, 5)], 1),
    ([(6, 2), (17, 2), (17, 6), (6, 6)], 2),  # most of it on the second
    ([(2, 12), (8, 12), (8, 15), (2, 15)], 0),
    ([(-9, -9), (-2, -9), (-2, -3), (-9, -3)], 0),
    ([(15, 2), (40, 2), (40, 5), (15, 5)], 2),  # it goes on beyond the picture
])  # fmt: skip
def test_a_word_is_of_the_instance_under_most_of_it(corners, instance):
    labels = np.zeros((20, 20), np.int64)
    labels[:10, :10], labels[:10, 10:] = 1, 2
    assert _instance_under(np.array(corners, float), labels) == instance
