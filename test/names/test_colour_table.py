# SPDX-License-Identifier: Apache-2.0
"""The table of colours says what people would."""

import numpy as np
import torch

from dropclip_ros.networks.colours import BINS, TERMS
from training.names.colours import cielab, colour_table


def test_plain_colours_are_called_what_they_are():
    table = colour_table()
    assert table.shape == (BINS, BINS, BINS, len(TERMS)) and torch.allclose(table.sum(-1), torch.ones(()))
    plain = {"black": (15, 12, 10), "white": (250, 250, 248), "red": (190, 30, 40), "green": (50, 150, 60)}
    plain |= {"blue": (30, 60, 190), "yellow": (240, 220, 40), "orange": (240, 130, 20), "purple": (120, 40, 150)}
    plain |= {"pink": (245, 140, 190), "brown": (110, 65, 30), "gray": (128, 128, 130), "turquoise": (60, 200, 185)}
    said = {name: TERMS[int(table[tuple(np.array(rgb) * BINS // 256)].argmax())] for name, rgb in plain.items()}
    assert said == {name: name for name in plain}


def test_cielab_of_white_and_black():
    assert np.allclose(cielab(np.array([[1.0, 1, 1], [0, 0, 0]])), [[100, 0, 0], [0, 0, 0]], atol=0.1)
