# SPDX-License-Identifier: Apache-2.0
"""When the picture is looked at and labels are read, and what an answer then says."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dropclip_ros.grounding.beside import Beside
from dropclip_ros.grounding.labels import ReadWord
from dropclip_ros.grounding.pipeline import Grounder
from dropclip_ros.networks.names import WORDINGS, NamesConfig, Say
from dropclip_ros.vision.bags import load_bag_frame

BAG = Path(__file__).resolve().parents[2] / "demo" / "tabletop"


@pytest.fixture(scope="module")
def frame():
    pytest.importorskip("rosbags", reason="rosbags is not installed (extra `ros`)")
    return load_bag_frame(BAG)


class FewNames:
    """In the place of `Names`: the second instance is what every phrase means."""

    def __init__(self):
        self.config = NamesConfig(dict.fromkeys(WORDINGS, Say(0, 1, 0, 0, 0)), confidence=(1, 0, -3), doubtful=0.6)
        self.bank, self.looks = SimpleNamespace(categories=frozenset(), colours=torch.full((16, 16, 16, 12), 1 / 12)), 0

    def look(self, rgb, labels):
        self.looks += 1
        return labels.max()

    def compare(self, seen, text):
        names = torch.full((seen, len(text)), -4.0)
        names[1, 0] = 3.2
        return names, torch.zeros_like(names)


class OneWord:
    """In the place of `LabelReader`."""

    reads = 0

    def read(self, rgb, labels):
        self.reads += 1
        return [ReadWord("SPAM", 0.9, 2)]


@pytest.fixture
def looking() -> Grounder:
    grounder = Grounder.from_pretrained(image=False)
    grounder.beside = Beside(FewNames(), OneWord(), grounder.text)
    return grounder


def test_the_picture_is_looked_at_once_a_frame_and_only_when_asked(looking, frame):
    scene = looking.encode(frame)
    assert looking.beside.names.looks == 0
    result = looking.ground(scene, "the red mug", mode="none")
    found = result.objects[0]
    assert "image" in result.timing_ms and (scene.instances[scene.voxels.point_to_voxel][found.points] == 2).all()
    assert found.confidence == pytest.approx(1 / (1 + np.exp(-0.2)), abs=1e-4) and found.doubtful
    assert "in doubt" in result.message
    assert "image" not in looking.ground(scene, "the blue mug", mode="none").timing_ms
    assert looking.beside.names.looks == 1


def test_labels_are_read_once_a_frame_for_phrases_that_they_could_tell(looking, frame):
    scene = looking.encode(frame)
    looking.ground(scene, "the red mug")
    assert looking.beside.reader.reads == 0
    result = looking.ground(scene, "the Spam")
    assert result.objects[0].words_read == ("SPAM",) and "read on it: SPAM" in result.message
    looking.ground(scene, "the Pringles")
    assert looking.beside.reader.reads == 1


def test_drawn_points_are_no_picture(looking, frame):
    scene = looking.encode(replace(frame, picture=False))
    result = looking.ground(scene, "the red mug")
    assert looking.beside.names.looks == 0
    assert all(found.confidence == -1 and not found.doubtful for found in result.objects)
