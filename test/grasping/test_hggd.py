# SPDX-License-Identifier: Apache-2.0
"""HGGD: the published networks and decoding, checkpoints, any camera, and what a detector promises."""

import pickle
from dataclasses import replace
from pathlib import Path

import hggd_support as support
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.grasping.grasps import Grasps, colliding, height_above, row_faults, suppress
from dropclip_ros.grasping.grippers import ROBOTIQ_2F_85, ROBOTIQ_2F_140, Gripper
from dropclip_ros.grasping.hggd.checkpoint import load_networks, save_networks, save_tensors
from dropclip_ros.grasping.hggd.config import DetectionConfig, HggdConfig
from dropclip_ros.grasping.hggd.decode import (
    Centers,
    angles_of,
    decode_regions,
    find_centers,
    lift,
    metric_width,
    pixel_width,
    rotation_of,
)
from dropclip_ros.grasping.hggd.detector import Hggd
from dropclip_ros.grasping.hggd.inputs import prepare
from dropclip_ros.grasping.hggd.networks import AnchorMaps, HggdNetworks
from dropclip_ros.grasping.hggd.regions import fuse, nearest, regions, spread
from dropclip_ros.vision.geometry import Intrinsics, backproject

SMALL = support.SMALL
TOLERANCE = 1e-4


# --- the published system -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(Path(__file__).parents[1] / "golden" / "hggd.npz", allow_pickle=False) as file:
        return dict(file)


@pytest.fixture(scope="module")
def published(golden, tmp_path_factory) -> Path:
    """A checkpoint with the names, shapes and types of the published ones, and the rest of what they hold."""
    shapes = {
        str(name): tuple(map(int, str(shape).split()))
        for name, shape in zip(golden["names"], golden["shapes"], strict=True)
    }
    parts = {"anchor": {}, "local": {}}
    for name, tensor in support.random_state(shapes).items():
        part, _, rest = name.partition(".")
        parts[part][rest] = tensor
    gamma, beta = (anchor.double() for anchor in support.anchors())
    path = tmp_path_factory.mktemp("hggd") / "realsense_checkpoint"
    torch.save(parts | {"gamma": gamma, "beta": beta, "optimizer": {"state": {}, "param_groups": []}}, path)
    return path


@pytest.fixture(scope="module")
def networks(published) -> HggdNetworks:
    return load_networks(published)


