# SPDX-License-Identifier: Apache-2.0
"""Inference on feature clouds: scores, objects, classes, instances and boxes."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dropclip_ros.grounding.instances import (
    ObjectConfig,
    answering_instances,
    instance_labels,
    oriented_box,
    pool_features,
)
from dropclip_ros.grounding.scoring import referring_scores, rival_threshold, semantic_labels, similarities
from dropclip_ros.grounding.surface import _thinnest


def block(corner, cells=(4, 4, 4), edge=0.005):
    """Centres (n,3) of a solid block of voxels."""
    return (np.indices(cells).reshape(3, -1).T + 0.5) * edge + corner


EYE = np.array([0.0, -0.5, 0.8])


def instances(centers, features, **settings):
    """Labels under these settings, all voxels of one colour."""
    return instance_labels(centers, np.full(centers.shape, 0.5), features, EYE, ObjectConfig(**settings))


def surface(low, high, edge=0.005):
    """Centres (n,3) of the voxels of a box's top and front, which the eye sees."""
    cells = np.round((np.array(high) - low) / edge).astype(int)
    index = np.indices(cells).reshape(3, -1).T
    seen = (index[:, 1] == 0) | (index[:, 2] == cells[2] - 1)
    return (index[seen] + 0.5) * edge + low


def axis(i, channels=8):
    return torch.eye(channels)[i]


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**31), st.floats(1e-4, 1.0), st.floats(1e-9, 1e3))
def test_normals_in_closed_form_are_those_of_lapack(seed, thickness, scale):
    rng = np.random.default_rng(seed)
    rotations = np.linalg.qr(rng.normal(size=(20, 3, 3)))[0]
    variances = np.sort(rng.uniform(0.5, 1, (20, 3)), axis=1) * (0.3 * thickness, 1, 1)
    covariance = scale * np.einsum("nij,nj,nkj->nik", rotations, variances, rotations)
    found = _thinnest(covariance)
    np.testing.assert_allclose(np.abs((found * rotations[:, :, 0]).sum(axis=1)), 1, atol=1e-6)


@pytest.mark.parametrize("covariance", [np.zeros((3, 3)), np.eye(3), np.diag([1.0, 0, 0]), np.ones((3, 3))])
def test_a_normal_of_specks_and_lines_is_some_unit_vector(covariance):
    assert np.linalg.norm(_thinnest(covariance[None])[0]) == pytest.approx(1)


