# SPDX-License-Identifier: Apache-2.0
"""Training: equations against plain loops, a widened network that says the same, crops, true geometry."""

from pathlib import Path

import numpy as np
import pytest
import torch

from dropclip_ros.networks.encoder import EncoderConfig, MinkUNet14D
from dropclip_ros.networks.image import square_box, to_images
from training.distill.widen import widen
from training.fusion.crops import CROP_SIZE, view_crops
from training.fusion.fuse import fuse_objects
from training.fusion.image_tower import phrase_loss, ragged
from training.fusion.weights import Queries, informativeness
from training.objects.catalogue import matches
from training.objects.procedural.objects import build, catalogue
from training.scenes.description import FIRST_OBJECT_ID, TABLE_ID, SceneConfig
from training.scenes.generate import GenerateRecipe, generate_scene
from training.scenes.scene import View
from training.scenes.shards import load_scenes

ROOT = Path(__file__).resolve().parents[2]


def unit(rng, *shape):
    return torch.nn.functional.normalize(torch.from_numpy(rng.normal(size=shape)), dim=-1)


def test_fusion_is_equations_4_and_5():
    rng = np.random.default_rng(0)
    features, prompts = unit(rng, 12, 5), {2: unit(rng, 5), 3: unit(rng, 5), 7: unit(rng, 5)}
    labels = torch.tensor([2, 3, 7] * 4)
    fused = fuse_objects(features, labels, queries(prompts))
    for row, label in zip(fused.features, fused.labels, strict=True):
        total, weight = np.zeros(5), 0.0
        for z, n in zip(features.numpy(), labels.tolist(), strict=True):
            if n == label:
                others = [q.numpy() for k, q in prompts.items() if k != label]
                g = max(0.0, z @ prompts[label].numpy() - max(z @ q for q in others))  # eq. 4, clipped
                total, weight = total + g * z, weight + g
        if weight == 0:
            total = sum(z for z, n in zip(features.numpy(), labels.tolist(), strict=True) if n == label)
        np.testing.assert_allclose(row.numpy(), total / np.linalg.norm(total), atol=1e-5)


def test_an_object_that_no_view_tells_apart_is_counted_and_keeps_its_mean():
    q, other = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    fused = fuse_objects(other[None].repeat(3, 1), torch.tensor([2, 2, 2]), queries({2: q, 3: other}))
    assert fused.uninformative == 1 and fused.labels == [2]
    np.testing.assert_allclose(fused.features[0], other)
    assert informativeness(other[None], q, other[None]).tolist() == [0.0]


def test_phrase_loss_prefers_true_phrases():
    true = torch.tensor([[True, False, False]])
    weights = true.float()
    good, bad = torch.tensor([[4.0, -4.0, -4.0]]), torch.tensor([[-4.0, 4.0, -4.0]])
    assert phrase_loss(good, true, weights) < 0.1 < phrase_loss(bad, true, weights)


def queries(prompts):
    """Each object's prompt against all others'."""
    return {
        label: Queries(q, torch.stack([other for k, other in prompts.items() if k != label]))
        for label, q in prompts.items()
    }


def tabletop(seed=0):
    """A view of a box and a ball on the plane z = 0, by analytic ray casting: two labels, two colours."""
    height, width, focal = 90, 120, 110.0
    pose = np.eye(4)
    pose[:3, :3] = np.array([[1, 0, 0], [0, -0.6, 0.8], [0, -0.8, -0.6]])  # columns: x right, y down, z forward
    pose[:3, 3] = (0, -0.48, 0.4)
    v, u = np.mgrid[0:height, 0:width]
    rays = np.stack([(u - 59.5) / focal, (v - 44.5) / focal, np.ones_like(u, float)], -1) @ pose[:3, :3].T
    depth = -pose[2, 3] / rays[..., 2]
    mask = np.full((height, width), TABLE_ID, np.uint8)
    for label, centre in ((FIRST_OBJECT_ID, (-0.07, 0, 0.04)), (FIRST_OBJECT_ID + 1, (0.07, 0.02, 0.04))):
        offset = pose[:3, 3] - np.array(centre)
        b, a = (rays * offset).sum(-1), (rays**2).sum(-1)
        root = b * b - a * (offset @ offset - 0.04**2)
        hit = np.where(root > 0, (-b - np.sqrt(np.maximum(root, 0))) / a, np.inf)
        mask[hit < depth] = label
        depth = np.minimum(depth, hit)
    colors = np.array([[0, 0, 0], [150, 140, 130], [200, 30, 30], [30, 30, 200]], np.uint8)
    k = np.array([[focal, 0, 59.5], [0, focal, 44.5], [0, 0, 1]])
    return View(colors[mask], depth.astype(np.float32), mask, k, pose)


