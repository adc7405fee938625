# SPDX-License-Identifier: Apache-2.0
"""Training of HGGD: targets mean the grasps they come from, runs go on exactly, the judge knows a grasp."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import trimesh
from grasp_support import BOX, FROM_ABOVE, one_grasp, pose, solid
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from dropclip_ros.grasping.grasps import Grasps, height_above
from dropclip_ros.grasping.grippers import ROBOTIQ_2F_140
from dropclip_ros.grasping.hggd.checkpoint import load_networks
from dropclip_ros.grasping.hggd.config import HggdConfig
from dropclip_ros.grasping.hggd.decode import Centers, decode_regions, find_centers, lift, rotation_of
from dropclip_ros.grasping.hggd.inputs import PreparedView
from dropclip_ros.grasping.hggd.networks import AnchorMaps
from dropclip_ros.vision.geometry import Intrinsics
from training.hggd.cli import main
from training.hggd.config import HggdTraining
from training.hggd.data import mirrored
from training.hggd.export import export
from training.hggd.judge import VERDICTS, Judge
from training.hggd.losses import focal
from training.hggd.targets import Labels, labels_of, local_labels, maps_of, spread_anchors
from training.hggd.train import given_centers, train, untrained
from training.objects.catalogue import Catalogue
from training.objects.spec import ObjectSpec
from training.runs.checkpoint import CheckpointError
from training.scenes.description import PlacedObject, rows
from training.scenes.grasps.grasp_trials import TrialConfig, sample_grasps
from training.scenes.grasps.scene_grasps import grasps_in_place

TINY = HggdConfig(
    width=64,
    height=48,
    trunk=2,
    blocks=(1, 1, 1, 1),
    head=4,
    anchor_width=15.0,
    points=500,
    region_points=8,
    point_channels=(4, 4, 8),
    hidden=(8, 8),
    info_channels=4,
)
CAMERA = Intrinsics(215.0, 215.0, 119.5, 89.5, 240, 180)
SHORT = HggdTraining(TINY, batch_size=2, steps=4, found=2, given=3, min_points=2, save_every=2, log_every=1, rate=1e-2)


def flat_view(camera: Intrinsics = CAMERA, z: float = 0.7) -> PreparedView:
    """A wall at depth z, m."""
    columns, lines = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
    points = np.stack(
        [(columns - camera.cx) / camera.fx * z, (lines - camera.cy) / camera.fy * z, np.full(columns.shape, z)], 2
    )
    return PreparedView(torch.rand(4, camera.height, camera.width), torch.from_numpy(points).float(), camera)


def grasps_at(angles: np.ndarray, centers: np.ndarray, width: float = 0.06, depth: float = 0.02) -> Grasps:
    """Of angles theta, gamma, beta (N, 3) and centres (N, 3) in the camera's frame."""
    rotation = rotation_of(*torch.from_numpy(np.asarray(angles, float)).T).numpy()
    count = len(rotation)
    return Grasps(
        np.ones(count),
        np.full(count, width),
        np.full(count, 0.03),
        np.full(count, depth),
        rotation,
        np.asarray(centers, float),
        np.full(count, 2),
    )


angle = st.floats(-1.0, 1.0)


@settings(max_examples=40, deadline=None)
@given(
    st.floats(-1.5, 1.5),
    st.floats(-0.9, 0.9),
    angle,
    st.floats(0.03, 0.12),
    st.floats(-0.015, 0.015),
    st.floats(0.005, 0.04),
)
def test_networks_that_say_the_targets_find_the_grasp(theta, gamma, beta, width, over, depth):
    """Maps and local labels of one true grasp, read as detection reads the networks, are that grasp."""
    config, network = HggdTraining(), HggdTraining().network
    view = flat_view()
    (true,) = [grasps_at([[theta, gamma, beta]], [[0.05, -0.03, 0.7 + over]])]
    true = replace(true, width=np.array([width]), depth=np.array([depth]))
    shifted = replace(true, translation=true.tips() - config.tips * true.approach)
    labels = labels_of(true, view, config)
    if abs(shifted.translation[0, 2] - 0.7) > 0.019:  # further from the surface than the maps can tell
        return
    assert len(labels.center) == 1
    maps = maps_of(labels, view.image.shape[1:], network)
    said = AnchorMaps(20 * maps.heat - 10, 20.0 * (maps.count > 0) - 10, maps.turn, maps.depth, maps.width, None)
    centers = find_centers(said, network, 1)
    positions, _ = lift(centers, view.points)
    gamma_anchors, beta_anchors = labels.gamma / (math.pi / 2), labels.beta / (math.pi / 2)
    likeness, apart = local_labels(positions, centers.theta, labels, gamma_anchors, beta_anchors, config.near)
    assert likeness.item() > 0.9999
    row = decode_regions(
        20 * likeness - 10,
        apart / 0.02,
        centers,
        positions,
        gamma_anchors,
        beta_anchors,
        view.intrinsics,
        1,
        config.tips,
    )
    found = Grasps.from_rows(row.double().numpy())
    assert np.abs(found.tips() - true.tips()).max() < 1e-3
    assert abs(found.width[0] - width) < 2e-3
    turn = found.rotation[0].T @ true.rotation[0]
    assert turn[0, 0] > 0.999 and abs(turn[1, 1]) > 0.999  # the same, or half a turn about the approach