@torch.inference_mode()
def test_the_networks_say_what_the_published_ones_say(networks, golden):
    image, points, info = support.network_inputs()
    for name, found in networks.anchor(image)._asdict().items():
        picked = found.flatten()[:: max(found.numel() // 2000, 1)].numpy()
        assert np.abs(picked - golden[f"map_{name}"]).max() < TOLERANCE, name
    logits, offsets = networks.local(points, info)
    assert np.abs(logits.numpy() - golden["local_logits"]).max() < TOLERANCE
    assert np.abs(offsets.numpy() - golden["local_offsets"]).max() < TOLERANCE


def test_the_decoding_is_the_published_one(networks, golden):
    config = networks.config
    centers = find_centers(AnchorMaps(*support.anchor_maps(), torch.zeros(0)), config, 48)
    found = np.column_stack([centers.pixel, centers.score, centers.theta, centers.width, centers.depth])
    assert found.shape == golden["centers"].shape and len(found) == 48
    assert np.abs(found - golden["centers"]).max() < TOLERANCE

    z = support.scene_depth() / 1000
    v, u = np.mgrid[: z.shape[0], : z.shape[1]]
    points = np.stack(
        [(u - support.SIZE[0]) / (2 * support.FOCAL) * z, (v - support.SIZE[1]) / (2 * support.FOCAL) * z, z], axis=-1
    )[::2, ::2]
    camera = Intrinsics(support.FOCAL, support.FOCAL, support.SIZE[0] / 2, support.SIZE[1] / 2, *support.SIZE)
    positions, known = lift(centers, torch.tensor(points.astype(np.float32)))
    radii = metric_width(centers.width, centers.theta, positions[:, 2], camera)
    assert known.all()
    assert np.abs(np.column_stack([positions, radii]) - golden["positions"]).max() < TOLERANCE

    rows = decode_regions(
        *support.local_outputs(48), centers, positions, networks.gamma, networks.beta, camera, 10, 0.02
    ).numpy()
    wanted = golden["rows"]  # score, width, depth, rotation, translation
    assert len(rows) == len(wanted)
    assert np.abs(np.delete(rows, [2, 16], axis=1) - wanted).max() < TOLERANCE
    assert not row_faults(rows)


# --- checkpoints --------------------------------------------------------------------------------------------


def small_networks(seed: int = 0) -> HggdNetworks:
    torch.manual_seed(seed)
    return HggdNetworks(SMALL).eval()


@pytest.mark.parametrize(("name", "save"), [("a.pt", save_networks), ("a.safetensors", save_tensors)])
def test_a_trained_network_is_what_was_saved(tmp_path, name, save):
    networks = small_networks()
    networks.gamma += 0.01
    save(tmp_path / name, networks)
    found = load_networks(tmp_path / name)
    assert found.config == SMALL
    for one, tensor in networks.state_dict().items():
        assert torch.equal(found.state_dict()[one], tensor), one
    assert [p.name for p in tmp_path.iterdir()] == [name]


class Evil:
    def __reduce__(self):
        return Path.touch, (Path("evil"),)


def _changed(change):
    def write(path):
        save_networks(path, small_networks())
        found = torch.load(path, weights_only=True)
        change(found)
        torch.save(found, path)

    return write


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (lambda path: None, "cannot read"),
        (lambda path: path.write_bytes(b"PK\3\4" + bytes(100)), "no whole checkpoint"),
        (lambda path: path.write_bytes(pickle.dumps({"anchor": Evil()}, protocol=2)), "no whole checkpoint"),
        (lambda path: torch.save({"anchor": Evil()}, path), "no whole checkpoint"),
        (lambda path: torch.save([1, 2], path), "'anchor' is not there"),
        (_changed(lambda c: c.pop("gamma")), "'gamma' is not there"),
        (_changed(lambda c: c["local"].update(x="y")), "'local' is not there, or no tensors"),
        (_changed(lambda c: c.pop("config")), "has shape"),
        (_changed(lambda c: c.update(config={"trunk": 8, "colour": 1})), "config"),
        (_changed(lambda c: c.update(config={"trunk": 4000, "hidden": (4096, 4096)})), "has shape"),
        (_changed(lambda c: c["anchor"].pop("hmap.1.bias")), "anchor.hmap.1.bias is missing"),
        (_changed(lambda c: c["anchor"]["hmap.1.bias"].fill_(torch.nan)), "NaN"),
        (_changed(lambda c: c["local"].update(more=torch.zeros(1))), "local.more is not part of it"),
    ],
)
def test_what_is_no_checkpoint_is_refused_in_a_sentence(tmp_path, monkeypatch, write, says):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.pt")
    with pytest.raises(DropclipError, match=says) as caught:
        load_networks(tmp_path / "a.pt")
    assert caught.value.status == Status.MODEL_ERROR
    assert not Path("evil").exists()


def test_a_device_that_is_not_there_is_refused(published):
    with pytest.raises(DropclipError, match="expected auto, cpu"):
        Hggd.load(published, "tpu")


@pytest.mark.parametrize(
    "values", [{"trunk": 0}, {"blocks": (1, 1)}, {"width": 8}, {"anchor_width": float("nan")}, {"points": True}]
)
def test_shapes_that_cannot_be_are_refused(values):
    with pytest.raises(ValueError, match=f"HggdConfig.*{next(iter(values)).removesuffix('s')}|too small"):
        HggdConfig(**values)


@pytest.mark.parametrize(
    "values",
    [
        {"near": 2.0, "far": 1.0},
        {"top_k": 0},
        {"heat": 1.5},
        {"min_score": float("nan")},
        {"workspace": ((0, 0, 1), (1, 1, 0))},
    ],
)
def test_limits_that_contradict_each_other_are_refused(values):
    with pytest.raises(ValueError, match=next(iter(values))):
        DetectionConfig(**values)


# --- geometry -----------------------------------------------------------------------------------------------

angle = st.floats(-1.5, 1.5)


@given(angle, angle, angle)
def test_angles_are_those_of_the_rotation_and_of_its_half_turn(theta, gamma, beta):
    angles = torch.tensor([theta, gamma, beta], dtype=torch.float64)
    rotation = rotation_of(*angles)
    assert torch.allclose(rotation.T @ rotation, torch.eye(3, dtype=torch.float64), atol=1e-12)
    assert torch.linalg.det(rotation) > 0
    for turned in (rotation, rotation * torch.tensor([1.0, -1.0, -1.0])):
        assert torch.allclose(torch.stack(angles_of(turned)), angles, atol=1e-6)


