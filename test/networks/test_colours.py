# SPDX-License-Identifier: Apache-2.0
"""Colours by what people call them: which phrases say one, and which instance bears it."""

import numpy as np
import pytest
import torch

from dropclip_ros.networks.colours import BINS, TERMS, colour_evidence, meant, shares


@pytest.fixture(scope="module")
def table() -> torch.Tensor:
    """Red where red is most, blue where blue is, gray elsewhere."""
    red, green, blue = np.meshgrid(*3 * [np.arange(BINS)], indexing="ij")
    likely = np.zeros((BINS, BINS, BINS, len(TERMS)), np.float32)
    likely[..., TERMS.index("red")] = (red > green) & (red > blue)
    likely[..., TERMS.index("blue")] = (blue > red) & (blue > green)
    likely[..., TERMS.index("gray")] = 1 - likely.sum(-1)
    return torch.tensor(likely)


def picture() -> tuple[np.ndarray, np.ndarray]:
    """A red thing with a blue rim, a blue one, and a third that does not show."""
    rgb, labels = np.full((60, 90, 3), 120, np.uint8), np.zeros((60, 90), np.int64)
    labels[10:40, 10:40], labels[10:40, 50:80] = 1, 2
    rgb[10:40, 10:40], rgb[12:38, 12:38], rgb[10:40, 50:80] = (20, 30, 200), (200, 30, 20), (20, 30, 200)
    return rgb, np.where(labels == 2, 3, labels)


def test_words_for_colours_are_found_and_things_are_none():
    said = {
        "the red mug": ["red"],
        "a grey, golden box": ["gray", "yellow"],
        "the lemon": [],
        "Something Violet": ["purple"],
    }
    assert {phrase: [TERMS[k] for k in meant(phrase)] for phrase in said} == said


def test_the_thing_of_the_colour_has_the_most_evidence_and_its_rim_counts_for_nothing(table):
    seen = shares(*picture(), table)
    assert seen.shape == (3, len(TERMS)) and torch.allclose(seen.sum(1), torch.ones(3))
    assert seen[0, TERMS.index("red")] == 1
    red, blue = (colour_evidence(f"the {colour} box", seen) for colour in ("red", "blue"))
    assert red[0] > 1 > 0 > red[2] and blue[2] > 1 > 0 > blue[0]
    assert torch.allclose(red[1], torch.zeros(()), atol=1e-5)  # it does not show: nothing is known


def test_a_phrase_without_a_colour_and_a_picture_without_instances_say_nothing(table):
    assert colour_evidence("the mug", shares(*picture(), table)).tolist() == [0, 0, 0]
    none = shares(np.zeros((5, 5, 3), np.uint8), np.zeros((5, 5), np.int64), table)
    assert colour_evidence("the red mug", none).shape == (0,)
