# SPDX-License-Identifier: Apache-2.0
"""Posed images from where they lie: MV-TOD scenes, LLFF, nerfstudio and COLMAP's text files.

Our pixels have their middles at whole numbers (ROS), all of the others at halves; our cameras are optical frames.
"""

from __future__ import annotations

from dropclip_ros.geometry import Intrinsics
from training.mvtod.scenes import Scene
from training.ovs3d.views import PosedViews, gather, shrunk, shrunk_depth


def of_scene(scene: Scene, width: int | None = None, every: int = 1, hold_out: int = 8) -> PosedViews:
    """Every `every`-th view of a generated scene, `width` pixels wide, with depth; each `hold_out`-th held out.

    Raises MvtodError where a view cannot be read, Ovs3dError where they make no set.
    """
    views = []
    for v in range(0, len(scene), every):
        view = scene.view(v)
        image = shrunk(view.rgb, width)
        height, wide = image.shape[:2]
        (fx, _, cx), (_, fy, cy), _ = view.intrinsics
        camera = Intrinsics(fx, fy, cx, cy, view.rgb.shape[1], view.rgb.shape[0]).scaled_to(wide, height)
        depth = shrunk_depth(view.depth, wide, height)
        views.append((f"{scene.name}/view_{v:02d}", image, camera, view.world_from_camera, depth))
    return gather(views, hold_out)