@given(st.floats(1, 200), angle, st.floats(0.2, 3))
def test_widths_in_pixels_and_in_metres_are_inverse(width, theta, z):
    camera = Intrinsics(400, 500, 319.5, 239.5, 640, 480)
    values = [torch.tensor(v, dtype=torch.float64) for v in (width, theta, z)]
    assert pixel_width(metric_width(*values, camera), *values[1:], camera).item() == pytest.approx(width)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.integers(1, 40))
def test_spread_takes_every_point_before_one_twice(seed, total, count):
    points = np.random.default_rng(seed).normal(size=(3, 50, 3)).astype(np.float32)
    totals = np.array([total, 50, 1])
    chosen = spread(points, totals, count)
    assert (chosen < totals[:, None]).all()
    for row, limit in zip(chosen, totals, strict=True):
        assert len(set(row.tolist())) == min(count, limit)
    assert np.array_equal(chosen, spread(torch.tensor(points), torch.tensor(totals), count).numpy())


def test_regions_hold_what_lies_within_their_radius():
    torch.manual_seed(0)
    points = torch.cat([torch.rand(2000, 3), torch.arange(2000.0)[:, None]], 1)
    centers, radii = torch.tensor([[0.5, 0.5, 0.5], [9.0, 9, 9], [0.2, 0.5, 0.5]]), torch.tensor([0.3, 0.3, 0.2])
    groups, kept = regions(points, centers, radii, 100, 20)
    assert kept.tolist() == [True, False, True] and groups.shape == (2, 100, 4)
    for group, center, radius in zip(groups, centers[kept], radii[kept], strict=True):
        assert (group[:, :3].norm(dim=1) < radius).all()
        assert torch.allclose(points[group[:, 3].long(), :3], group[:, :3] + center, atol=1e-6)
        within = int(((points[:, :3] - center).norm(dim=1) < radius).sum())
        assert len(group[:, 3].unique()) == min(within, 100)


def test_points_take_the_features_of_the_cells_they_lie_in():
    v, u = torch.meshgrid(torch.arange(64), torch.arange(96), indexing="ij")
    seen = torch.stack([u * 0.01, v * 0.01, torch.ones_like(u)], -1).float()
    features = torch.zeros(2, 8, 12)
    features[0, 3, 5], features[1, 7, 11] = 1, 2
    fused = fuse(torch.tensor([[0.40, 0.24, 1.0], [0.0, 0.0, 1.0], [0.88, 0.56, 1.0]]), seen, features)
    assert fused[:, 3:].tolist() == [[1, 0], [0, 0], [0, 2]]
    assert nearest(fused[:, :3], seen.reshape(-1, 3), 1)[:, 0].tolist() == [24 * 96 + 40, 0, 56 * 96 + 88]


# --- any camera ---------------------------------------------------------------------------------------------

BOX = np.array([0.03, -0.02, 0.64])  # the middle of its top: 4 cm across x, 10 along y
TABLE = 0.70


def camera_of(width: int, height: int, focal: float) -> Intrinsics:
    return Intrinsics(focal, focal * 1.02, width * 0.52, height * 0.47, width, height)


def depth_of(camera: Intrinsics, neighbour: float = 0.0) -> np.ndarray:
    """What a camera straight above the table sees of the box, and of another whose near side is so far (m) from its
    middle."""
    v, u = np.mgrid[: camera.height, : camera.width]
    depth = np.full(v.shape, TABLE, np.float32)
    x, y = (u - camera.cx) / camera.fx * BOX[2], (v - camera.cy) / camera.fy * BOX[2]
    depth[(np.abs(x - BOX[0]) < 0.02) & (np.abs(y - BOX[1]) < 0.05)] = BOX[2]
    if neighbour:
        depth[(np.abs(x - BOX[0] - neighbour - 0.015) < 0.015) & (np.abs(y - BOX[1]) < 0.05)] = BOX[2]
    return depth


