# SPDX-License-Identifier: Apache-2.0
"""The field: vector-matrix grids, contraction, empty cells, and rendering against what can be told by hand."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ovs3d_support import tiny, world
from torch.nn.functional import grid_sample

from training.ovs3d.bounds import carve
from training.ovs3d.field import Field, VectorMatrix, _Gather
from training.ovs3d.fit import make_field
from training.ovs3d.render import Samples, candidates, composite, march, render_colour, transmittance

BOX = torch.tensor([[-0.5, -0.5, -0.2], [0.5, 0.5, 0.8]])


def field(resolution=17, **changes) -> Field:
    torch.manual_seed(0)
    return Field(BOX, 0.1, 5.0, resolution, (6, 3, 3), (6, 3, 3), 8, 16, **changes)


def test_the_grid_is_the_trilinear_interpolation_of_all_its_knots():
    torch.manual_seed(0)
    grid = VectorMatrix((5, 3, 2), 1, (7, 9, 11))
    points = torch.rand(500, 3) * 2.4 - 1.2  # the nearest edge outside
    at = points.clamp(-1, 1)[None, :, None, None, [2, 1, 0]]
    expected = grid_sample(grid.dense()[None, None], at, align_corners=True)[0, 0, :, 0, 0]
    torch.testing.assert_close(grid(points)[:, 0], expected, atol=1e-6, rtol=1e-4)


def test_growing_keeps_the_values_and_the_parameters():
    torch.manual_seed(0)
    grid, points = VectorMatrix((5, 3, 2), 4, (7, 9, 11)), torch.rand(500, 3) * 2 - 1
    before, parameters = grid(points), list(grid.parameters())
    grid.grow((13, 17, 21))  # every old knot is one of the new ones
    assert grid.resolution == (13, 17, 21)
    torch.testing.assert_close(grid(points), before, atol=1e-6, rtol=1e-4)
    assert all(a is b for a, b in zip(grid.parameters(), parameters, strict=True))
    fresh = VectorMatrix((5, 3, 2), 4, (7, 9, 11))
    fresh.load_state_dict(grid.state_dict())
    assert torch.equal(fresh(points), grid(points))


def test_the_gradient_of_gathering():
    torch.manual_seed(0)
    table = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    rows, shares = torch.randint(6, (10, 4)), torch.rand(10, 4, dtype=torch.float64)
    torch.autograd.gradcheck(lambda t: _Gather.apply(t, rows, shares), table)


@settings(deadline=None, max_examples=50)
@given(point=st.tuples(*[st.floats(-50, 50)] * 3), inside=st.floats(0.3, 0.9))
def test_contraction_keeps_all_space_and_turns_back(point, inside):
    box = field(9, inside=inside)
    point = torch.tensor([point])
    x = box.normalise(point)
    assert (x.abs() <= 1).all()
    within = ((point >= BOX[0]) & (point <= BOX[1])).all()
    assert within == (x.abs() <= inside + 1e-6).all() or (x.abs() - inside).abs().min() < 1e-3
    torch.testing.assert_close(box.unnormalise(x), point, atol=1e-3, rtol=1e-2)


def test_no_point_that_stops_light_is_in_a_cell_marked_empty():
    blob = field(24, shift=-10.0)
    with torch.no_grad():
        for part in (*blob.density_grid.planes, *blob.density_grid.lines):
            part.zero_()
        blob.density_grid.planes[0][5:9, 10:12] = 2.0
        blob.density_grid.lines[0][12:15] = 2.0
    blob.find_occupied(0.05)
    points = torch.rand(50000, 3) - torch.tensor([0.5, 0.5, 0.2])
    stops = 1 - torch.exp(-blob.density(points) * blob.cell) > 0.05
    assert stops.sum() > 100
    assert blob.occupied.float().mean() < 0.1
    assert blob.is_occupied(points)[stops].all()


def test_a_slab_takes_what_beer_and_lambert_say():
    slab = field(33)
    slab.density = lambda points: 4.0 * ((points[:, 2] > 0.1) & (points[:, 2] < 0.4)).float()
    down = torch.tensor([[0.0, 0.0, -1.0], [0.0, 0.6, -0.8]])
    samples = march(slab, torch.tensor([[0.0, 0.0, 1.0]]).expand(2, 3), down)
    _, opacity = render_colour(slab, samples, down)
    expected = 1 - torch.exp(-4.0 * torch.tensor([0.3, 0.3 / 0.8]))
    torch.testing.assert_close(opacity[:, 0], expected, atol=0.03, rtol=0)
    assert (samples.ray.diff() >= 0).all()


def test_transmittance_and_compositing_by_hand():
    optical, ray = torch.tensor([0.5, 1.0, 30.0, 0.2, 0.1]), torch.tensor([0, 0, 0, 2, 2])
    found = transmittance(optical, ray)
    torch.testing.assert_close(found, torch.exp(-torch.tensor([0.0, 0.5, 1.5, 0.0, 0.2])))
    samples = Samples(torch.zeros(5, 3), found, ray, torch.zeros(5))
    summed = composite(samples, torch.ones(5, 2), 4)
    torch.testing.assert_close(summed[:, 0], torch.tensor([found[:3].sum(), 0, found[3:].sum(), 0]))


def test_empty_cells_cost_no_samples():
    empty = field()
    origins, directions = torch.tensor([[0.0, 0.0, 2.0]]), torch.tensor([[0.0, 0.0, -1.0]])
    everything = len(candidates(empty, origins, directions)[0])
    empty.occupied[:, :, empty.occupied.shape[2] // 2 :] = False  # the upper half
    assert 0 < len(candidates(empty, origins, directions)[0]) < 0.8 * everything
    empty.occupied[:] = False
    samples = march(empty, origins, directions)
    assert len(samples.ray) == 0
    colour, opacity = render_colour(empty, samples, directions)
    assert opacity.item() == 0
    torch.testing.assert_close(colour[0], torch.sigmoid(empty.background))


def test_depth_carves_the_air_and_leaves_the_surfaces():
    views = world(8, hold_out=0)
    carved = make_field(views, tiny(resolution=49, final_resolution=49))
    carve(carved, views)
    carved.find_occupied(0.0)
    surface = torch.tensor(views.surface(0, 2.0), dtype=torch.float32)
    assert carved.is_occupied(surface).all()
    air = torch.rand(500, 3) * torch.tensor([0.1, 0.1, 0.08]) + torch.tensor([-0.05, -0.05, 0.3])
    assert not carved.is_occupied(air).any()


@pytest.mark.parametrize("depth", [True, False])
def test_rays_reach_past_what_is_seen(depth):
    views = world(8, depth=depth)
    near, far = make_field(views, tiny()).range.tolist()
    assert 0 < near < 0.6 and far > 4
