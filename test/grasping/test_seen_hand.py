# SPDX-License-Identifier: Apache-2.0
"""The surface of a hand, from its profile and from a mesh; test_workcell_extrinsics.py finds it in pictures."""

import numpy as np
import pytest

from dropclip_ros.base.errors import DropclipError
from dropclip_ros.grasping.grippers import GRIPPERS
from dropclip_ros.grasping.seen_hand import hand_surface, mesh_surface


@pytest.mark.parametrize("name", sorted(GRIPPERS))
@pytest.mark.parametrize("share", [0.1, 1.0])
def test_a_hands_surface_ends_at_its_tips(name, share):
    gripper = GRIPPERS[name]
    width = share * gripper.max_width
    points, normals = hand_surface(gripper, width)
    assert points.shape == normals.shape and np.allclose(np.linalg.norm(normals, axis=1), 1)
    tips = gripper.tool_from_tip(np.array([width]))[0, :3, 3] @ np.array(gripper.approach)
    assert (points @ np.array(gripper.approach)).max() == pytest.approx(tips)
    fingers = points[points @ np.array(gripper.approach) > tips - gripper.finger_depth / 2]
    between = np.abs(fingers @ np.array(gripper.closing)).min()
    assert between == pytest.approx(width / 2)  # nothing is between them


def test_a_mesh_is_sampled_and_what_is_none_is_refused(tmp_path):
    import open3d

    box = open3d.geometry.TriangleMesh.create_box(0.1, 0.06, 0.2)
    box.compute_triangle_normals()
    open3d.io.write_triangle_mesh(str(tmp_path / "box.stl"), box)
    points, normals = mesh_surface(str(tmp_path / "box.stl"))
    on = np.isclose(points, 0, atol=1e-6) | np.isclose(points, (0.1, 0.06, 0.2), atol=1e-6)
    assert len(points) > 1000 and on.any(axis=1).all() and points.shape == normals.shape
    (tmp_path / "none.stl").write_text("solid nothing")
    with pytest.raises(DropclipError, match="BAD_REQUEST"):
        mesh_surface(str(tmp_path / "none.stl"))


def test_of_a_hand_that_is_what_is_in_the_picture_faces_it_and_is_not_hidden():
    """A plate in two layers that fills the picture and more: the front one is seen, where the picture is."""
    from dropclip_ros.grasping.seen_hand import _visible
    from dropclip_ros.vision.geometry import Intrinsics

    side = np.linspace(-0.5, 0.5, 101)
    x, y = (grid.ravel() for grid in np.meshgrid(side, side))
    front, back = (np.column_stack([x, y, np.full_like(x, z)]) for z in (1.0, 1.1))
    towards = np.tile([0.0, 0.0, -1.0], (len(front), 1))
    camera = Intrinsics(100.0, 100.0, 20.0, 15.0, 40, 30)  # sees 0.4 by 0.3 m of the front layer
    seen = _visible((np.concatenate([front, back]), np.concatenate([towards, towards])), camera, np.eye(4))
    assert (seen[:, 2] == 1.0).all() and len(seen) == pytest.approx(39 * 29, abs=80)
    assert np.abs(seen[:, 0]).max() <= 0.2 and np.abs(seen[:, 1]).max() <= 0.15
    assert not len(_visible((front, -towards), camera, np.eye(4)))  # turned away
    assert not len(_visible((front * [1, 1, -1], -towards), camera, np.eye(4)))  # behind the camera