def knowing_detector(camera: Intrinsics) -> Hggd:
    """Networks that have learnt one thing: where the box is; fingers close along x, 6 cm apart, from straight above."""
    hggd = Hggd(small_networks())
    scale = min(SMALL.width / camera.width, SMALL.height / camera.height)
    pixel = (BOX[:2] / BOX[2] * (camera.fx, camera.fy) + (camera.cx, camera.cy)) * scale
    opening = 0.06 / BOX[2] * camera.fx * scale

    def anchor(images):
        height, width = images.shape[2:]
        v, u = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        heat = 6 - 0.02 * ((u - pixel[0]) ** 2 + (v - pixel[1]) ** 2)
        cells = torch.zeros(1, SMALL.angles, -(-height // 8), -(-width // 8))
        angle = cells.clone()
        angle[:, SMALL.angles // 2] = 1  # which begins at 0
        return AnchorMaps(
            heat[None, None].float(),
            angle,
            cells - 0.5,
            cells,
            cells + np.log(opening / SMALL.anchor_width),
            cells[:, :1].expand(-1, SMALL.features, -1, -1),
        )

    def local(points, info):
        logits = torch.zeros(len(points), SMALL.rotations**2) - 9
        logits[:, SMALL.rotations**2 // 2] = 3  # straight
        return logits, torch.zeros(*logits.shape, 3)

    hggd.networks.anchor.forward, hggd.networks.local.forward = anchor, local
    return hggd


def detect(camera: Intrinsics, image: np.ndarray, gripper: Gripper = ROBOTIQ_2F_140, table=None, **limits) -> Grasps:
    """What that detector makes of the best centre alone."""
    rgb = np.zeros((camera.height, camera.width, 3), np.uint8)
    detection = replace(DetectionConfig(centers=1, min_score=0.5, open_wider=0.0, depth=0.02), **limits)
    return knowing_detector(camera).detect(rgb, image, camera, detection, gripper, table)


@pytest.mark.parametrize(
    ("width", "height", "focal"), [(640, 480, 600), (1280, 720, 900), (320, 240, 260), (848, 480, 420), (300, 400, 320)]
)
def test_any_camera_finds_the_grasp_that_the_networks_mean(width, height, focal):
    camera = camera_of(width, height, focal)
    grasps = detect(camera, depth_of(camera))
    assert len(grasps) == 1
    assert np.abs(grasps.translation[0] - BOX).max() < 0.007  # a pixel of the small input
    assert np.abs(grasps.rotation[0] - [[0, -1, 0], [0, 0, -1], [1, 0, 0]]).max() < 1e-6
    assert grasps.width[0] == pytest.approx(0.06, abs=1e-3) and grasps.depth[0] == pytest.approx(0.02)
    assert grasps.score[0] == pytest.approx(torch.tensor(3.0).sigmoid().item(), abs=1e-6)


def test_a_grasp_that_cannot_be_is_left_out():
    camera = camera_of(640, 480, 600)
    assert len(detect(camera, depth_of(camera, neighbour=0.03))) == 0, "a finger would stand in the neighbour"
    depth = depth_of(camera)
    assert len(detect(camera, depth, gripper=replace(ROBOTIQ_2F_140, max_width=0.05))) == 0
    assert len(detect(camera, depth, min_score=0.99)) == 0
    assert len(detect(camera, depth, depth=0.0)) == 0, "fingertips above what they would hold"


def test_a_table_that_is_known_is_kept_out_of():
    camera = camera_of(640, 480, 600)
    depth, tips = depth_of(camera), BOX[2] + 0.02
    assert len(detect(camera, depth, table=np.array([0, 0, -1, TABLE]))) == 1
    assert len(detect(camera, depth, table=np.array([0, 0, -1, tips + 0.001]))) == 0
    # A bar above one finger, which hides what is below it from the camera; further up than the hand.
    x = (np.mgrid[: camera.height, : camera.width][1] - camera.cx) / camera.fx * (BOX[2] - 0.3)
    depth[np.abs(x / (BOX[2] - 0.3) * BOX[2] - BOX[0] - 0.04) < 0.01] = BOX[2] - 0.3
    assert len(detect(camera, depth)) == 1
    assert len(detect(camera, depth, table=np.array([0, 0, -1, TABLE]))) == 0


def test_the_hand_opens_as_wide_as_nothing_is_in_the_way():
    camera = camera_of(640, 480, 600)
    depth = depth_of(camera)
    assert detect(camera, depth, open_wider=0.05).width[0] == pytest.approx(0.11, abs=1e-3)
    assert detect(camera, depth, open_wider=0.5).width[0] == pytest.approx(ROBOTIQ_2F_140.max_width)
    assert detect(camera, depth, ROBOTIQ_2F_85, open_wider=0.5).width[0] == pytest.approx(ROBOTIQ_2F_85.max_width)
    beside = depth_of(camera, neighbour=0.06)  # its near side
    assert 0.06 < detect(camera, beside, open_wider=0.08).width[0] < 2 * (0.06 - ROBOTIQ_2F_140.finger_thickness) + 0.01


def test_the_workspace_is_where_grasps_are_looked_for():
    camera = camera_of(640, 480, 600)
    low, high = tuple(BOX - 0.05), tuple(BOX + 0.05)
    assert len(detect(camera, depth_of(camera), workspace=(low, high))) == 1
    assert len(detect(camera, depth_of(camera), workspace=((-1, -1, 0), (0, 1, 2)))) == 0


def test_a_hole_in_the_depth_does_not_move_a_grasp():
    camera = camera_of(640, 480, 600)
    depth = depth_of(camera)
    x, y = (BOX[:2] / BOX[2] * (camera.fx, camera.fy) + (camera.cx, camera.cy)).astype(int)
    depth[y - 3 : y + 4, x - 3 : x + 4] = np.nan
    grasps = detect(camera, depth)
    assert len(grasps) == 1 and np.abs(grasps.translation[0] - BOX).max() < 0.015


def test_no_depth_at_all_is_a_bad_frame():
    camera = camera_of(640, 480, 600)
    with pytest.raises(DropclipError, match="no pixel has a depth"):
        detect(camera, np.zeros((480, 640), np.float32))


def test_depth_beyond_a_metre_is_seen():
    camera = camera_of(640, 480, 600)
    view = prepare(np.zeros((480, 640, 3), np.uint8), depth_of(camera) + 1, camera, SMALL)
    assert view.known.all() and view.points[..., 2].max() == pytest.approx(TABLE + 1)
    assert view.image.shape == (4, 90, 120)
    assert view.image[0].mean().abs() < 1e-5


def test_many_grasps_keep_what_a_detector_promises():
    camera = camera_of(640, 480, 600)
    limits = {"centers": 200, "min_score": 0.0, "workspace": ((-0.2, -0.2, 0.5), (0.2, 0.2, 0.75))}
    first, again = (detect(camera, depth_of(camera), **limits) for _ in range(2))
    assert len(first) > 2 and np.array_equal(first.rows(), again.rows())
    assert (np.diff(first.score) <= 0).all() and not row_faults(first.rows())
    assert (first.width <= ROBOTIQ_2F_140.max_width).all()
    assert len(suppress(first, DetectionConfig.nms_distance, DetectionConfig.nms_angle)) == len(first)
    seen = prepare(np.zeros((480, 640, 3), np.uint8), depth_of(camera), camera, SMALL).points.reshape(-1, 3).numpy()
    assert not colliding(first, seen).any()
    assert len(detect(camera, depth_of(camera), **limits, top_k=2)) == 2


def test_no_centre_is_no_grasp():
    maps = AnchorMaps(torch.full((1, 1, 90, 160), -9.0), *(torch.zeros(1, 6, 12, 20) for _ in range(4)), torch.zeros(0))
    assert len(find_centers(maps, SMALL, 10).pixel) == 0
    empty = Centers(torch.zeros(0, 2, dtype=torch.long), *(torch.zeros(0) for _ in range(4)))
    assert len(lift(empty, torch.zeros(90, 160, 3))[0]) == 0


def test_the_shipped_detector_proposes_for_what_stands_on_a_table(make_tabletop):
    tabletop = make_tabletop()
    frame, pose = tabletop.frame, tabletop.frame.camera_pose
    table = np.append(pose[2, :3], pose[2, 3])
    grasps = Hggd.load(device="cpu").detect(frame.rgb, frame.depth, frame.intrinsics, table=table)
    assert len(grasps) >= 3 and (height_above(grasps, table) > 0).all()
    points, pixels = backproject(frame.depth, frame.intrinsics)
    things = points[tabletop.labels.reshape(-1)[pixels] >= 2]
    assert np.linalg.norm(grasps.tips()[:, None] - things[::20], axis=2).min(axis=1).max() < 0.04