@settings(max_examples=25, deadline=None)
@given(st.floats(-1.5, 1.5), st.floats(-0.9, 0.9), angle, st.floats(-0.1, 0.1))
def test_the_mirrored_view_has_the_mirrored_grasps(theta, gamma, beta, x):
    config, view = HggdTraining(), flat_view(replace(CAMERA, cx=110.0))
    true = grasps_at([[theta, gamma, beta]], [[x, 0.02, 0.7]])
    flip = np.diag([-1.0, 1, 1])
    turned = flip @ true.rotation @ np.diag([1.0, 1, -1])  # z is the product of the other two
    other_view, other = mirrored(view, labels_of(true, view, config))
    seen = labels_of(replace(true, rotation=turned, translation=true.translation @ flip), other_view, config)
    assert torch.equal(other_view.points[..., 0], -view.points[..., 0].flip(1))
    for name, one in other._asdict().items():
        same = getattr(seen, name)
        if name == "theta":
            one, same = torch.sin(2 * one), torch.sin(2 * same)
        assert torch.allclose(one.float(), same.float(), atol=1 if name == "pixel" else 2e-3), name


def test_grasps_that_the_view_cannot_tell_are_no_labels():
    config, view = HggdTraining(), flat_view()
    behind, aside, from_below, rolled = [0, 0, 0.8], [2.0, 0, 0.7], [0, 0, 0.7], [0, 0, 0.7]
    unlikely = grasps_at([[0, 0, 0], [0, 0, 0], [0, 0, 2.5], [0, 1.2, 0]], [behind, aside, from_below, rolled])
    assert not len(labels_of(unlikely, view, config).center)
    assert len(labels_of(grasps_at([[0, 0, 0]], [[0, 0, 0.7]]), view, config).center) == 1


def test_heat_is_one_at_centres_and_only_there():
    pixel = torch.tensor([[20, 30], [22, 31], [40, 63], [0, 0]])
    zeros = torch.zeros(4)
    labels = Labels(torch.zeros(4, 3), pixel, zeros, zeros, zeros, zeros + 15, zeros)
    heat = maps_of(labels, (48, 64), TINY).heat[0, 0]
    peaks = (heat > 0.99).nonzero()
    assert peaks.tolist() == [[0, 0], [20, 30], [40, 63]]  # the second is too close to the first


def test_anchors_of_far_regions_are_wrong_and_half_a_turn_does_not_matter():
    one = torch.tensor([0.3])
    labels = Labels(torch.tensor([[0.0, 0, 0.7]]), torch.zeros(1, 2, dtype=torch.long), one, one, one, one, one)
    places = torch.tensor([[0.0, 0, 0.71], [0.0, 0, 0.75]])
    quarter = 0.3 / (math.pi / 2)
    near, apart = local_labels(places, one.expand(2), labels, torch.tensor([quarter]), torch.tensor([quarter]), 0.02)
    assert near[0] > 0.9999 and near[1] == 0
    assert torch.allclose(apart[0, 0], torch.tensor([0, 0, -0.01]), atol=1e-6)
    turned = local_labels(places[:1], one + math.pi, labels, torch.tensor([-quarter]), torch.tensor([-quarter]), 0.02)
    assert turned[0].item() > 0.9999
    wrong = local_labels(places[:1], one + 0.8, labels, torch.tensor([quarter]), torch.tensor([quarter]), 0.02)
    assert wrong[0].item() < HggdTraining().same


