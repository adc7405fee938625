# SPDX-License-Identifier: Apache-2.0
"""Distillation: table 7, samples, losses against plain loops, a network that learns, exact resume."""

import dataclasses
import json
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml
from distill_support import LABELS, STILL, source, tiny
from mvtod_support import write_scenes

from dropclip_ros.networks.encoder import OFFSET_UNIT, MinkUNet14D
from training.distill import DistillConfig, TrainingSet, distill, read_config
from training.distill.config import learning_rate
from training.distill.data import Batches, sample_number, table_points, voxel_labels
from training.distill.losses import Student, contrastive, triplet
from training.distill.recipes import SMALL
from training.distill.validate import evaluation
from training.fusion.clouds import view_cloud
from training.runs.errors import InputError
from training.runs.recipes import write_config
from training.scenes.sensor import KINECT
from training.scenes.shards import load_scenes

TABLE_7 = """
voxel_size 0.05, feat_dim 768, color_trans_ratio 0.01, color_jitter_std 0.02, hue_max 0.01, saturation_max 0.1,
elastic_distortion_granularity_min 0.1, elastic_distortion_granularity_max 0.3, elastic_distortion_magnitude_min 0.4,
elastic_distortion_magnitude_max 0.8, n_blob_min 1, n_blob_max 2, blob_size_min 50, blob_size_max 101,
random_euler_order True, random_rot_chance 0.6, rotate_min_x -0.1309, rotate_max_x 0.1309, rotate_min_y -0.1309,
rotate_max_y 0.1309, rotate_min_z -0.1309, rotate_max_z 0.1309, arch_3d MinkUNet14D, batch_size 8, batch_size_val 8,
base_lr 0.0003, weight_decay 0.00001, min_lr 0.0001, loss_type cosine, use_aux_loss False, use_cls_head False,
loss_weight_aux 1.0, loss_weight_cls 0.1, dropout_rate 0.0, epochs 300, power 0.9, momentum 0.9, max_norm 5.0, sync_bn
True
"""


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_every_row_of_table_7_is_a_field_with_the_papers_value():
    config = DistillConfig()
    rows = [row.split() for row in TABLE_7.split(",")]
    assert len(rows) == 39
    for name, value in rows:
        found = getattr(config, name) if hasattr(config, name) else getattr(config.augment, name)
        assert found == yaml.safe_load(value), name
    assert sum(p.numel() for p in MinkUNet14D(config.encoder).parameters()) == 43_603_744