def test_scores_are_the_papers_softmax_with_a_null_class():
    features = torch.nn.functional.normalize(torch.randn(5, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    positive, negatives, temperature, null = axis(0), torch.stack([axis(1), axis(2)]), 0.1, 0.3
    expected = [
        np.exp(f[0] / temperature) / (np.exp(f[:3] / temperature).sum() + np.exp(null / temperature))
        for f in features.double().numpy()
    ]
    similarity = similarities(features, torch.cat([positive[None], negatives]))
    scores = referring_scores(similarity, temperature, null)
    np.testing.assert_allclose(scores.numpy(), expected, rtol=1e-5)


def test_nothing_similar_means_nothing_scores_high():
    assert referring_scores(similarities(axis(3)[None], torch.eye(8)[:2]), 0.05, 0.3).item() < 0.01


def test_similarity_is_taken_above_the_average_objects():
    mean = torch.tensor([0.2] + 7 * [0.0])
    assert similarities(axis(0)[None], axis(0)[None], mean).item() == pytest.approx(0.8)
    assert similarities(axis(1)[None], axis(0)[None], mean).item() == pytest.approx(-0.2)


@settings(deadline=None, max_examples=30)
@given(st.floats(-0.9, 0.9), st.floats(0.01, 0.9))
def test_a_negative_never_raises_a_score(cosine, other):
    feature = torch.tensor([[cosine, other, np.sqrt(max(0, 1 - cosine**2 - other**2))]]).float()
    alone = referring_scores(similarities(feature, torch.eye(3)[:1]), 0.1, 0.2)
    beside = referring_scores(similarities(feature, torch.eye(3)[:2]), 0.1, 0.2)
    assert beside.item() < alone.item()


def test_an_answer_is_whole_instances_the_best_first_and_of_equal_ones_the_larger():
    assert answering_instances(np.array([0.7, 0.9, 0.2, 0.9]), 0.5, 0.0) == [2, 4, 1]
    assert answering_instances(np.array([0.7, 0.9]), 0.95, 0.5) == []
    assert answering_instances(np.zeros(0), 0.5, 0.5) == []


def test_a_rival_must_come_near_to_the_best():
    scores = np.array([0.1, 0.6, 0.9])
    assert 0.6 < rival_threshold(scores, 0.5, 0.5) < 0.9
    assert rival_threshold(scores, 0.5, 0.0) == pytest.approx(0.5)
    assert rival_threshold(scores, 0.95, 0.5) == 0.95
    assert rival_threshold(np.ones(3), 0.5, 1.0) < 1  # the best itself always passes


def test_semantic_labels_leave_what_fits_no_class():
    features = torch.stack([axis(0), axis(1), axis(5)])
    similarity = similarities(features, torch.stack([axis(1), axis(0)]))
    assert semantic_labels(similarity, 0.5).tolist() == [2, 1, 0]


def test_touching_objects_part_by_feature_and_far_twins_by_distance():
    centers = np.concatenate([block((0, 0, 0)), block((0.02, 0, 0)), block((0.3, 0, 0), (3, 3, 3))])
    features = torch.cat([axis(0).repeat(64, 1), axis(1).repeat(64, 1), axis(0).repeat(27, 1)])
    labels = instances(centers, features)
    parts = [set(labels[:64]), set(labels[64:128]), set(labels[128:])]
    assert all(len(part) == 1 for part in parts) and len(set.union(*parts)) == 3
    assert parts[2] == {3}  # largest first


def test_a_fragment_joins_what_is_near_and_a_small_object_stays():
    centers = np.concatenate([block((0, 0, 0)), block((0.02, 0, 0), (1, 2, 2)), block((0.3, 0, 0), (2, 2, 3))])
    features = torch.cat([axis(0).repeat(64, 1), axis(1).repeat(4, 1), axis(2).repeat(12, 1)])
    labels = instances(centers, features, fragment=20)
    assert set(labels[:68]) == {1} and set(labels[68:]) == {2}
    labels = instances(centers, features, fragment=20, min_voxels=15)
    assert set(labels[68:]) == {0}  # a speck is no object
    assert len(pool_features(features, labels)) == 1


@pytest.mark.parametrize("x, y", [(0.0, 0.0), (0.015, -0.2), (-0.31, 0.12)])
def test_boxes_part_where_they_meet_in_a_concave_edge(x, y):
    """Wherever the grid of patches lies, and though features and colours tell nothing."""
    low = surface((x, y, 0.0), (x + 0.16, y + 0.14, 0.05))
    high = surface((x + 0.04, y + 0.035, 0.05), (x + 0.12, y + 0.105, 0.13))
    centers = np.concatenate([low, high])
    labels = instances(centers, axis(0).repeat(len(centers), 1))
    first, second = labels[: len(low)], labels[len(low) :]
    assert np.mean(first == np.bincount(first).argmax()) > 0.9 and np.mean(second == np.bincount(second).argmax()) > 0.9
    assert np.bincount(first).argmax() != np.bincount(second).argmax()
    assert len(set(instances(low, axis(0).repeat(len(low), 1)))) == 1


def test_no_voxels_have_no_instances():
    assert len(instances(np.zeros((0, 3)), torch.zeros(0, 8))) == 0


def test_pooling_averages_within_instances():
    features = torch.stack([axis(0), axis(1), axis(2)])
    pooled = pool_features(features, np.array([1, 1, 2]))
    torch.testing.assert_close(pooled, torch.stack([(axis(0) + axis(1)) / 2**0.5, axis(2)]))


@settings(deadline=None, max_examples=30)
@given(st.floats(-3, 3), st.floats(-1, 1), st.integers(0, 1000))
def test_box_holds_its_points_and_stands_on_the_table(yaw, tilt, seed):
    rng = np.random.default_rng(seed)
    points = rng.uniform(-1, 1, (50, 3)) * (0.1, 0.03, 0.05)
    frame = np.eye(4)
    c, s, ct, st_ = np.cos(yaw), np.sin(yaw), np.cos(tilt), np.sin(tilt)
    frame[:3, :3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, ct, -st_], [0, st_, ct]])
    frame[:3, 3] = rng.uniform(-1, 1, 3)
    seen = points @ frame[:3, :3].T + frame[:3, 3]
    pose, size = oriented_box(seen, frame)
    inside = (seen - pose[:3, 3]) @ pose[:3, :3]
    assert (np.abs(inside) <= size / 2 + 1e-9).all()
    np.testing.assert_allclose(pose[:3, 2], frame[:3, 2], atol=1e-9)
    np.testing.assert_allclose(np.linalg.det(pose[:3, :3]), 1, atol=1e-9)
    assert size[0] >= size[1] * 0.9  # x follows the long side


NONSENSE = [("gap", 0.0), ("min_voxels", 0), ("fragment", 0), ("near", -1.0), ("concave", -1.0), ("rival", 2.0)]


@pytest.mark.parametrize("field, value", NONSENSE)
def test_nonsense_configuration_is_named(field, value):
    with pytest.raises(ValueError, match=field):
        ObjectConfig(**{field: value})


