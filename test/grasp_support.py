# SPDX-License-Identifier: Apache-2.0
"""A box to grasp, and grasps of it."""

import numpy as np
import trimesh
from scipy.spatial.transform import Rotation

from dropclip_ros.grasping.grasps import Grasps
from dropclip_ros.grasping.grippers import ROBOTIQ_2F_140
from training.objects.spec import ObjectModel


def solid(mesh: trimesh.Trimesh) -> ObjectModel:
    vertices = np.asarray(mesh.vertices, np.float32)
    return ObjectModel(
        name="thing",
        category="box",
        split="train",
        attributes={},
        vertices=vertices,
        faces=np.asarray(mesh.faces, np.int32),
        uv=np.zeros((len(vertices), 2), np.float32),
        texture=np.zeros((2, 2, 3), np.uint8),
        specular=0.1,
        shininess=0.1,
        mass=0.2,
        density=700.0,
        friction=0.6,
        hull_parts=[vertices],
        phrases={},
        heldout_phrases={},
    )


BOX = solid(trimesh.creation.box((0.04, 0.06, 0.12)))


def one_grasp(rotation: np.ndarray, tip=(0.0, 0, 0), width=0.06, gripper=ROBOTIQ_2F_140) -> Grasps:
    depth = 0.02
    centre = np.array(tip) - depth * rotation[:, 0]
    return Grasps([1.0], [width], [gripper.finger_width], [depth], rotation[None], centre[None], [-1])


FROM_ABOVE = np.column_stack([(0, 0, -1), (1, 0, 0), (0, -1, 0)]).astype(float)  # closes along x


def pose(rotation: Rotation, translation) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation.as_matrix(), translation
    return matrix