def test_a_configuration_survives_its_file_and_says_what_is_wrong(tmp_path):
    path = tmp_path / "c.yaml"
    write_config(path, tiny(sync_bn=False))
    assert read_config(path) == tiny(sync_bn=False)
    assert read_config(SMALL).encoder.planes == (24, 64, 128, 192, 192, 128, 64, 48)
    for text, said in (
        ("base_lrr: 1", "unknown field base_lrr"),
        ("augment: {flip: 1}", "unknown field augment.flip"),
        ("batch_size: two", "batch_size 'two': expected int"),
        ("base_lr: fast", "base_lr 'fast': expected a number"),
        ("base_lr: .nan", "base_lr nan: expected a finite number"),
        ("min_lr: 1", "min_lr 1.0: expected at most base_lr"),
        ("schedule: linear", "schedule 'linear': expected one of cosine, poly"),
        ("augment: {blob_size_min: 200}", "blob_size_min 200: expected at most blob_size_max, 101"),
        ("augment: {sensor: sonar}", "sensor 'sonar': expected one of none, kinect"),
        ("planes: [1, 2]", "planes must hold 8"),
        ("[1", "no whole YAML"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=said) as error:
            read_config(path)
        assert "\n" not in str(error.value)


def test_the_rate_falls_from_base_to_least_in_each_stage():
    config = DistillConfig()
    rates = [learning_rate(config, step, (100, 50)) for step in range(150)]
    assert rates[0] == config.base_lr and rates[100] == config.partial_base_lr
    assert rates[50] == pytest.approx((config.base_lr + config.min_lr) / 2)
    assert all(a > b for a, b in pairwise(rates[:100])) and rates[99] < 1.01 * config.min_lr
    poly = learning_rate(dataclasses.replace(config, schedule="poly"), 50, (100, 0))
    assert poly == pytest.approx(config.min_lr + (config.base_lr - config.min_lr) * 0.5**0.9)
    warm = dataclasses.replace(config, warmup=0.1)
    assert learning_rate(warm, 0, (100, 0)) == pytest.approx(config.base_lr / 25)
    assert learning_rate(warm, 10, (100, 0)) == pytest.approx(config.base_lr)
    assert config.stage_steps(100) == (3750, 375)


def test_a_cloud_stands_on_the_table_of_its_camera(tmp_path):
    (scene,) = load_scenes(write_scenes(tmp_path, 1, shape=(72, 96)))
    view = scene.view(1)
    points = table_points(view_cloud(view, 1), view.world_from_camera)
    heights = [entry["scale"] * size for entry, size in zip(scene.coco["objects"], (0.12, 0.08, 0.05), strict=True)]
    labels = view_cloud(view, 1).labels
    for label, height in zip(LABELS, heights, strict=True):
        found = points[labels == label, 2]
        assert found.min() > -1e-3 and abs(found.max() - height) < 2e-3


def test_a_full_cloud_shows_all_sides_and_a_view_one_and_both_have_the_same_targets(tmp_path):
    data = source(tmp_path)
    full = sample_number(data, tiny(augment=STILL), 0, full=True)
    partial = sample_number(data, tiny(augment=STILL), 0, full=False)
    assert len(full.coords) > 1.5 * len(partial.coords)
    assert torch.equal(full.targets, partial.targets)
    again = sample_number(data, tiny(augment=STILL), 0, full=True)  # from what the first one kept
    assert len(list((tmp_path / "clouds").iterdir())) == 1
    assert np.array_equal(full.coords, again.coords) and np.array_equal(full.colors, again.colors)
    (tmp_path / "clouds" / next((tmp_path / "clouds").iterdir()).name).write_bytes(b"no zip")
    with pytest.warns(UserWarning, match="made again"):
        sample_number(data, tiny(augment=STILL), 0, full=True)


def test_every_pass_shows_every_scene_once(tmp_path):
    data, seen = source(tmp_path, 3), []

    class Named:
        def __init__(self, s):
            self.s = s

        def __len__(self):
            return 3

        def view(self, v, sensor=None):
            seen.append(self.s)
            return data.scenes[self.s].view(v, sensor)

    named = TrainingSet([Named(s) for s in range(3)], data.targets)
    for number in range(6):
        sample_number(named, tiny(), number, full=False)
    assert sorted(seen[:3]) == sorted(seen[3:]) == [0, 1, 2]


def test_a_batch_points_from_every_voxel_to_the_middle_of_its_object(tmp_path):
    data = source(tmp_path)
    batch = Batches(data, tiny(supervised_share=1), 0)[0]
    assert batch.targets.shape == (6, 4) and len(batch.rows) == len(batch.coords)
    middles = batch.coords[batch.rows, 1:] + OFFSET_UNIT * batch.offsets
    for k in range(6):
        of_object = batch.objects == k
        expected = batch.coords[batch.rows][of_object, 1:].float().mean(0)
        assert torch.allclose(middles[of_object], expected.expand(int(of_object.sum()), 3), atol=1e-3)
    half = Batches(data, tiny(), 0)[0]
    assert abs(len(half.rows) - 0.5 * len(batch.rows)) <= 1 and torch.equal(half.coords, batch.coords)


def test_two_processes_share_the_samples_of_one(tmp_path):
    data = source(tmp_path)
    whole, parts = Batches(data, tiny(), 0)[3], [Batches(data, tiny(), 0, rank, 2)[3] for rank in range(2)]
    assert torch.equal(whole.feats, torch.cat([part.feats for part in parts]))
    with pytest.raises(InputError, match="expected a multiple of 3"):
        Batches(data, tiny(), 0, 0, 3)


def test_a_sample_leaves_out_what_cannot_be_read_and_sees_as_the_sensor_does(tmp_path):
    data, seen = source(tmp_path, 1), []

    class Failing:
        def __len__(self):
            return 1

        def view(self, v, sensor=None):
            seen.append(sensor)
            if len(seen) == 1:
                raise InputError("view_00.depth.png cannot be read")
            return data.scenes[0].view(v)

    config = tiny(augment=dataclasses.replace(STILL, sensor="kinect"))
    with pytest.warns(UserWarning, match=r"left out: view_00.depth.png"):
        sample_number(TrainingSet([Failing()], data.targets), config, 0, full=False)
    assert seen[0].baseline == KINECT.baseline and seen[0].seed != seen[1].seed


def test_a_voxel_takes_the_label_of_most_of_its_points():
    assert voxel_labels(np.array([0, 0, 0, 1]), np.array([5, 7, 7, 5]), 2).tolist() == [7, 5]


def test_the_contrastive_loss_is_its_equation():
    features, labels = F.normalize(torch.randn(7, 5), dim=-1), torch.tensor([0, 0, 1, 1, 1, 2, 0])
    loss, anchors = contrastive(features, labels, 0.2)
    expected = 0.0
    for i in range(7):
        others = [j for j in range(7) if j != i]
        below = sum(np.exp(float(features[i] @ features[a]) / 0.2) for a in others)
        same = [j for j in others if labels[j] == labels[i]]
        expected -= sum(float(features[i] @ features[p]) / 0.2 - np.log(below) for p in same) / max(1, len(same))
    assert anchors == 6 and float(loss) == pytest.approx(expected, rel=1e-4)


def test_the_triplet_loss_wants_the_own_target_nearer_than_the_nearest_other():
    wanted = torch.eye(3)
    right, _ = triplet(wanted, wanted, 0.1, 0.1)
    wrong, count = triplet(wanted[[1, 0, 2]], wanted, 0.1, 0.1)
    assert right == 0 and wrong > 1 and count == 3
    said, expected = F.softmax(wanted[[1, 0, 2]] / 0.1, -1), 0.0
    for i, target in enumerate(F.softmax(wanted / 0.1, -1)):
        distance = [float((target * (target / s).log()).sum()) for s in said]
        expected += max(0.0, distance[i] - min(d for j, d in enumerate(distance) if j != i) + 0.1)
    assert float(wrong) == pytest.approx(expected, rel=1e-4)
    assert triplet(wanted[:1], wanted[:1], 0.1, 0.1)[0] == 0


def test_the_main_loss_is_equation_6(tmp_path):
    batch = Batches(source(tmp_path), tiny(), 0)[0]
    config = tiny(use_aux_loss=False, use_cls_head=False, offset_weight=0.0, object_weight=0.0)
    torch.manual_seed(0)
    encoder = MinkUNet14D(config.encoder)
    losses = Student(encoder, config)(batch, torch.zeros(0, dtype=torch.long))
    said = encoder(batch.coords, batch.feats)[batch.rows]
    expected = 1 - F.cosine_similarity(said, batch.targets[batch.objects]).mean()
    assert set(losses) == {"cosine"} and losses["cosine"].item() == pytest.approx(expected.item(), abs=1e-5)


def test_whole_objects_are_learnt_beside_voxels(tmp_path):
    data, alone = source(tmp_path), {"use_aux_loss": False, "use_cls_head": False, "offset_weight": 0.0}
    batch = Batches(data, tiny(), 0)[0]
    assert batch.owners.unique().tolist() == list(range(len(batch.targets)))  # these boxes are all that there is
    config, losses = tiny(partial_steps=30, phrase_weight=0.1, **alone), []
    for steps in (1, 40):
        encoder = distill(data, dataclasses.replace(config, partial_steps=steps), text=torch.eye(4))
        losses.append(Student(encoder, config, torch.eye(4))(batch, torch.arange(4)))
    assert set(losses[0]) == {"cosine", "objects", "phrases"}
    assert losses[1]["objects"] < min(losses[1]["cosine"], 0.5 * losses[0]["objects"])


def test_half_precision_learns_the_same_and_keeps_full_weights(tmp_path):
    batch, config = Batches(source(tmp_path), tiny(), 0)[0], tiny(use_cls_head=False, use_aux_loss=False)
    torch.manual_seed(0)
    student = Student(MinkUNet14D(config.encoder), config)
    gradients = []
    for half in (False, True):
        student.zero_grad()
        sum(student(batch, torch.zeros(0, dtype=torch.long), half).values()).backward()
        gradients.append(torch.cat([p.grad.flatten() for p in student.parameters()]))
        assert all(p.dtype == torch.float32 for p in student.parameters())
    assert F.cosine_similarity(*gradients, dim=0) > 0.98 and not torch.equal(*gradients)


def test_distillation_learns(tmp_path):
    plain = {
        "use_aux_loss": False,
        "use_cls_head": False,
        "offset_weight": 0.0,
        "object_weight": 0.0,
        "supervised_share": 1.0,
    }
    calm = dataclasses.replace(STILL, shift_max=0.4)
    config = tiny(steps=6, partial_steps=60, stem=16, planes=(16,) * 8, augment=calm, **plain)
    data = source(tmp_path)
    encoder, right = distill(data, config), []
    for number in range(5, 9):
        sample = sample_number(data, tiny(augment=STILL), number, full=False)
        with torch.no_grad():
            said = encoder(torch.from_numpy(sample.coords), torch.from_numpy(sample.colors))
        right.append((said[:, :3].argmax(1).numpy() == sample.row).mean())
    assert np.mean(right) > 0.75, right


def test_a_run_that_was_interrupted_ends_with_the_same_weights(tmp_path):
    data, config = source(tmp_path), tiny(partial_steps=10, aux_loss="triplet", phrase_weight=0.1, save_every=3)
    whole = distill(data, config, text=torch.eye(4))
    interrupted = dataclasses.replace(data, scenes=[Interrupted(scene, 15) for scene in data.scenes])
    with pytest.raises(KeyboardInterrupt):
        distill(interrupted, config, tmp_path / "out", torch.eye(4))
    assert torch.load(tmp_path / "out" / "checkpoint.pt", weights_only=True)["step"] in (3, 6, 9)
    resumed = distill(data, config, tmp_path / "out", torch.eye(4))
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    steps = [json.loads(line)["step"] for line in (tmp_path / "out" / "losses.jsonl").read_text().splitlines()]
    assert steps == list(range(12))
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["samples_per_s"] > 0


class Interrupted:
    """A scene that is interrupted at the given view of all."""

    left = 0

    def __init__(self, scene, reads):
        self.scene, Interrupted.left = scene, reads

    def __len__(self):
        return len(self.scene)

    def __getattr__(self, name):
        return getattr(self.scene, name)

    def view(self, v, sensor=None):
        Interrupted.left -= 1
        if not Interrupted.left:
            raise KeyboardInterrupt
        return self.scene.view(v, sensor)


def test_workers_make_the_same_batches(tmp_path):
    data = source(tmp_path)
    alone, helped = (distill(data, tiny(workers=workers)) for workers in (0, 2))
    for name, tensor in alone.state_dict().items():
        assert torch.equal(tensor, helped.state_dict()[name]), name


def test_validation_is_logged_and_changes_nothing(tmp_path):
    data, config = source(tmp_path), tiny(validate_every=2, dropout_rate=0.2)

    class Text:
        """Tins and boxes as axes."""

        def encode(self, phrases):
            return torch.stack([torch.eye(4)[["box", "tin"].index(phrase)] for phrase in phrases])

    semantic = evaluation(data.scenes, Text(), config)

    def validate(encoder):
        assert not encoder.training
        torch.rand(3)
        return semantic(encoder)

    watched = distill(data, config, tmp_path / "a", validate=validate)
    alone = distill(data, config, tmp_path / "b")
    lines = [json.loads(line) for line in (tmp_path / "a" / "losses.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if 0 <= line.get("val/mIoU", -1) <= 100] == [1, 3, 5]
    for name, tensor in watched.state_dict().items():
        assert torch.equal(tensor, alone.state_dict()[name]), name


@pytest.mark.parametrize("weight", [0.5, 3.0])
def test_the_offset_loss_is_the_mean_distance_of_the_middles_times_its_weight(tmp_path, weight):
    config = tiny(offset_weight=weight, use_aux_loss=False, use_cls_head=False, object_weight=0.0)
    batch = Batches(source(tmp_path), config, 0)[0]
    torch.manual_seed(0)
    student = Student(MinkUNet14D(config.encoder), config)
    decoded = torch.randn(len(batch.rows), config.planes[-1])
    features = torch.nn.functional.normalize(torch.randn(len(batch.rows), config.feat_dim), dim=-1)
    count = batch.weights.sum()
    losses = student._voxel_losses(batch, decoded, features, count)
    with torch.no_grad():
        distances = (student.encoder.offset(decoded) - batch.offsets).square().sum(1).sqrt()
    assert losses["offset"].item() == pytest.approx(weight * np.average(distances, weights=batch.weights), rel=1e-4)
    cosines = (features * batch.targets[batch.objects]).sum(1)
    assert losses["cosine"].item() == pytest.approx(1 - np.average(cosines, weights=batch.weights), rel=1e-4)