def test_middles_that_lie_apart_part_what_looks_alike():
    centers = np.stack(np.meshgrid(np.arange(40), np.arange(10), [0], indexing="ij"), -1).reshape(-1, 3) * 0.005
    features, colors = torch.ones(len(centers), 1), np.full(centers.shape, 0.5)
    left = centers[:, 0] < 0.0999
    middles = np.where(left[:, None], centers[left].mean(0), centers[~left].mean(0))
    args = (colors, features, EYE, ObjectConfig())
    assert instance_labels(centers, *args).max() == 1
    found = instance_labels(centers, *args, middles)
    assert found.max() == 2
    assert (found[left] == found[0]).mean() > 0.9 and (found[~left] == found[-1]).mean() > 0.9


def seen_box(x, y, depth=0.1, height=0.12, edge=0.005):
    """Centres of the front and the top of a box over x (2,), whose front is at y: what EYE sees of it."""
    across = np.arange(x[0], x[1], edge) + edge / 2
    up, back = np.arange(0, height, edge) + edge / 2, np.arange(y, y + depth, edge) + edge / 2
    front = np.stack(np.meshgrid(across, [y], up, indexing="ij"), -1).reshape(-1, 3)
    return np.concatenate([front, np.stack(np.meshgrid(across, back, [height], indexing="ij"), -1).reshape(-1, 3)])


@pytest.mark.parametrize("hides", [True, False])
def test_halves_are_one_thing_where_what_parts_them_hides_the_rest(hides):
    """A box behind a thinner one, or two boxes with another behind the gap."""
    left, right = seen_box((-0.14, -0.03), 0.1), seen_box((0.03, 0.14), 0.1)
    other = seen_box((-0.05, 0.05), 0.0 if hides else 0.3, 0.03, 0.2)
    centers = np.concatenate([left, right, other]).astype(np.float32)
    sizes = [len(left), len(right), len(other)]
    features, colors = torch.eye(2)[[0, 0, 1]], np.array([[0.8, 0.2, 0.2], [0.8, 0.2, 0.2], [0.2, 0.3, 0.8]])
    shift = 0.03 if hides else 0.09  # what the encoder makes of the halves' middles
    middles = np.array([[-shift, 0.15, 0.06], [shift, 0.15, 0.06], [0, 0.02 if hides else 0.32, 0.1]])
    features, colors, middles = (np.repeat(of, sizes, axis=0) for of in (features, colors, middles))
    args = centers, colors, torch.as_tensor(features), np.array([0.0, -0.8, 0.4])
    labels = instance_labels(*args, ObjectConfig(), middles)
    assert labels.max() == (2 if hides else 3) and (labels > 0).all()
    assert (labels[0] == labels[len(left)]) == hides
    assert instance_labels(*args, ObjectConfig(pieces=False), middles).max() == 3


@pytest.mark.parametrize(("fragment", "count"), [(12, 2), (13, 1), (50, 1)])
def test_a_piece_is_small_under_fragment_voxels_and_then_joins_what_is_near(fragment, count):
    large, small = block((0, 0, 0.02), (6, 6, 4)), block((0.040, 0, 0.02), (2, 3, 2))
    features = torch.cat([axis(0).expand(len(large), -1), axis(1).expand(len(small), -1)])
    labels = instances(np.concatenate([large, small]), features, fragment=fragment)
    assert labels.max() == count and (labels[: len(large)] == 1).all() and (labels[len(large) :] == count).all()


@pytest.mark.parametrize(("away", "joins"), [(0.005, True), (0.015, True), (0.025, False)])
def test_a_small_piece_joins_the_nearest_large_one_that_is_near_or_none(away, joins):
    one, other = block((0, 0, 0.02), (6, 6, 4)), block((0.2, 0, 0.02), (7, 6, 4))
    small = block((0.030 + away - 0.005, 0, 0.02), (2, 3, 2))
    centers = np.concatenate([one, other, small])
    features = torch.cat([axis(k).expand(len(part), -1) for k, part in enumerate((one, other, small))])
    labels = instances(centers, features, fragment=50, near=0.02)
    assert set(labels[: len(one)]) == {2} and set(labels[len(one) : -len(small)]) == {1}  # by their sizes
    assert set(labels[-len(small) :]) == ({2} if joins else {3})


def test_pieces_that_are_all_small_stay_themselves():
    parts = [block((0, 0, 0.02), (3, 3, 3)), block((0.030, 0, 0.02), (2, 3, 3))]
    features = torch.cat([axis(k).expand(len(part), -1) for k, part in enumerate(parts)])
    labels = instances(np.concatenate(parts), features, fragment=50)
    assert (labels > 0).all() and labels.max() >= 2
