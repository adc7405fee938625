# SPDX-License-Identifier: Apache-2.0
"""What image models say of objects (visual prompts, [CLS]) and of pixels (MaskCLIP, DINOv2)."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import open_clip
import pytest
import timm
import torch
import torch.nn.functional as F
from open_clip.model import resize_pos_embed
from open_clip.transformer import VisionTransformer
from PIL import Image
from safetensors.torch import save_file
from torch.nn.functional import normalize

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.networks.image import ImageConfig, ImageTower, cut_crop, make_vit, to_images
from training.fusion.dense import SHORT_SIDE, DinoV2, MaskClip, network_input, sample
from training.fusion.features import ObjectFeatures
from training.fusion.prompts2d import BACKGROUNDS, TABLE_8, VisualPrompt

SMALL = ImageConfig(size=16, patch_size=8, width=8, layers=2, heads=2, channels=6)
DINO = "test_vit.r160_in1k"  # timm's smallest
HALF = {"mean": (0.5,) * 3, "std": (0.5,) * 3}


@pytest.fixture
def tower(tmp_path) -> ImageTower:
    torch.manual_seed(0)
    save_file(make_vit(SMALL).state_dict(), tmp_path / "vit.safetensors")
    return ImageTower(SMALL, tmp_path / "vit.safetensors")


def picture() -> SimpleNamespace:
    """A dark square and a bright bar on noise: rgb and mask, as of a view."""
    rgb = np.random.default_rng(0).integers(60, 200, (64, 64, 3), np.uint8)
    mask = np.zeros((64, 64), np.uint8)
    mask[10:30, 10:30], mask[40:48, 20:60] = 2, 3
    rgb[mask == 2], rgb[mask == 3] = (40, 20, 10), (250, 240, 230)
    return SimpleNamespace(rgb=rgb, mask=mask)


def shown(prompt: VisualPrompt, label: int = 2, size: int = 64) -> np.ndarray:
    view = picture()
    return next(prompt.show(view.rgb, [view.mask == label], size))


# Visual prompts


def test_by_default_the_tower_sees_what_it_learnt_from():
    view = picture()
    crop, mask = cut_crop(Image.fromarray(view.rgb), view.mask == 2, 32)
    learnt = to_images(crop[None], mask[None])
    torch.testing.assert_close(to_images(shown(VisualPrompt(), size=32), None), learnt, atol=2 / 255, rtol=0)


@pytest.mark.parametrize(("label", "contrast"), [(2, "white"), (3, "black")])
@pytest.mark.parametrize("kind", ["crop-mask", "mask-out"])
def test_backgrounds_are_plain_and_the_mean_one_contrasts(kind, label, contrast):
    for background, grey in BACKGROUNDS.items():
        assert (shown(VisualPrompt(kind, background), label)[0, 0, 0] == grey).all()
    by_mean = shown(VisualPrompt(kind, "mean"), label)
    np.testing.assert_array_equal(by_mean, shown(VisualPrompt(kind, contrast), label))


def test_each_scale_moves_its_sides_out_by_the_ratio_of_the_box():
    columns = np.broadcast_to(np.arange(200, dtype=np.uint8)[:, None], (200, 200, 3))
    mask = np.zeros((200, 200), bool)
    mask[80:120, 80:120] = True
    crops = next(VisualPrompt("crop", crops=3, ratio=0.25, expansion=1.0).show(columns.copy(), [mask], 40))
    for scale, crop in enumerate(crops):
        middle = crop[20, :, 0].astype(float)
        step = (40 + 20 * scale) / 40
        np.testing.assert_allclose(middle, 79.5 - 10 * scale + step * (np.arange(40) + 0.5), atol=1)


def test_prompts_of_the_whole_image_keep_the_object_and_change_the_rest():
    view = picture()
    inside = view.mask == 2
    images = {kind: shown(VisualPrompt(kind))[0] for kind in ("mask-out", "mask-gray", "mask-blur")}
    for image in images.values():
        np.testing.assert_array_equal(image[inside], view.rgb[inside])
    grey = images["mask-gray"][~inside]
    assert (grey == grey[:, :1]).all() and grey.std() > 10
    far = np.s_[:, 50:]  # of noise alone
    assert images["mask-blur"][far].std() < view.rgb[far].std() / 3
    assert abs(images["mask-blur"][far].mean() - view.rgb[far].mean()) < 10


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"kind": "crops"}, "kind 'crops'"),
        ({"background": "grey"}, "background 'grey'"),
        ({"crops": 0}, "crops 0"),
        ({"kind": "mask-blur", "crops": 3}, "crops 3"),
        ({"ratio": float("nan")}, "ratio nan"),
        ({"expansion": 0.5}, "expansion 0.5"),
    ],
)
def test_a_prompt_names_what_is_wrong(arguments, named):
    with pytest.raises(ValueError, match=named):
        VisualPrompt(**arguments)


# Object features


def test_features_are_those_of_the_package_for_its_own_prompt(tower):
    view = picture()
    extractor = ObjectFeatures(tower)
    found = extractor.embed(extractor.cut(view, [2, 3]))
    packages = tower.embed(view.rgb, np.maximum(view.mask.astype(int) - 1, 0))
    torch.testing.assert_close(found, packages, atol=0.02, rtol=0)


def test_every_row_of_table_8_has_features_that_are_means_of_unit_ones(tower):
    view = picture()
    for prompts, _ in TABLE_8:
        extractor = ObjectFeatures(tower, prompts)
        images = extractor.cut(view, [3, 2])
        assert images.shape == (2, sum(prompt.crops for prompt in prompts), 16, 16, 3)
        means = []
        for prompt in prompts:
            crops = next(prompt.show(view.rgb, [view.mask == 3], 16))
            of_scales = normalize(tower.network(to_images(crops, None)), dim=-1)
            means.append(normalize(of_scales.mean(0), dim=0))
        torch.testing.assert_close(extractor.embed(images)[0], normalize(torch.stack(means).mean(0), dim=0))


def test_batches_do_not_matter_and_nothing_gives_nothing(tower):
    view = picture()
    extractor = ObjectFeatures(tower, (VisualPrompt("crop", crops=3), VisualPrompt()))
    both, none = extractor.cut(view, [2, 3]), extractor.cut(view, [])
    torch.testing.assert_close(extractor.embed(np.concatenate([none, both[1:], both]))[1:], extractor.embed(both))
    assert none.shape == (0, 4, 16, 16, 3) and extractor.embed(none).shape == (0, 6)
    with pytest.raises(ValueError, match="at least one"):
        ObjectFeatures(tower, ())


def test_half_precision_changes_little(tower):
    images = ObjectFeatures(tower).cut(picture(), [2, 3])
    half, full = (ObjectFeatures(tower, amp=amp).embed(images) for amp in (True, False))
    assert half.dtype == torch.float32 and ((half * full).sum(1) > 0.99).all()


def test_other_towers_bring_their_size_normalisation_and_channels(tmp_path):
    tiny = {
        "embed_dim": 5,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
        "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
    }
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "dropclip-fusion-tiny.json").write_text(json.dumps(tiny))
    open_clip.add_model_config(tmp_path / "config")
    torch.manual_seed(0)
    model = open_clip.create_model("dropclip-fusion-tiny").eval()
    save_file(model.state_dict(), tmp_path / "clip.safetensors")
    tower = ImageTower(ImageConfig("dropclip-fusion-tiny", str(tmp_path / "clip.safetensors")), tmp_path / "unused")
    extractor = ObjectFeatures(tower, (VisualPrompt("crop"),))
    images = extractor.cut(picture(), [2])
    assert images.shape[2] == 32 and extractor.channels == 5
    with torch.no_grad():
        expected = to_images(images[0], None, model.visual.image_mean, model.visual.image_std)
        torch.testing.assert_close(extractor.embed(images), model.encode_image(expected, normalize=True))
    assert MaskClip(tower, 32).embed(picture().rgb[None]).shape == (1, 5, 2, 2)


# MaskCLIP


def as_tower(network: torch.nn.Module) -> SimpleNamespace:
    config = SimpleNamespace(model="some-model")
    return SimpleNamespace(network=network.eval(), device=torch.device("cpu"), norm={}, config=config)


def vit(size: int = 32, **variant) -> VisionTransformer:
    torch.manual_seed(1)
    network = VisionTransformer(size, 8, 24, 3, 2, 4.0, output_dim=6, **variant).eval().requires_grad_(False)
    for parameter in network.parameters():  # biases and scales are constants at first, and would hide mistakes
        parameter += 0.1 * torch.randn_like(parameter)
    return network


def images(height: int, width: int, n: int = 2) -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (n, height, width, 3), np.uint8)


@pytest.mark.parametrize(
    "variant",
    [{}, {"no_ln_pre": True, "pool_type": "avg"}, {"ls_init_value": 0.3}, {"qk_norm": True, "scale_attn": True}],
    ids=["plain", "without ln_pre", "layer scale", "custom block"],
)
def test_a_patch_attends_to_itself_alone_in_the_last_layer(variant):
    network = vit(**variant)
    last, seen = network.transformer.resblocks[-1], []
    last.ln_1.register_forward_hook(lambda module, inputs, output: seen.append(output))
    x = images(32, 32)
    network(network_input(torch.tensor(x), 32, 8, **HALF))
    alone = seen[0][:, 1:].reshape(-1, 1, 24)  # each patch a sequence of its own: softmax over one
    value = last.attention(alone) if hasattr(last, "attention") else last.ln_attn(last.attn(alone))
    expected = network.ln_post(last.ls_1(value)) @ network.proj
    found = MaskClip(as_tower(network), 32).embed(x)
    torch.testing.assert_close(found, expected.reshape(2, 4, 4, 6).permute(0, 3, 1, 2))


def test_positions_are_interpolated_as_open_clip_does():
    small, large = vit(32), vit(48)
    state = {f"visual.{name}": tensor for name, tensor in small.state_dict().items()}
    resize_pos_embed(state, SimpleNamespace(visual=large))
    large.load_state_dict({name.removeprefix("visual."): tensor for name, tensor in state.items()})
    x = images(48, 48)
    torch.testing.assert_close(MaskClip(as_tower(small), 48).embed(x), MaskClip(as_tower(large), 48).embed(x))


@pytest.mark.parametrize(("side", "grid"), [(32, (4, 5)), (16, (2, 3)), (3, (1, 1))])
def test_any_size_of_image_is_brought_to_whole_patches(side, grid):
    maskclip = MaskClip(as_tower(vit()), side, amp=True)
    found = maskclip.embed(images(60, 80))
    assert found.shape == (2, maskclip.channels, *grid) and found.dtype == torch.float32


def test_by_default_an_image_has_the_tower_s_own_resolution():
    """336 x 448 of 480 x 640 for ViT-L/14@336px (A.2): 24 x 32 patches; small towers look at SHORT_SIDE."""
    large = as_tower(VisionTransformer(336, 14, 16, 1, 2, 2.0, output_dim=6))
    large.size = 336
    assert MaskClip(large).embed(images(480, 640, 1)).shape == (1, 6, 24, 32)
    small = as_tower(vit())
    small.size = 32
    assert MaskClip(small).short_side == SHORT_SIDE == 160


@pytest.mark.parametrize(
    "make",
    [
        lambda: open_clip.modified_resnet.ModifiedResNet([1, 1, 1, 1], 8, 2, 32, 4),
        lambda: open_clip.timm_model.TimmModel("test_vit", 8, 160),
        lambda: vit(attentional_pool=True, attn_pooler_heads=2),
        lambda: vit(scale_attn_inner=True),
        lambda: vit(scale_heads=True),
    ],
    ids=["ResNet", "timm", "pooling head", "inner norm", "scaled heads"],
)
def test_towers_without_such_patches_are_refused(make):
    with pytest.raises(DropclipError, match=r"'some-model' .* choose another") as caught:
        MaskClip(as_tower(make()))
    assert caught.value.status is Status.MODEL_ERROR


@pytest.mark.parametrize("size", [(24, 32), (30, 47), (6, 5)])
def test_sampling_is_interpolating_the_whole_map(size):
    features = torch.randn(2, 5, 6, 8, generator=torch.Generator().manual_seed(0))
    row, column = torch.meshgrid(*map(torch.arange, size), indexing="ij")
    pixels = torch.stack([column, row], dim=-1).reshape(1, -1, 2).expand(2, -1, 2).float()
    whole = F.interpolate(features, size, mode="bicubic", align_corners=False)
    torch.testing.assert_close(sample(features, pixels, size), whole.flatten(2).mT, atol=1e-4, rtol=0)


# DINOv2


@pytest.fixture(scope="module")
def dino(tmp_path_factory):
    """A small ViT of timm and the folder of its weights, in every form they come in."""
    torch.manual_seed(0)
    network, folder = timm.create_model(DINO, dynamic_img_size=True).eval(), tmp_path_factory.mktemp("d")
    save_file(network.state_dict(), folder / "weights.safetensors")
    torch.save(network.state_dict(), folder / "weights.pth")
    timm.models.save_for_hf(network, folder, safe_serialization=True)
    return network, folder


@pytest.mark.parametrize("form", ["weights.safetensors", "weights.pth", "folder"])
def test_dino_gives_the_patches_of_the_last_norm(dino, form):
    network, folder = dino
    model = DinoV2(str(folder), short_side=32) if form == "folder" else DinoV2(DINO, folder / form, short_side=32)
    x = images(48, 64)
    with torch.no_grad():
        tokens = network.forward_features(network_input(torch.tensor(x), 32, 16, **model.norm))
    expected = tokens[:, network.num_prefix_tokens :].mT.reshape(2, model.channels, 2, 3)
    torch.testing.assert_close(model.embed(x), expected)


def test_dino_without_its_weights_is_an_error_never_random(dino, tmp_path, monkeypatch):
    network, _ = dino
    some = {name: tensor for name, tensor in network.state_dict().items() if "blocks.1" not in name}
    save_file(some, tmp_path / "part.safetensors")
    torch.save({"model": Malicious()}, tmp_path / "evil.pth")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for file in ("absent.safetensors", "part.safetensors", "evil.pth"):
        with pytest.raises(DropclipError, match=rf"{DINO}.*{file}.*give the file") as caught:
            DinoV2(DINO, tmp_path / file)
        assert caught.value.status is Status.MODEL_ERROR
    for name in ("no-such-vit", str(tmp_path)):
        with pytest.raises(DropclipError, match="its weights, or its folder"):
            DinoV2(name)


class Malicious:
    def __reduce__(self):
        return exec, ("raise SystemExit('unpickled')",)
