# SPDX-License-Identifier: Apache-2.0
"""Crops of instances and the towers that look at them."""

import json
from dataclasses import replace

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from scipy.ndimage import binary_dilation

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.networks.image import ImageConfig, ImageTower, cut_crop, make_vit, to_images

SMALL = ImageConfig(size=16, patch_size=8, width=8, layers=1, heads=2, channels=6)
CLIP = {
    "embed_dim": 6,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


@pytest.fixture
def tower(tmp_path) -> ImageTower:
    torch.manual_seed(0)
    save_file(make_vit(SMALL).state_dict(), tmp_path / "vit.safetensors")
    return ImageTower(SMALL, tmp_path / "vit.safetensors")


def picture() -> tuple[np.ndarray, np.ndarray]:
    """A red square and a blue bar on noise, with their labels."""
    rgb = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    labels = np.zeros((60, 80), np.int64)
    labels[10:30, 10:30], labels[20:28, 50:80] = 1, 2
    rgb[labels == 1], rgb[labels == 2] = (255, 0, 0), (0, 0, 255)
    return rgb, labels


def test_what_lies_beside_an_instance_does_not_count(tower):
    rgb, labels = picture()
    features = tower.embed(rgb, labels)
    assert features.shape == (2, 6)
    torch.testing.assert_close(features.norm(dim=1), torch.ones(2))
    far = ~binary_dilation(labels > 0, iterations=4)  # resizing mixes next neighbours
    other = np.where(far[..., None], 255 - rgb, rgb)
    torch.testing.assert_close(tower.embed(other, labels), features)
    assert not torch.allclose(features[0], features[1], atol=1e-3)


def test_holes_of_the_depth_are_closed(tower):
    rgb, labels = picture()
    holes = labels.copy()
    holes[15:17, 12:28] = 0
    torch.testing.assert_close(tower.embed(rgb, holes)[0], tower.embed(rgb, labels)[0])


def test_a_crop_is_square_with_room_around_and_may_leave_the_image():
    rgb, labels = picture()
    pixels, mask = cut_crop(Image.fromarray(rgb), labels == 2, 16)
    assert pixels.shape == (16, 16, 3) and mask.dtype == bool
    assert mask.any(0)[2:14].all() and not mask[:5].any() and not mask[11:].any()
    assert (pixels[:, 15] == 0).all()  # beyond the image


def test_images_are_normalised_as_the_tower_wants():
    pixels = np.full((1, 4, 4, 3), 255, np.uint8)
    masks = np.zeros((1, 4, 4), bool)
    masks[0, 0] = True
    images = to_images(pixels, masks, mean=(0.5, 0.4, 0.3), std=(0.5, 0.2, 0.1))
    torch.testing.assert_close(images[0, :, 0, 0], torch.tensor([1.0, 3.0, 7.0]))
    torch.testing.assert_close(images[0, :, 1, 0], torch.tensor([0.0, 0.5, 2.0]))


def test_any_open_clip_model(tmp_path):
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "dropclip-image-tiny.json").write_text(json.dumps(CLIP))
    open_clip.add_model_config(tmp_path / "config")
    torch.manual_seed(0)
    model = open_clip.create_model("dropclip-image-tiny").eval()
    save_file(model.state_dict(), tmp_path / "clip.safetensors")
    config = ImageConfig(model="dropclip-image-tiny", pretrained=str(tmp_path / "clip.safetensors"))
    rgb, labels = picture()
    found = ImageTower(config, tmp_path / "unused").embed(rgb, np.ones_like(labels))
    crop, mask = cut_crop(Image.fromarray(rgb), np.ones(labels.shape, bool), 32)
    images = to_images(crop[None], mask[None], model.visual.image_mean, model.visual.image_std)
    with torch.no_grad():
        torch.testing.assert_close(found, model.encode_image(images, normalize=True))
    with pytest.raises(DropclipError, match="no-such-model"):
        ImageTower(ImageConfig(model="no-such-model", pretrained="openai"), tmp_path)


def test_another_towers_weights_are_refused(tmp_path):
    save_file(make_vit(SMALL).state_dict(), tmp_path / "vit.safetensors")
    with pytest.raises(DropclipError, match=r"not the image tower.*fetch the model again") as caught:
        ImageTower(replace(SMALL, width=16), tmp_path / "vit.safetensors")
    assert caught.value.status is Status.MODEL_ERROR


@pytest.mark.parametrize("change", [{"weight": 1.5}, {"size": 60}, {"temperature": 0}, {"layers": 0}, {"heads": 5}])
def test_config_names_what_is_wrong(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        ImageConfig(**change)
