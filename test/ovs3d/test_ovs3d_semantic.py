# SPDX-License-Identifier: Apache-2.0
"""The semantic stage on a field of two slabs, red and blue, whose density is known."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dropclip_ros.grounding.static_scene import StaticScene
from dropclip_ros.networks.image import ImageConfig
from dropclip_ros.vision.geometry import Intrinsics
from training.ovs3d.config import SemanticConfig
from training.ovs3d.export import export_cloud
from training.ovs3d.field import Field
from training.ovs3d.guidance import Guidance
from training.ovs3d.learn import RayPool, learn_semantics
from training.ovs3d.patches import PatchFeatures
from training.ovs3d.render import composite, march
from training.ovs3d.semantic import Segmentation, SemanticBranch, load_segmentation
from training.ovs3d.views import PosedViews
from training.runs.errors import InputError

SMALL = SemanticConfig(
    resolution=12,
    selection_ranks=(2, 2, 2),
    feature_ranks=(4, 4, 4),
    feature_channels=8,
    sides=(0.5, 0.25),
    dino="",
    steps=60,
    joint_at=50,
    views=2,
    pixels=48,
    pool=120,
    save_every=20,
    grid_lr=0.05,
    net_lr=0.03,
    fda_positive=5.0,
)
TEXT = torch.eye(2, 4)  # red, blue


class Slabs(Field):
    """Solid below z = 0: red where x < 0, blue elsewhere."""

    def density(self, points):
        return torch.where(points[:, 2] < 0, 200.0, 0.0)


@pytest.fixture(scope="module")
def scene():
    """Three views from above of a plane that is red on the left and blue on the right, a field, and its guidance.

    The second scale says the opposite of the truth in half of the places, as patches do that show the neighbour.
    """
    torch.manual_seed(0)
    field = Slabs(torch.tensor([[-0.5, -0.5, -0.2], [0.5, 0.5, 0.4]]), 0.1, 2.0, 12, (2, 2, 2), (2, 2, 2), 4, 8)
    camera = Intrinsics(20.0, 20.0, 9.5, 7.5, 20, 16)
    poses = np.stack([np.diag([1.0, -1, -1, 1])] * 3)
    poses[:, :3, 3] = [[0, 0, 0.8], [0.05, 0.05, 0.8], [-0.05, 0.05, 0.8]]
    images = np.zeros((3, 16, 20, 3), np.uint8)
    images[:, :, :10, 0] = images[:, :, 10:, 2] = 200
    views = PosedViews(("a", "b", "c"), images, (camera,) * 3, poses, np.array([False, False, True]))
    right = torch.zeros(4, 4, 4)
    right[0, :, :2] = right[1, :, 2:] = 1
    wrong = right.clone()
    wrong[:, 2:] = right.flip(2)[:, 2:]
    dense = torch.cat([right[:2], torch.zeros(2, 4, 4)])
    guidance = Guidance(PatchFeatures([[right, wrong]] * 2), TEXT, [dense] * 2, True, (16, 20))
    return field, views, guidance


PROBES = torch.tensor([[-0.2, 0.15, -0.01], [-0.2, -0.15, -0.01], [0.2, 0.15, -0.01], [0.2, -0.15, -0.01]])


def test_features_land_where_their_class_is(scene):
    field, views, guidance = scene
    found = learn_semantics(field, views, guidance, ["red", "blue"], SMALL)
    assert found.probabilities(found.features(PROBES)).argmax(1).tolist() == [0, 0, 1, 1]
    features, opacity = found.rendered(*views.rays(2))
    classes = found.probabilities(features).argmax(1).view(16, 20)
    assert (opacity > 0.9).all()
    assert (classes[:, 2:7] == 0).float().mean() > 0.9 and (classes[:, 13:18] == 1).float().mean() > 0.9


def test_every_switch_can_be_off_and_losses_stay_finite(scene):
    field, views, guidance = scene
    for name in ("selection", "rda", "fda"):
        config = dataclasses.replace(SMALL, steps=3, joint_at=2, **{name: False})
        found = learn_semantics(field, views, guidance, ["red", "blue"], config)
        assert found.features(PROBES).isfinite().all()
        assert (found.branch.selection is None) == (name == "selection")


def test_what_comes_after_rendering_could_come_before(scene):
    """The decoder is linear: rendering what it takes is rendering what it gives."""
    field, views, _ = scene
    branch = SemanticBranch(4, 6, 2, SMALL)
    origins, directions = views.rays(0)
    samples = march(field, origins, directions)
    feature, shares, opacity = branch.render(field, samples, len(origins))
    dense = composite(samples, branch.decoder(branch.channels_at(field, samples.points)), len(origins))
    torch.testing.assert_close(feature, dense, atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(shares.sum(1), torch.ones(len(origins)))
    torch.testing.assert_close(opacity, composite(samples, torch.ones_like(samples.points[:, :1]), len(origins))[:, 0])


def test_the_pool_gives_the_samples_of_its_rays(scene):
    field, views, _ = scene
    pool = RayPool(field, views, 0, torch.Generator().manual_seed(0))
    rays = torch.tensor([7, 3, 200])
    samples, directions, colours = pool.take(1, rays)
    x, y = pool.pixels[1][rays].long().T
    origins, expected = views.rays(1, y * 20 + x)
    torch.testing.assert_close(directions, expected)
    torch.testing.assert_close(colours, torch.from_numpy(views.images[1])[y, x].float() / 255)
    for found, wanted in zip(samples, march(field, origins, expected), strict=True):
        torch.testing.assert_close(found, wanted)


def test_the_given_field_stays_and_a_killed_run_goes_on_exactly(scene, tmp_path):
    field, views, guidance = scene
    before = {name: value.clone() for name, value in field.state_dict().items()}
    config = dataclasses.replace(SMALL, steps=8, joint_at=4, save_every=3)
    whole = learn_semantics(field, views, guidance, ["red", "blue"], config)
    torch.testing.assert_close(dict(field.state_dict()), before)

    class Killed(Exception):
        pass

    class Stopping(Guidance):
        calls = 0

        def at(self, v, pixels):
            Stopping.calls += 1
            if Stopping.calls > 10:  # in the sixth step
                raise Killed
            return super().at(v, pixels)

    with pytest.raises(Killed):
        learn_semantics(field, views, Stopping(**vars_of(guidance)), ["red", "blue"], config, tmp_path)
    resumed = learn_semantics(field, views, guidance, ["red", "blue"], config, tmp_path)
    torch.testing.assert_close(resumed.branch.state_dict(), whole.branch.state_dict())
    torch.testing.assert_close(resumed.field.state_dict(), whole.field.state_dict())
    made = Slabs(field.bounds, 0.1, 2.0, 12, (2, 2, 2), (2, 2, 2), 4, 8)
    again = load_segmentation(tmp_path / "segmentation.pt", made)
    torch.testing.assert_close(again.features(PROBES), whole.features(PROBES))
    assert again.phrases == ["red", "blue"]
    (tmp_path / "segmentation.pt").write_bytes(b"PK")
    with pytest.raises(InputError, match="damaged"):
        load_segmentation(tmp_path / "segmentation.pt", made)
    assert not torch.equal(whole.field.colour_grid.planes[0], field.colour_grid.planes[0])  # colour was learnt on


def vars_of(guidance):
    return {field.name: getattr(guidance, field.name) for field in dataclasses.fields(guidance)}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"sides": ()}, "sides"),
        ({"sides": (1.5,)}, "sides"),
        ({"temperature": 0.0}, "temperature"),
        ({"fda_shift": 1.0}, "fda_shift"),
        ({"pixels": 200, "pool": 100}, "pixels"),
        ({"steps": 0}, "steps"),
        ({"feature_ranks": (0, 1, 1)}, "feature_ranks"),
        ({"rda_weight": float("nan")}, "finite"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes, says):
    with pytest.raises(ValueError, match=says):
        SemanticConfig(**changes)


def test_probabilities_sum_to_one():
    one = Segmentation(None, None, ["a", "b"], TEXT, 0.2)
    found = one.probabilities(torch.nn.functional.normalize(torch.randn(5, 4), dim=1))
    torch.testing.assert_close(found.sum(1), torch.ones(5))


def test_the_surface_is_exported_with_its_classes(scene, tmp_path):
    field, views, guidance = scene
    found = learn_semantics(field, views, guidance, ["red", "blue"], SMALL)
    towers = SimpleNamespace(
        text=SimpleNamespace(encode=lambda phrases: TEXT[:1]), image=SimpleNamespace(config=ImageConfig())
    )
    made = export_cloud(found, views, tmp_path / "cloud", towers, voxel=0.02)
    static = StaticScene.load(tmp_path / "cloud.safetensors")
    assert (np.abs(static.points[:, 2]) < field.cell).all() and (tmp_path / "cloud.ply").exists()
    left = static.points[:, 0] < -0.08
    assert static.classes == ("red", "blue") and (static.scores[left].argmax(1) == 0).mean() > 0.9
    assert (static.colors[left, 0] > 150).all()
    np.testing.assert_allclose(made.features, static.features, atol=1e-3)
