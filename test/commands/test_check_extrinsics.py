# SPDX-License-Identifier: Apache-2.0
"""`dropclip check-extrinsics` tells a camera that is where TF says from one that is not, and by how much it is off."""

import json

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

pytest.importorskip("cv2", reason="OpenCV is not installed (pip install opencv-python)")

import cv2

from dropclip_ros.base.errors import DropclipError
from dropclip_ros.cli import main
from dropclip_ros.vision.geometry import Intrinsics, RgbdFrame, invert_pose
from dropclip_ros.vision.marker import find_marker

CAMERA = Intrinsics(600.0, 600.0, 319.5, 239.5, 640, 480)
SIZE, NUMBER = 0.12, 7
BITS = cv2.aruco.generateImageMarker(cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_APRILTAG_36h11), NUMBER, 200)


def pose(rpy, xyz) -> np.ndarray:
    found = np.eye(4)
    found[:3, :3], found[:3, 3] = Rotation.from_euler("xyz", rpy).as_matrix(), xyz
    return found


def rendered(camera_from_marker: np.ndarray, rng: np.random.Generator) -> RgbdFrame:
    """A marker on a wall that fills the image, with 1 mm of noise."""
    v, u = np.mgrid[: CAMERA.height, : CAMERA.width]
    rays = np.stack([(u - CAMERA.cx) / CAMERA.fx, (v - CAMERA.cy) / CAMERA.fy, np.ones(u.shape)], axis=-1)
    normal, at = camera_from_marker[:3, 2], camera_from_marker[:3, 3]
    depth = normal @ at / (rays @ normal)
    on = (rays * depth[..., None] - at) @ camera_from_marker[:3, :2] / SIZE + 0.5  # x right, y up, in sides
    column, row = np.floor(200 * on[..., 0]).astype(int), np.floor(200 * (1 - on[..., 1])).astype(int)
    inside = (column >= 0) & (column < 200) & (row >= 0) & (row < 200)
    grey = np.full(u.shape, 230, np.uint8)
    grey[inside] = BITS[row[inside], column[inside]]
    noise = rng.normal(0, 0.001, depth.shape)
    return RgbdFrame(np.repeat(grey[..., None], 3, axis=2), (depth + noise).astype(np.float32), CAMERA)


def apart(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """m and degrees."""
    turn = Rotation.from_matrix(a[:3, :3].T @ b[:3, :3]).magnitude()
    return float(np.linalg.norm(a[:3, 3] - b[:3, 3])), float(np.degrees(turn))


def looking(rng: np.random.Generator) -> np.ndarray:
    """camera_from_marker: half a metre to 0.8 m ahead, turned up to 35 degrees."""
    turn = pose(rng.uniform(-0.6, 0.6, 3), (0, 0, 0)) @ pose((np.pi, 0, 0), (0, 0, 0))
    turn[:3, 3] = *rng.uniform(-0.1, 0.1, 2), rng.uniform(0.5, 0.8)
    return turn


@pytest.mark.parametrize("seed", range(8))
def test_a_marker_is_found_where_it_is(seed):
    rng = np.random.default_rng(seed)
    truth = looking(rng)
    off, turned = apart(find_marker(rendered(truth, rng), NUMBER, SIZE), truth)
    assert off < 0.002 and turned < 0.6


def test_what_cannot_be_compared_is_said():
    rng = np.random.default_rng(0)
    frame = rendered(looking(rng), rng)
    with pytest.raises(DropclipError, match=r"TARGET_UNSEEN.*seen are 7"):
        find_marker(frame, 8, SIZE)
    with pytest.raises(DropclipError, match=r"BAD_REQUEST.*unit"):
        find_marker(frame, NUMBER, 2 * SIZE)
    with pytest.raises(DropclipError, match=r"BAD_REQUEST.*DICT_4X4_50"):
        find_marker(frame, NUMBER, SIZE, "tags")


@pytest.fixture
def files(tmp_path):
    """Writes a frame and poses; returns the words of the command."""

    def write(frame: RgbdFrame, camera_pose: np.ndarray, link_pose: np.ndarray) -> list[str]:
        Image.fromarray(frame.rgb).save(tmp_path / "a.png")
        np.save(tmp_path / "b.npy", frame.depth)
        for name, value in (("k", CAMERA.to_dict()), ("p", camera_pose.tolist()), ("m", link_pose.tolist())):
            (tmp_path / f"{name}.json").write_text(json.dumps(value))
        named = {
            "rgb": "a.png",
            "depth": "b.npy",
            "intrinsics": "k.json",
            "camera-pose": "p.json",
            "link-pose": "m.json",
        }
        words = [word for option, name in named.items() for word in (f"--{option}", str(tmp_path / name))]
        return ["check-extrinsics", *words, "--depth-unit", "m", "--out", str(tmp_path / "residual.json")]

    return write


@pytest.mark.parametrize(("millimetres", "degrees"), [(0, 0), (5, 1), (10, 2), (20, 3), (30, 5), (30, 0), (5, 5)])
def test_an_injected_error_is_written_as_the_residual(files, tmp_path, capsys, millimetres, degrees):
    rng = np.random.default_rng([millimetres, degrees])
    truth = looking(rng)
    world_from_camera = pose((-2.2, 0.1, 0.3), (0.2, 0.5, 0.7))
    axis, way = rng.normal(size=(2, 3))
    error = pose((0, 0, 0), 0.001 * millimetres * way / np.linalg.norm(way))
    error[:3, :3] = Rotation.from_rotvec(np.radians(degrees) * axis / np.linalg.norm(axis)).as_matrix()
    told = world_from_camera @ error  # what TF says
    words = files(rendered(truth, rng), told, world_from_camera @ truth)
    code = main([*words, "--marker", str(NUMBER), "--marker-size", str(SIZE), "--max-turn", "1.7"])
    found = json.loads((tmp_path / "residual.json").read_text())
    off, turned = apart(invert_pose(told) @ world_from_camera @ truth, truth)
    assert abs(found["offset_m"] - off) < 0.002 and abs(found["turn_degrees"] - turned) < 0.6
    corrected = np.array(found["world_from_camera_corrected"])
    assert apart(invert_pose(corrected) @ world_from_camera @ truth, truth)[0] < 0.003
    sound = off <= 0.010 and turned <= 1.7
    assert code == (0 if sound else 1) and found["within_limits"] == sound
    assert "where TF says" in capsys.readouterr().out


def test_a_start_without_enough_is_one_line(files, capsys):
    rng = np.random.default_rng(1)
    words = files(rendered(looking(rng), rng), np.eye(4), np.eye(4))
    assert main([*words, "--marker", "7"]) == 1 and "--marker-size" in capsys.readouterr().err
    assert main(["check-extrinsics", "--marker", "7"]) == 1 and "--ros WORLD LINK" in capsys.readouterr().err
    assert main([*words, "--gripper", "robotiq_2f_140"]) == 1 and "TARGET_UNSEEN" in capsys.readouterr().err
    assert main([*words, "--gripper", "robotiq_2f_140", "--opening", "0.2"]) == 1
