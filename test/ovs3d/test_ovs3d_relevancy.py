# SPDX-License-Identifier: Apache-2.0
"""Class phrases, relevancy maps, and patches of images."""

import numpy as np
import pytest
import torch
from torch import nn

from dropclip_ros.base.errors import DropclipError, Status
from training.fusion.features import ObjectFeatures
from training.ovs3d.guidance import warn_of_absent
from training.ovs3d.patches import PatchFeatures, embed_patches, load_or_embed, patches_of
from training.ovs3d.relevancy import class_distribution, class_phrases, normalised


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ([], "no class"),
        (["mug"], "only one"),
        (["mug", "table", " Mug "], "given twice"),
        (["mug", ""], "empty"),
        (["mug", "a\nb"], "control character"),
    ],
)
def test_phrases_that_make_no_sense_are_refused(names, says):
    with pytest.raises(DropclipError, match=says) as caught:
        class_phrases(names)
    assert caught.value.status == Status.BAD_REQUEST


def test_relevancy_is_stretched_for_each_class_and_view():
    maps = torch.tensor([[[[0.2, 0.4]], [[0.9, 0.95]]], [[[-1.0, 1.0]], [[0.3, 0.3]]]])  # (2 views, 2 classes, 1, 2)
    found = normalised(maps)
    np.testing.assert_allclose(found, [[[[0, 1]], [[0, 1]]], [[[0, 1]], [[0, 0]]]])


def test_normalisation_gives_the_place_to_the_class_that_stands_out():
    """Class 0 is preferred everywhere; only compared with itself elsewhere does class 1 get its object (figure 2)."""
    maps = torch.tensor([[[0.9, 0.8, 0.8]], [[0.1, 0.7, 0.1]]])
    assert maps.argmax(0).tolist() == [[0, 0, 0]]
    assert class_distribution(normalised(maps).permute(1, 2, 0), 0.2).argmax(-1).tolist() == [[0, 1, 0]]


class MeanColour:
    """In the place of an image tower: the mean colour of what it is shown."""

    def __init__(self, size):
        self.size, self.device, self.norm = size, torch.device("cpu"), {"mean": (0, 0, 0), "std": (1, 1, 1)}
        self.network = lambda x: x.mean((2, 3)) + 1e-3


def test_each_patch_lies_around_its_cell():
    rows, columns = np.mgrid[0:48, 0:64]
    image = np.stack([4 * columns, 5 * rows, 0 * rows], axis=-1).astype(np.uint8)
    for side, steps in ((1 / 3, 2), (1 / 4, 4), (1 / 2, 1)):
        patches = patches_of(image, side, 16, steps)
        h, w = patches.shape[:2]
        assert patches.shape[2:] == (16, 16, 3) and (h, w) == (round(steps / side), round(steps / side * 4 / 3))
        found = patches[1:-1, 1:-1].mean((2, 3)) / (4, 5, 1)  # at the edge the mirror image has its say
        middles = (np.arange(w) + 0.5) * 64 / w - 0.5, (np.arange(h) + 0.5) * 48 / h - 0.5
        if steps == 1:
            np.testing.assert_allclose(found[:, :, 0], np.broadcast_to(middles[0][1:-1], (h - 2, w - 2)), atol=0.6)
        inner = slice(steps // 2, -(steps // 2) or None)
        found = patches.mean((2, 3)) / (4, 5, 1)
        np.testing.assert_allclose(found[h // 2, inner, 0], middles[0][inner], atol=0.6)
        np.testing.assert_allclose(found[inner, w // 2, 1], middles[1][inner], atol=0.6)


def test_a_patch_larger_than_a_tiny_image():
    assert patches_of(np.zeros((3, 2, 3), np.uint8), 1.0, 8, 2).shape == (3, 2, 8, 8, 3)


def test_features_are_read_where_their_patch_is():
    image = np.zeros((60, 80, 3), np.uint8)
    image[:, :40], image[:, 40:] = (255, 0, 0), (0, 0, 255)
    maps = embed_patches(image, ObjectFeatures(MeanColour(8)), (1 / 3, 1 / 6), 2)
    patches = PatchFeatures([maps])
    found = patches.at(0, torch.tensor([[5.0, 30], [75, 30]]), (60, 80))
    assert found.shape == (2, 2, 3) and (found[0, :, 0] > 0.99).all() and (found[1, :, 2] > 0.99).all()


def test_patches_are_kept_and_known_again(tmp_path):
    rng = np.random.default_rng(0)
    images, tower = rng.integers(0, 256, (2, 24, 32, 3), np.uint8), ObjectFeatures(MeanColour(8))
    given = (tmp_path / "patches.safetensors", ("a", "b"), images)
    first = load_or_embed(*given, tower, "one", (0.5, 0.25), 2)
    tower._forward = None  # whatever would be embedded now raises
    again = load_or_embed(*given, tower, "one", (0.5, 0.25), 2)
    torch.testing.assert_close(again.maps, first.maps)
    for other in ((images[::-1], "one", 2), (images, "two", 2), (images, "one", 4)):
        with pytest.raises(TypeError):
            load_or_embed(given[0], ("a", "b"), other[0], tower, other[1], (0.5, 0.25), other[2])


def test_absent_classes_are_named():
    patches = PatchFeatures([[nn.functional.normalize(torch.tensor([[[1.0, 0.9]], [[0.1, 0.2]], [[0, 0]]]), dim=0)]])
    text, canonical = torch.eye(3)[[0, 2]], torch.eye(3)[[1]]
    with pytest.warns(UserWarning, match="spoon: seem not to be in any view"):
        assert warn_of_absent(patches, text, ["mug", "spoon"], canonical) == ["spoon"]
    with pytest.warns(UserWarning, match="none of the classes"):
        warn_of_absent(patches, text[1:], ["spoon"], canonical)
