# SPDX-License-Identifier: Apache-2.0
"""The command: from a folder of posed images to pictures, and one sentence for what it cannot do."""

import numpy as np
import pytest
import torch
from ovs3d_support import tiny, world, write_nerfstudio
from PIL import Image

from training.ovs3d.cli import main
from training.ovs3d.config import SemanticConfig, read_config
from training.ovs3d.fit import make_field
from training.ovs3d.pictures import around, from_place, write_pictures, write_turntable
from training.ovs3d.semantic import Segmentation, SemanticBranch
from training.runs.recipes import write_config


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """A scene and the folder of its fit."""
    root = tmp_path_factory.mktemp("ovs3d")
    write_nerfstudio(root / "scene", world(8, depth=False))
    write_config(root / "tiny.yaml", tiny(steps=300, hold_out=0))
    main(
        [
            "fit",
            "--scene",
            str(root / "scene"),
            "--out",
            str(root / "out"),
            "--config",
            str(root / "tiny.yaml"),
            "--steps",
            "30",
            "--device",
            "cpu",
        ]
    )
    return root


def test_views_and_a_turntable_are_drawn(fitted):
    out = fitted / "out"
    assert read_config(out / "config.yaml") == tiny(steps=30, hold_out=0)
    main(["render", "--out", str(out), "--views", "3", "--device", "cpu"])
    image = np.asarray(Image.open(out / "pictures/view_03.rgb.png"))
    assert image.shape == (30, 40, 3) and image.std() > 5
    assert Image.open(out / "pictures/view_03.depth.png").size == (40, 30)
    main(["render", "--out", str(out), "--place", "0.6", "0.6", "0.7", "--device", "cpu"])
    assert (out / "pictures/place.rgb.png").exists()
    main(["render", "--out", str(out), "--turntable", "--frames", "3", "--device", "cpu"])
    assert Image.open(out / "pictures/turntable.gif").n_frames == 3


def test_classes_are_drawn_over_the_colours(tmp_path):
    torch.manual_seed(0)
    views = world(8)
    made = make_field(views, tiny()).eval()
    config = SemanticConfig(resolution=9, feature_ranks=(2, 1, 1), selection_ranks=(2, 1, 1), feature_channels=4)
    found = Segmentation(made, SemanticBranch(8, 6, 3, config), ["red box", "table"], torch.randn(2, 6), 0.2)
    write_pictures(tmp_path, "view", made, found, views, 0)
    assert {path.name for path in tmp_path.iterdir()} == {
        f"view.{what}.png" for what in ("rgb", "depth", "classes", "relevancy.red_box", "relevancy.table")
    }
    write_turntable(tmp_path / "turn.gif", made, found, views, 2)
    assert Image.open(tmp_path / "turn.gif").size == (80, 30)


def test_what_cannot_be_done_is_one_sentence(fitted, tmp_path, capsys):
    out = str(fitted / "out")
    fit = ["fit", "--scene", str(fitted / "scene"), "--out", out, "--config", str(fitted / "tiny.yaml")]
    for args, told in [
        (["fit", "--scene", str(tmp_path), "--out", str(tmp_path / "x")], "no scene there"),
        ([*fit, "--grid-lr", "0"], "grid_lr 0.0: expected more than 0"),
        (["fit", "--scene", "a", "--out", "b", "--config", str(tmp_path / "no.yaml")], "cannot read"),
        ([*fit, "--steps", "40"], "was made with steps 30, asked is 40"),
        ([*fit, "--steps", "30", "--classes", "mug"], "only one class"),
        (["render", "--out", str(tmp_path)], "holds no fit"),
        (["render", "--out", out, "--views", "99"], "view 99: there are 8"),
        (["export", "--out", out], "fit it with --classes"),
    ]:
        with pytest.raises(SystemExit) as ended:
            main(args)
        message = capsys.readouterr().err
        assert ended.value.code == 2 and told in message and "Traceback" not in message, args


def test_the_turntable_looks_at_the_middle_with_the_sky_above():
    views = world(8)
    made = make_field(views, tiny())
    centre = made.bounds.mean(0).numpy()
    for pose in [*around(made, views, 5), from_place(made, views, (0.0, 0.0, 2.0))]:
        there = np.linalg.inv(pose) @ [*centre, 1]
        np.testing.assert_allclose(there[:2], 0, atol=1e-6)
        assert there[2] > 0 and np.linalg.det(pose[:3, :3]) == pytest.approx(1)
        assert pose[2, 1] < 1e-6  # the image's down is not up in the world