def test_focal_loss_asks_for_what_is_right():
    positive = torch.tensor([True, False, False])
    right, wrong = torch.tensor([3.0, -3, -3]), torch.tensor([-3.0, 3, -3])
    assert focal(right, positive) < 0.1 * focal(wrong, positive)
    spared = torch.tensor([1.0, 0.9, 0])
    assert focal(wrong, positive, spared=spared) < focal(wrong, positive)
    assert focal(wrong, torch.zeros(3, dtype=torch.bool)).isfinite()


@given(st.lists(st.floats(-1.5, 1.5), min_size=1, max_size=50))
@settings(max_examples=25, deadline=None)
def test_anchors_lie_among_the_angles(angles):
    anchors = spread_anchors(torch.tensor(angles), 7)
    assert len(anchors) == 7 and (anchors.diff() > -1e-6).all() and anchors.abs().max() <= 1


class Walls:
    """Frames without scenes: walls with grasps here and there."""

    def __init__(self, config: HggdTraining) -> None:
        self.config, self.scenes, self.views = config, [None] * 3, [(s, 0) for s in range(3)]

    def frame(self, s: int, v: int):
        rng = np.random.default_rng(s)
        camera = CAMERA.scaled_to(64, 48)
        torch.manual_seed(s)
        view = flat_view(camera, 0.6 + 0.1 * s)
        centers = np.column_stack([rng.uniform(-0.1, 0.1, (5, 2)), np.full(5, 0.6 + 0.1 * s)])
        return view, labels_of(grasps_at(rng.uniform(-0.5, 0.5, (5, 3)), centers), view, self.config)


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(tmp_path, monkeypatch):
    whole = train(Walls(SHORT), tmp_path / "whole")
    monkeypatch.setattr("training.runs.loop.tqdm", lambda steps, *_, **__: Halting(steps))
    with pytest.raises(KeyboardInterrupt):
        train(Walls(SHORT), tmp_path / "parts")
    monkeypatch.undo()
    parts = train(Walls(SHORT), tmp_path / "parts")
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, parts.state_dict()[name]), name
    logs = [[json.loads(line) for line in (tmp_path / one / "losses.jsonl").open()] for one in ("whole", "parts")]
    assert logs[0] == logs[1] and [line["step"] for line in logs[0]] == [0, 1, 2, 3]
    with pytest.raises(CheckpointError, match="rate"):
        train(Walls(replace(SHORT, rate=1e-3)), tmp_path / "parts")


class Halting:
    """Progress that is stopped in its fourth step."""

    def __init__(self, steps: range) -> None:
        self.steps = steps

    def __iter__(self):
        for step in self.steps:
            if step == 3:
                raise KeyboardInterrupt
            yield step

    def set_postfix(self, *_, **__) -> None: ...


def test_a_few_steps_lower_the_loss(tmp_path):
    train(Walls(replace(SHORT, steps=30, mirror=False, gain=0.0)), tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "losses.jsonl").open()]
    start, end = lines[0], lines[-1]
    assert end["heat"] < start["heat"] and end["angle"] < start["angle"]


def test_what_is_exported_is_what_was_trained(tmp_path):
    networks = untrained(SHORT).eval()
    export(tmp_path / "model", networks, SHORT, "Nothing.", {"top 1": 0.5})
    image = flat_view(CAMERA.scaled_to(64, 48)).image[None]
    for name in ("hggd.pt", "hggd.safetensors"):
        found = load_networks(tmp_path / "model" / name)
        assert found.config == TINY
        with torch.inference_mode():
            for ours, theirs in zip(networks.anchor(image), found.anchor(image), strict=True):
                assert torch.allclose(ours, theirs, atol=0.05)
    from dropclip_ros.base.files import check_sha256

    config = json.loads((tmp_path / "model" / "config.json").read_text())
    for name, digest in config["sha256"].items():
        check_sha256(tmp_path / "model" / name, digest)


@pytest.mark.parametrize("values", [{"steps": 0}, {"same": 1.0}, {"rate": float("nan")}, {"sensor": "lidar"}])
def test_recipes_that_cannot_be_are_refused(values):
    with pytest.raises(ValueError, match=next(iter(values))):
        HggdTraining(**values)


