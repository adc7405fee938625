# SPDX-License-Identifier: Apache-2.0
"""What pictures of several views say about the map's objects."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dropclip_ros.grounding.labels import ReadWord
from dropclip_ros.mapping.map_scene import MapKnown
from dropclip_ros.mapping.views import Keyframe
from dropclip_ros.networks.backbone import CLASSES
from dropclip_ros.networks.names import Seen


@pytest.fixture
def known():
    """Two objects: the first in two pictures, with weights 3 and 1; the second in none."""
    pictures = [Keyframe(np.zeros((4, 4, 3), np.uint8), np.ones((4, 4), np.uint16)) for _ in range(2)]
    return MapKnown(sources=[[(pictures[0], 1, 3.0), (pictures[1], 1, 1.0)], []])


def test_names_are_the_mean_of_all_pictures_and_each_is_looked_at_once(known):
    looks = []

    def look(rgb, shown):
        looks.append(rgb)
        imagenet = torch.zeros(1, CLASSES)
        imagenet[0, len(looks)] = 1.0
        return Seen(imagenet, torch.full((1, 2), 0.1 * len(looks)))

    names = SimpleNamespace(look=look, bank=SimpleNamespace(bias=torch.zeros(2)))
    seen = known.look(names, None, None)
    known.look(names, None, None)
    assert len(looks) == 2
    assert seen.imagenet[0, 1] == pytest.approx(0.75) and seen.imagenet[0, 2] == pytest.approx(0.25)
    assert seen.own[0, 0] == pytest.approx(0.125) and seen.own[1].sum() == 0  # 0.75 of 0.1 and 0.25 of 0.2
    assert torch.allclose(seen.imagenet[1], torch.full((CLASSES,), 1 / CLASSES))


def test_colours_and_words_come_from_all_pictures(known):
    table = torch.zeros(16, 16, 16, 12)
    table[..., 3] = 1.0
    colours = known.coloured(table, None, None)
    assert colours[0, 3] == pytest.approx(1) and torch.allclose(colours[1], torch.full((12,), 1 / 12))
    reader = SimpleNamespace(read=lambda rgb, shown: [ReadWord("SOUP", 0.9, 1), ReadWord("TEA", 0.8, 2)])
    assert [(word.text, word.instance) for word in known.read(reader, None, None)] == [("SOUP", 1)]
