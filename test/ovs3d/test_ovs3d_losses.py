# SPDX-License-Identifier: Apache-2.0
"""The losses of 3D-OVS against SciPy and plain NumPy."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import jensenshannon

from training.ovs3d.losses import fda_loss, js_divergence, pairwise_js, rda_loss

logits = arrays(np.float64, (5, 4), elements=st.floats(-8, 8))


def log_softmax(x):
    return torch.log_softmax(torch.from_numpy(x), dim=-1)


def divergence(p, q):
    """SciPy's, which has the root of a rounding below zero where both are the same to the last digit."""
    with np.errstate(invalid="ignore"):
        return np.nan_to_num(jensenshannon(p.exp(), q.exp(), axis=-1) ** 2)


@given(logits, logits)
def test_divergence_is_scipys(a, b):
    p, q = log_softmax(a), log_softmax(b)
    expected = divergence(p, q)
    np.testing.assert_allclose(js_divergence(p, q), expected, atol=1e-9)
    np.testing.assert_allclose(rda_loss(p, q), expected.mean(), atol=1e-9)
    assert (js_divergence(p, q) <= np.log(2) + 1e-9).all()


@given(logits)
def test_pairs(a):
    p = log_softmax(a)
    found = pairwise_js(p)
    for i in range(5):
        for j in range(5):
            np.testing.assert_allclose(found[i, j], divergence(p[i], p[j]), atol=1e-9)


def test_fda_is_what_numpy_says():
    rng = np.random.default_rng(0)
    features, p = rng.normal(size=(6, 3)), log_softmax(rng.normal(size=(6, 4)))
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    positive, negative, counts = 0.0, 0.0, [0, 0]
    for i in range(6):
        for j in range(6):
            weight = unit[i] @ unit[j] - 0.4
            term = weight * jensenshannon(p[i].exp(), p[j].exp()) ** 2
            if weight > 0:
                positive, counts[0] = positive + term, counts[0] + 1
            else:
                negative, counts[1] = negative + term, counts[1] + 1
    found = fda_loss(p, torch.from_numpy(features), shift=0.4)
    np.testing.assert_allclose(found, [positive / counts[0], negative / counts[1]], rtol=1e-6)


def test_fda_pulls_like_places_together_and_pushes_unlike_ones_apart():
    features = torch.tensor([[1.0, 0], [1, 0.01], [0, 1]])
    start = torch.tensor([[2.0, 0, 0], [0, 1, 0], [1.9, 0.1, 0]]).requires_grad_(True)
    scores = start
    for _ in range(50):
        alike, unlike = fda_loss(torch.log_softmax(scores, -1), features)
        (gradient,) = torch.autograd.grad(alike + unlike, scores)
        scores = (scores - 2 * gradient).detach().requires_grad_(True)
    before, after = (pairwise_js(torch.log_softmax(x, -1)) for x in (start, scores))
    assert after[0, 1] < before[0, 1] and after[0, 2] > before[0, 2]


def test_gradients_are_finite_at_the_edges():
    """Equal distributions, certain ones, no pair that is alike but a place with itself, none at all that is unlike."""
    for start in (torch.zeros(4, 3), torch.eye(4, 3) * 200, torch.full((4, 3), 50.0)):
        scores = start.clone().requires_grad_(True)
        p = torch.log_softmax(scores, dim=-1)
        for features in (torch.eye(4), torch.ones(4, 2), torch.zeros(4, 2)):
            alike, unlike = fda_loss(p, features)
            loss = rda_loss(p, p.roll(1, 0)) + alike + unlike
            (gradient,) = torch.autograd.grad(loss, scores, retain_graph=True)
            assert loss.isfinite() and gradient.isfinite().all()