def test_the_command_says_what_is_missing(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--scenes", str(tmp_path), "--out", str(tmp_path / "out")])
    assert ended.value.code == 2 and "no scenes there" in capsys.readouterr().err
    (tmp_path / "r.yaml").write_text("stepz: 3\n")
    with pytest.raises(SystemExit):
        main(["--config", str(tmp_path / "r.yaml"), "--scenes", ".", "--out", "."])
    assert "stepz" in capsys.readouterr().err


def test_candidates_over_a_table_come_from_above_and_stay_out_of_it():
    table = np.array([0.0, 0, 1, 0.06])  # the box stands on it
    grasps = sample_grasps(BOX, ROBOTIQ_2F_140, TrialConfig(samples=600, wanted=50), table)
    assert len(grasps) > 10
    assert height_above(grasps, table).min() > 0 and np.median(-grasps.approach[:, 2]) > 0.7


class OneBox(Catalogue):
    def build(self, spec):
        return replace(BOX if spec.category == "box" else solid(trimesh.creation.icosphere(3, 0.02)), name=spec.name)


def test_the_judge_tells_grasps_from_what_is_none():
    """A box of 4 x 6 x 12 cm stands in the middle, a ball of 2 cm hangs beside its upper end."""
    places = {2: ("box", (0.0, 0, 0.06)), 3: ("ball", (0.045, 0.0, 0.1))}
    placed = [
        PlacedObject(label, name, 1.0, 1.0, 0.1, 0.1, rows(pose(Rotation.identity(), at)))
        for label, (name, at) in places.items()
    ]
    specs = tuple(ObjectSpec(name, name, "train", {}) for name, _ in places.values())
    scene = SimpleNamespace(description=SimpleNamespace(objects=placed, table=SimpleNamespace(height=0.0)))
    judge = Judge(scene, OneBox(specs), ROBOTIQ_2F_140, TrialConfig())
    along_y = np.column_stack([(0, 0, -1), (0, 1, 0), (1, 0, 0)]).astype(float)
    asked = {
        "good": one_grasp(along_y, (0, 0, 0.09), 0.08),
        "collides": one_grasp(FROM_ABOVE, (0, 0, -0.01), 0.06),
        "nothing between the fingers": one_grasp(FROM_ABOVE, (-0.15, 0.1, 0.05), 0.05),
        "several objects between them": one_grasp(FROM_ABOVE, (0.022, 0.0, 0.09), 0.14),
        "lost in the trial": one_grasp(along_y, (0.02, 0, 0.118), 0.08),
    }
    for what, grasp in asked.items():
        verdicts = judge(grasp)
        assert VERDICTS[verdicts.what[0]] == what
        assert verdicts.good[0] == (what == "good")
    assert judge(asked["good"]).label[0] == 2
    assert len(judge(Grasps.empty()).what) == 0


def test_true_grasps_of_things_as_they_lie_are_grasps_to_the_judge():
    """A lying box, smaller than the catalogue's: its grasps come from above, hold, and touch nothing."""
    lying = pose(Rotation.from_euler("y", 90, degrees=True), (0.05, 0.02, 0.018))
    placed = [PlacedObject(2, "box", 0.9, 1.0, 0.1, 0.1, rows(lying))]
    scene = SimpleNamespace(description=SimpleNamespace(objects=placed, table=SimpleNamespace(height=0.0)))
    catalogue, trial = OneBox((ObjectSpec("box", "box", "train", {}),)), TrialConfig(samples=300, wanted=30)
    grasps = grasps_in_place(scene, catalogue, ROBOTIQ_2F_140, 12, trial)
    assert 4 < len(grasps) <= 12 and set(grasps.object_id) == {2}
    verdicts = Judge(scene, catalogue, ROBOTIQ_2F_140, TrialConfig())(grasps)
    assert verdicts.good.mean() > 0.8 and not (verdicts.what == VERDICTS.index("collides")).any()


def test_a_given_centre_is_none_of_the_background():
    labels = Walls(SHORT).frame(0, 0)[1]
    centers = given_centers(labels, SHORT, (48, 64))
    assert isinstance(centers, Centers) and len(centers.theta) == SHORT.given
    assert (centers.pixel >= 0).all() and (centers.pixel < torch.tensor([48, 64])).all()
