# SPDX-License-Identifier: Apache-2.0
"""Instances by clustering: as scikit-learn clusters every point by itself, of objects that features tell apart."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.cluster import DBSCAN
from sklearn.metrics import adjusted_rand_score

from training.evaluate.instances import Clustering, cluster, instances_of
from training.evaluate.protocol import FeatureCloud


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def objects(rng, noise, points=60, channels=32):
    """Points (M,3) of five objects 10 cm apart, features (M,C), and the object of each; 0 and 1 look alike."""
    truth = np.repeat(np.arange(5), points)
    kinds = unit(rng.normal(size=(5, channels)))
    kinds[1] = kinds[0]
    middles = np.column_stack([0.1 * np.arange(5), np.zeros((5, 2))])
    features = unit(kinds[truth] + noise * rng.normal(size=(len(truth), channels)) / np.sqrt(channels))
    return middles[truth] + rng.uniform(-0.02, 0.02, (len(truth), 3)), features.astype(np.float32), truth


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("copies", [1, 7])
def test_dbscan_is_that_of_scikit_learn_on_every_point(metric, copies):
    """Rows that are the same, as those of one voxel, are clustered once and counted as often as they are there."""
    points, features, _ = objects(np.random.default_rng(0), noise=0.2, points=20)
    points, features = (np.repeat(rows, copies, axis=0) for rows in (points, features))
    eps = {"euclidean": 0.25, "cosine": 0.03}[metric]
    found = cluster(points, features, Clustering(eps=eps, min_samples=5, metric=metric))
    expected = DBSCAN(eps=eps, min_samples=5, metric=metric).fit_predict(features.astype(np.float64))
    assert expected.max() > 0 and (copies > 1 or (expected < 0).any())
    np.testing.assert_array_equal(found > 0, expected >= 0)
    assert adjusted_rand_score(found, expected) == 1


@pytest.mark.parametrize("config", [Clustering(eps=0.02), Clustering("hdbscan", eps=0.02)], ids=lambda c: c.method)
def test_features_tell_objects_apart_and_coordinates_those_that_look_alike(config):
    points, features, truth = objects(np.random.default_rng(1), noise=0.05)
    found = cluster(points, features, config)
    assert adjusted_rand_score(found, np.where(truth == 1, 0, truth)) > 0.99
    with_places = cluster(points, features, Clustering(config.method, eps=0.02, metres=0.02))
    assert adjusted_rand_score(with_places, truth) > 0.99


def test_metres_are_as_far_as_eps():
    """Along a line of points 1 cm apart with one feature, the line holds together from 1 cm on."""
    points = np.column_stack([0.01 * np.arange(10), np.zeros((10, 2))])
    features = np.tile(unit(np.ones((1, 8))), (10, 1)).astype(np.float32)
    for metric in ("euclidean", "cosine"):
        assert cluster(points, features, Clustering(metric=metric, metres=0.0101)).tolist() == [1] * 10
        assert cluster(points, features, Clustering(metric=metric, metres=0.0099)).tolist() == [0] * 10


@pytest.mark.parametrize("metres", [None, 0.02])
def test_a_predictions_rows_are_clustered_once_and_their_points_get_the_instance(metres):
    points, features, truth = objects(np.random.default_rng(2), noise=0.02)
    said = FeatureCloud(np.arange(len(points)), torch.from_numpy(features), None)
    config = Clustering(eps=0.02, metres=metres)
    by_point = instances_of(said, SimpleNamespace(points=points), config)
    np.testing.assert_array_equal(by_point, cluster(points, features, config))
    # The same by objects, of which one has no points and some points no object.
    kinds = torch.from_numpy(np.stack([features[truth == k][0] for k in (0, 2, 3, 4)] + [-features[0]]))
    row = np.array([0, -1, 1, 2, 3])[truth]
    by_object = instances_of(FeatureCloud(row, kinds, None), SimpleNamespace(points=points), config)
    assert (by_object[row < 0] == 0).all() and adjusted_rand_score(by_object, row) == 1


def test_nothing_is_clustered_to_nothing():
    for config in (Clustering(), Clustering("hdbscan"), Clustering(metres=0.02)):
        assert cluster(np.zeros((0, 3)), np.zeros((0, 8)), config).shape == (0,)
    assert cluster(np.zeros((3, 3)), np.eye(3, 8), Clustering("hdbscan")).tolist() == [0, 0, 0]
    said = FeatureCloud(np.full(4, -1), torch.zeros(0, 8), None)
    assert instances_of(said, SimpleNamespace(points=np.zeros((4, 3)))).tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"method": "kmeans"}, "method"),
        ({"metric": "l1"}, "metric"),
        ({"eps": 0.0}, "eps"),
        ({"metres": 0.0}, "metres"),
        ({"min_samples": 0}, "min_samples"),
        ({"min_cluster_size": 1}, "min_cluster_size"),
    ],
)
def test_a_clustering_refuses_what_it_cannot_do(options, what):
    with pytest.raises(ValueError, match=f"{what} .*expected"):
        Clustering(**options)
