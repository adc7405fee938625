# SPDX-License-Identifier: Apache-2.0
"""HGGD from a checkpoint and a frame to grasps that a gripper can try (A.7).

hggd = Hggd.load("realsense_checkpoint")
grasps = hggd.detect(rgb, depth, Intrinsics(927, 927, 651, 350, 1280, 720))
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from dropclip_ros.base.arrays import Array, array_namespace, like_array
from dropclip_ros.base.devices import enough_memory, usable_device
from dropclip_ros.grasping.grasps import Grasps, fill_down, openings, points_between, suppress, thin_cloud
from dropclip_ros.grasping.grippers import ROBOTIQ_2F_140, Gripper
from dropclip_ros.grasping.hggd.checkpoint import load_networks
from dropclip_ros.grasping.hggd.config import Corner, DetectionConfig
from dropclip_ros.grasping.hggd.decode import decode_regions, find_centers, lift, metric_width
from dropclip_ros.grasping.hggd.inputs import PreparedView, prepare
from dropclip_ros.grasping.hggd.networks import HggdNetworks
from dropclip_ros.grasping.hggd.regions import fuse, regions, sample_points
from dropclip_ros.vision.geometry import Intrinsics

SHIPPED = Path(__file__).parents[2] / "model" / "hggd.safetensors"
VOXEL = 0.005  # m, of the cloud that grasps are checked against
TABLE_CLEARANCE = 0.002  # m, of the gripper above a table that is known
STEP = 0.015  # m, between openings that are tried
STANDING = 0.01  # m; what is seen lower is the table, with noise


class Hggd:
    """The networks on a device. Not for two threads at once."""

    def __init__(self, networks: HggdNetworks, device: str | torch.device = "cpu") -> None:
        self.device = torch.device(device)
        self.networks = networks.to(self.device).eval()
        self.config = networks.config

    @classmethod
    def load(cls, path: str | Path = SHIPPED, device: str = "auto") -> Hggd:
        """From a checkpoint, the published ones or one trained here. MODEL_ERROR as `load_networks` and a bad device.

        device: auto (a GPU where there is one), cpu, cuda or cuda:N.
        """
        place = usable_device(device)
        with enough_memory(place):
            return cls(load_networks(path, place), place)

    def detect(
        self,
        rgb: np.ndarray,
        depth: np.ndarray,
        intrinsics: Intrinsics,
        detection: DetectionConfig = DetectionConfig(),
        gripper: Gripper = ROBOTIQ_2F_140,
        table: np.ndarray | None = None,
    ) -> Grasps:
        """Grasps in the camera's optical frame, best first, that hold something and collide with nothing that is seen.

        rgb uint8 (H, W, 3); depth float (H, W) in m, registered to it, 0 or NaN where unknown; any size. table (4,):
        plane, unit normal towards the camera: with it the space below what stands there counts as solid, too. The same
        arguments give the same grasps. BAD_FRAME where the frame cannot be used; no grasps where none are found.
        """
        with enough_memory(self.device):
            view = prepare(rgb, depth, intrinsics, self.config, detection.near, detection.far, self.device)
            grasps = self.propose(view, detection)
        grasps = grasps[
            (grasps.width <= gripper.max_width)
            & (grasps.score >= detection.min_score)
            & _within(grasps.translation, detection.workspace)
        ]
        grasps = grasps[np.argsort(-grasps.score, kind="stable")]
        cloud = view.points[view.known].cpu().numpy()
        cloud = cloud[thin_cloud(cloud, VOXEL)]
        grasps = grasps[points_between(grasps, cloud, gripper) >= detection.held_points]
        if table is not None:
            cloud = fill_down(cloud[cloud @ table[:3] + table[3] > STANDING], table, 1.5 * VOXEL)
        widths, clear = openings(grasps, cloud, gripper, detection.open_wider, STEP, table, TABLE_CLEARANCE)
        grasps = replace(grasps, width=widths)[clear]
        return grasps[suppress(grasps, detection.nms_distance, detection.nms_angle, detection.top_k)]

    @torch.inference_mode()
    def propose(self, view: PreparedView, detection: DetectionConfig = DetectionConfig()) -> Grasps:
        """What the networks say of a view, unchecked: the grasps of every region."""
        inside = view.known & torch.as_tensor(_within(view.points, detection.workspace))
        maps = self.networks.anchor(view.image[None])
        # A hole may lie on an object's rim: centres on pixels of unknown depth are looked at as well.
        centers = find_centers(maps, self.config, detection.centers, detection.heat, inside | ~view.known)
        positions, known = lift(centers, view.points)
        centers, positions = centers.of(known), positions[known]
        radii = metric_width(centers.width, centers.theta, positions[:, 2], view.intrinsics)
        points = sample_points(view.points, inside, self.config.points, detection.seed)
        points = fuse(points, view.points, maps.features[0])
        groups, kept = regions(points, positions, radii, self.config.region_points, detection.min_points)
        if not len(groups):
            return Grasps.empty()
        centers, positions = centers.of(kept), positions[kept]
        logits, offsets = self.networks.local(groups, centers.info())
        rows = decode_regions(
            logits,
            offsets,
            centers,
            positions,
            self.networks.get_buffer("gamma"),
            self.networks.get_buffer("beta"),
            view.intrinsics,
            detection.per_region,
            detection.depth,
        )
        return Grasps.from_rows(rows.cpu().double().numpy())


def _within(points: Array, workspace: tuple[Corner, Corner]) -> Array:
    """Which of the points (..., 3) lie in the box, (...) bool."""
    low, high = (like_array(points, np.array(corner)) for corner in workspace)
    return array_namespace(points).all((points >= low) & (points <= high), -1)
