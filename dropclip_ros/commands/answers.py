# SPDX-License-Identifier: Apache-2.0
"""Answers of `dropclip ground` as JSON, as lines, and as pictures, masks and clouds."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
from PIL import Image

from dropclip_ros.base.errors import DropclipError
from dropclip_ros.commands.output import say
from dropclip_ros.draw.answers import mask_image
from dropclip_ros.grasping.grasps import Grasps
from dropclip_ros.grasping.grippers import Gripper
from dropclip_ros.grounding.interpretation import Interpretation
from dropclip_ros.grounding.pipeline import EncodedScene, FoundObject, GroundResult
from dropclip_ros.vision.geometry import transform_points


def failed_answer(query: str, error: DropclipError, source: str = "") -> dict:
    return {
        "query": query,
        "source": source,
        "status": error.status.name,
        "message": error.message,
        "interpretation": asdict(Interpretation()),
        "instances": [],
        "grasps": [],
        "timing_ms": {},
    }


def answer_of(
    scene: EncodedScene, result: GroundResult, grasps: Grasps, out: Path | None, number: int, source: str
) -> dict:
    """One answer of the array that `--json` prints; masks are written into `out`, and those of an earlier run go."""
    pose = _to_output_frame(scene)
    name = file_name(number, result.query)
    for old in out.glob(f"{name}_*.png") if out else ():
        if old.stem[len(name) + 1 :].isdigit():  # a mask of an earlier run, which found more
            old.unlink()
    instances = [_instance(scene, found, pose, out, f"{name}_{k}") for k, found in enumerate(result.objects)]
    moved = grasps.transformed(pose)
    return {
        "query": result.query,
        "source": source,
        "status": result.status.name,
        "message": result.message,
        "frame": "camera" if scene.frame.camera_pose is None else "world",
        "threshold": result.threshold,
        "interpretation": asdict(result.interpretation),
        "instances": instances,
        "grasps": [
            {
                "pose": matrix.tolist(),
                "tip": tip.tolist(),
                "width": float(width),
                "score": float(score),
                "depth": float(depth),
                "of": result.objects[0].id,
            }
            for matrix, tip, width, score, depth in zip(
                moved.poses(), moved.tips(), moved.width, moved.score, moved.depth, strict=True
            )
        ],
        "timing_ms": {stage: round(ms, 3) for stage, ms in result.timing_ms.items()},
    }


def _to_output_frame(scene: EncodedScene) -> np.ndarray:
    """output_from_camera (4,4): to the world where the camera's pose is given, else the identity."""
    return np.eye(4) if scene.frame.camera_pose is None else scene.frame.camera_pose


def _instance(scene: EncodedScene, found: FoundObject, pose: np.ndarray, out: Path | None, name: str) -> dict:
    answer = {
        "id": found.id,
        "label": found.label,
        "score": found.score,
        "confidence": found.confidence,
        "doubtful": found.doubtful,
        "words_read": list(found.words_read),
        "points": len(found.points),
        "centre": transform_points(pose, found.centre[None])[0].tolist(),
        "size": found.size.tolist(),
    }
    if out:
        path = out / f"{name}.png"
        Image.fromarray(mask_image(scene, found)).save(path)
        answer["mask"] = str(path)
    return answer


def file_name(number: int, query: str) -> str:
    """What the files of a query begin with: picture, cloud and masks."""
    return f"{number:02d}_" + "".join(c if c.isalnum() else "_" for c in query)[:40]


def write_pictures(
    scene: EncodedScene, result: GroundResult, grasps: Grasps, gripper: Gripper, out: Path, number: int
) -> None:
    from dropclip_ros.draw import write_ply
    from dropclip_ros.draw.answers import picture_of

    name = file_name(number, result.query)
    Image.fromarray(picture_of(scene, result, grasps, gripper)).save(out / f"{name}.png")
    write_ply(
        out / f"{name}.ply",
        transform_points(_to_output_frame(scene), scene.points),
        scene.colors,
        result.scores,
    )


def print_answer(answer: dict) -> None:
    say(f"{answer['query']!r}: {answer['status']}: {answer['message']}")
    if len(answer["interpretation"]["parts"]) > 1:
        say(f"  read as: {answer['interpretation']['text']}")
    for found in answer["instances"]:
        x, y, z = found["centre"]
        say(
            f"  {found['id']}: score {found['score']:.2f}, {found['points']} points, "
            f"centre ({x:.3f}, {y:.3f}, {z:.3f}) m in the {answer['frame']} frame, "
            f"size {' x '.join(f'{side:.3f}' for side in found['size'])} m"
        )
    for k, grasp in enumerate(answer["grasps"], 1):
        x, y, z = grasp["tip"]
        say(
            f"  grasp {k} of object {grasp['of']}: tip ({x:.3f}, {y:.3f}, {z:.3f}) m, width {grasp['width']:.3f} m, "
            f"score {grasp['score']:.2f}"
        )
    if answer.get("no_grasp"):
        say(f"  no grasp: {answer['no_grasp']}")
