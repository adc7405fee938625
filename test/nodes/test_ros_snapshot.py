# SPDX-License-Identifier: Apache-2.0
"""`dropclip check-extrinsics --ros` over real DDS: frame and TF of a camera that is 20 mm from where TF says."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from ros_support import OPTICAL_FRAME, FakeCamera, ros  # noqa: F401

from dropclip_ros.vision.geometry import Intrinsics, RgbdFrame

ROOT = Path(__file__).resolve().parents[2]
CAMERA = Intrinsics(300.0, 300.0, 159.5, 119.5, 320, 240)


def block() -> RgbdFrame:
    """A block of 0.10 x 0.06 x 0.08 m before a wall, seen by rays: its corner is towards the camera."""
    v, u = np.mgrid[: CAMERA.height, : CAMERA.width]
    rays = np.stack([(u - CAMERA.cx) / CAMERA.fx, (v - CAMERA.cy) / CAMERA.fy, np.ones(u.shape)], axis=-1)
    low, high = np.array([-0.05, -0.03, -0.04]), np.array([0.05, 0.03, 0.04])
    start, way = -PLACE[:3, :3].T @ PLACE[:3, 3], rays @ PLACE[:3, :3]
    with np.errstate(divide="ignore"):
        sides = np.sort([(low - start) / way, (high - start) / way], axis=0)
    enter, leave = sides[0].max(axis=-1), sides[1].min(axis=-1)
    depth = np.where(enter < leave, enter, 0.9).astype(np.float32)
    return RgbdFrame(np.full((*depth.shape, 3), 120, np.uint8), depth, CAMERA)


def turned(*angles: float) -> np.ndarray:
    from scipy.spatial.transform import Rotation

    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler("xyz", angles).as_matrix()
    return pose


PLACE = turned(0.6, 0.5, 0.3)  # camera_from_block
PLACE[:3, 3] = 0.02, -0.01, 0.5


def test_the_newest_frame_is_compared_with_tf(ros, tmp_path):
    import open3d

    mesh = open3d.geometry.TriangleMesh.create_box(0.10, 0.06, 0.08).translate((-0.05, -0.03, -0.04))
    mesh.compute_triangle_normals()
    open3d.io.write_triangle_mesh(str(tmp_path / "block.stl"), mesh)
    camera, frame = FakeCamera(ros.node), block()
    told = PLACE.copy()
    told[:3, 3] += (0.012, -0.016, 0.0)  # 20 mm

    def publish() -> None:
        header = camera.send(camera.messages(frame))
        camera.send_transform(header.stamp, OPTICAL_FRAME, "block", told)
        camera.send_transform(header.stamp, "world", OPTICAL_FRAME, np.eye(4))

    timer = ros.node.create_timer(0.2, publish)
    words = ["--ros", "world", "block", "--mesh", str(tmp_path / "block.stl"), "--out", str(tmp_path / "out.json")]
    ended = subprocess.run(
        [sys.executable, "-m", "dropclip_ros.cli", "check-extrinsics", *words],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    timer.cancel()
    assert ended.returncode == 1, ended.stderr
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["offset_m"] == np.clip(found["offset_m"], 0.018, 0.022) and found["turn_degrees"] < 1.0
    assert np.allclose(found["shift_in_camera_m"], (-0.012, 0.016, 0.0), atol=0.002)
    assert "20." in ended.stdout or "19." in ended.stdout
