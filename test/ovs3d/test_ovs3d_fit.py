# SPDX-License-Identifier: Apache-2.0
"""Reconstruction: views that were not fitted, a fit that was stopped, and what is said of wrong poses."""

import json
import warnings

import numpy as np
import pytest
import torch
from ovs3d_support import around, camera, picture, tiny, world

from training.ovs3d import fit
from training.ovs3d.fit import reconstruct, render_rays, validate
from training.ovs3d.views import gather
from training.runs.checkpoint import CheckpointError


def test_views_that_were_held_out_are_rendered():
    views = world(16)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        field = reconstruct(views, tiny(steps=80))
    found = validate(field, views)
    assert found["psnr"] > 20
    v = int(np.flatnonzero(views.held_out)[0])
    _, distance = render_rays(field, *views.rays(v))
    truth = views.depth[v].ravel() * views.along(v)
    near = (truth > 0) & (truth < 1.5)
    assert np.median(abs(distance.numpy() - truth)[near]) < 0.03


class Stopped(Exception):
    pass


def test_a_fit_that_was_stopped_ends_with_the_same_weights(tmp_path, monkeypatch):
    views, config = world(8), tiny(steps=44)
    whole = reconstruct(views, config, tmp_path / "whole")
    step_of = fit.one_step

    def killed(*args):
        if args[-1] == 33:  # after the checkpoint of 20 steps and the growth at 30
            raise Stopped
        return step_of(*args)

    monkeypatch.setattr(fit, "one_step", killed)
    with pytest.raises(Stopped):
        reconstruct(views, config, tmp_path / "stopped")
    monkeypatch.undo()
    again = reconstruct(views, config, tmp_path / "stopped")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    logs = [(tmp_path / name / "losses.jsonl").read_text().splitlines() for name in ("whole", "stopped")]
    strip = [[{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in log] for log in logs]
    assert strip[0] == strip[1]
    with pytest.raises(CheckpointError, match="grid_lr"):
        reconstruct(views, tiny(steps=44, grid_lr=0.01), tmp_path / "stopped")


def test_wrong_poses_are_told_loudly():
    poses = around(8)
    seen = [
        (f"{k}.png", picture(camera(), pose)[0], camera(), wrong, None)
        for k, (pose, wrong) in enumerate(zip(poses, [*poses[3:], *poses[:3]], strict=True))
    ]
    with pytest.warns(UserWarning, match=r"held-out views come out at .* check the poses"):
        reconstruct(gather(seen, 4), tiny())