TINY = EncoderConfig(in_channels=3, out_channels=4, stem=4, planes=(4, 4, 8, 8, 8, 8, 4, 4), offsets=True, objects=5)


def test_a_widened_encoder_says_what_the_narrow_one_said():
    torch.manual_seed(0)
    narrow = MinkUNet14D(TINY)
    wide = MinkUNet14D(EncoderConfig(3, 4, stem=6, planes=(6, 6, 12, 12, 8, 16, 7, 6), offsets=True, objects=5))
    coords = torch.unique(torch.randint(0, 30, (300, 3)), dim=0)
    feats = torch.rand(len(coords), 3)
    narrow(coords, feats), widen(wide, narrow)
    narrow.eval(), wide.eval()
    assert torch.allclose(narrow(coords, feats), wide(coords, feats), atol=1e-5)
    with pytest.raises(ValueError, match="at least the narrow"):
        widen(narrow, wide)


def test_ragged_masks_stay_on_the_object():
    masks = np.zeros((64, 32, 32), bool)
    masks[:, 8:24, 8:24] = True
    found = ragged(masks, np.random.default_rng(0))
    area = found.sum((1, 2)) / masks.sum((1, 2))
    assert (found != masks).any((1, 2)).mean() > 0.4 and area.min() >= 0.35 and area.max() <= (20 / 16) ** 2


def test_crops_hold_the_object_and_grey_hides_the_rest():
    crops = view_crops(tabletop(), min_pixels=50)
    assert [label for label, *_ in crops] == [FIRST_OBJECT_ID, FIRST_OBJECT_ID + 1]
    _, _, pixels, mask = crops[0]
    assert pixels.shape == (CROP_SIZE, CROP_SIZE, 3) and mask[CROP_SIZE // 2, CROP_SIZE // 2]
    image = to_images(pixels[None], mask[None])
    assert (image[0].numpy()[:, ~mask] == 0).all() and image[0, 0].numpy()[mask].mean() > 0.3


def test_square_box_is_square_and_centred():
    mask = np.zeros((50, 60), bool)
    mask[10:20, 30:34] = True
    left, top, right, bottom = square_box(mask, 1.0)
    assert (left, top, right, bottom) == (27, 10, 37, 20)


def test_generated_scene_is_metric_and_consistent(off_screen, tmp_path):
    """What the camera saw of each object, moved by the poses on disk, lies within the object's mesh."""
    folder = tmp_path / "scene_00000"
    generate_scene(folder, GenerateRecipe(config=SceneConfig(views=2)), 0)
    (scene,) = load_scenes(tmp_path)
    specs = {spec.name: spec for spec in catalogue()}
    view, checked = scene.view(1), 0
    for label, entry in scene.objects.items():
        rows, columns = np.nonzero(view.mask == label)
        if len(rows) < 50:
            continue
        z, k = view.depth[rows, columns], view.intrinsics
        camera = np.stack([(columns - k[0, 2]) * z / k[0, 0], (rows - k[1, 2]) * z / k[1, 1], z], 1)
        world = camera @ view.world_from_camera[:3, :3].T + view.world_from_camera[:3, 3]
        pose = np.array(entry["world_from_mesh"])
        local = (world - pose[:3, 3]) @ pose[:3, :3]
        vertices = entry["scale"] * build(specs[entry["name"]]).vertices
        assert (local > vertices.min(0) - 0.003).all() and (local < vertices.max(0) + 0.003).all(), entry["name"]
        checked += 1
    assert checked >= 2
    for note in scene.coco["annotations"]:
        if note["image_id"] == 1:
            assert note["area"] == (view.mask == note["category_id"]).sum()
    for phrases in scene.coco["queries"].values():
        for phrase, labels in phrases.items():
            assert labels == [k for k, o in scene.objects.items() if matches(specs[o["name"]], phrase)]
