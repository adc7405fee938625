# SPDX-License-Identifier: Apache-2.0
"""The answer to a query as one picture (A.5)."""

from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

import numpy as np

from dropclip_ros.draw.colours import AMBER, distinct_colours, main_colours
from dropclip_ros.draw.page import INK, add_caption, add_title, make_panels, render
from dropclip_ros.grasping.grasps import Grasps
from dropclip_ros.grasping.grippers import ROBOTIQ_2F_140, Gripper
from dropclip_ros.vision.geometry import Intrinsics, project

_FOUND, _NOT_FOUND = "#1a7f37", "#cf222e"
_MOST = 3  # grasps
_PANEL = 0.464  # of the width: two of them, and the scale


@dataclass(frozen=True, eq=False)
class Shown:
    """An object that answers: its pixels, mask (H, W) bool, its score, and whether that is doubtful."""

    mask: np.ndarray
    score: float | None = None
    doubtful: bool = False


def draw_result(
    rgb: np.ndarray,
    intrinsics: Intrinsics,
    scores: np.ndarray,
    objects: Sequence[Shown],
    grasps: Grasps | None = None,
    *,
    title: str,
    threshold: float = 0.7,
    gripper: Gripper = ROBOTIQ_2F_140,
    reading: str = "",
    of: Sequence[int] = (),
) -> np.ndarray:
    """The answer to a query as one picture, uint8 (h, 1400, 3).

    Left: rgb uint8 (H, W, 3) with the outlines of the objects, best first, A, B, ..., and up to three grasps (best
    first, camera optical frame), numbered after the object that they are for: `of` has its index for each grasp, the
    best object's by default. An outline's colour stays apart from its object's and from the others'; what is doubtful
    is amber. Right: scores (H, W) in [0, 1], NaN where there is none, over the grey image, and a scale with the
    threshold. The title's band is red without objects, amber if the best is doubtful, else green. reading: how the
    phrase was read, a line over the left picture.
    """
    height, width = rgb.shape[:2]
    wrong = [shown.mask.shape for shown in objects if shown.mask.shape != (height, width)]
    if scores.shape != (height, width) or wrong:
        raise ValueError(f"scores {scores.shape} and masks {wrong} must have the image's size {(height, width)}")
    objects = [shown for shown in objects if shown.mask.any()]
    colours: list[Any] = [AMBER if shown.doubtful else None for shown in objects]
    sure = [i for i, colour in enumerate(colours) if colour is None]
    own = [main_colours(rgb, objects[i].mask) for i in sure]
    for i, colour in zip(sure, distinct_colours(len(sure), own), strict=True):
        colours[i] = tuple(colour)
    figure, left, right = make_panels(height / width, (_PANEL, _PANEL))
    left.imshow(rgb, interpolation="bilinear")
    grey = rgb @ np.array([0.299, 0.587, 0.114])
    right.imshow(0.55 * grey + 0.25 * 255, cmap="gray", vmin=0, vmax=255, interpolation="bilinear")
    heat = right.imshow(np.ma.masked_invalid(scores), cmap="turbo", vmin=0, vmax=1, alpha=0.8, interpolation="nearest")
    for i in reversed(range(len(objects))):  # the best on top
        for axis in (left, right):
            _outline(axis, objects[i], colours[i])
        _name(left, objects[i], colours[i], i)
    for i in reversed(range(min(len(grasps), _MOST) if grasps is not None else 0)):
        held = of[i] if i < len(of) else 0
        colour = colours[held] if held < len(colours) else "#ffd400"
        assert grasps is not None
        name = f"{_letter(held)}{i + 1}" if objects else f"{i + 1}"
        _draw_grasp(left, grasps[i], gripper, intrinsics, i, colour, name)
    if reading:
        add_caption(left, reading)
    _colour_bar(figure, heat, right, threshold)
    add_title(figure, title, _NOT_FOUND if not objects else AMBER if objects[0].doubtful else _FOUND)
    return render(figure)


def _letter(index: int) -> str:
    return ascii_uppercase[index] if index < len(ascii_uppercase) else f"{index + 1}:"


def _name(axis: Any, shown: Shown, colour: Any, index: int) -> None:
    """The object's letter and score, under its lowest pixel."""
    row = int(np.flatnonzero(shown.mask.any(1))[-1])
    column = float(np.flatnonzero(shown.mask[row]).mean())
    said = "" if shown.score is None else f" {shown.score:.2f}"
    axis.text(
        column,
        min(row + 6, len(shown.mask) - 20),
        f"{_letter(index)}{said}{'?' if shown.doubtful else ''}",
        fontsize=11,
        weight="bold",
        color=INK,
        ha="center",
        va="top",
        clip_on=True,
        bbox={"boxstyle": "round,pad=0.2", "facecolor": colour, "edgecolor": INK},
    )


def _colour_bar(figure: Any, heat: Any, axis: Any, threshold: float) -> None:
    box = axis.get_position()
    bar = figure.colorbar(heat, cax=figure.add_axes((box.x1 + 0.006, box.y0, 0.010, box.height)))
    bar.solids.set_alpha(1)
    bar.outline.set_visible(False)
    ticks = [t for t in (0.0, 0.25, 0.5, 0.75, 1.0) if abs(t - threshold) > 0.06]
    bar.set_ticks([*ticks, threshold], labels=[f"{t:g}" for t in ticks] + [f"▸ {threshold:g}"])
    bar.ax.tick_params(labelsize=11, length=0, colors=INK)
    bar.ax.get_yticklabels()[-1].set_weight("bold")
    bar.ax.axhline(threshold, color=INK, linewidth=2.5)


def _outline(axis: Any, shown: Shown, colour: Any) -> None:
    style = "dashed" if shown.doubtful else "solid"  # those who see no amber
    for line, width, dash in ((INK, 3.5, "solid"), (colour, 1.8, style)):
        axis.contour(shown.mask, levels=[0.5], colors=[line], linewidths=width, linestyles=dash)


def _draw_grasp(
    axis: Any, grasp: Grasps, gripper: Gripper, intrinsics: Intrinsics, rank: int, colour: Any, name: str
) -> None:
    """One grasp as a fork: two fingers, the palm between them, and the line of approach, which bears its name."""
    from matplotlib.patheffects import Normal, Stroke

    half, depth = grasp.width[0] / 2, gripper.finger_depth
    handle = (2 + 0.5 * rank) * depth  # of different lengths, so that the numbers do not cover each other
    fork = np.array([[0, -half], [-depth, -half], [-depth, half], [0, half], [-depth, 0], [-handle, 0]])
    uv, z = project(grasp.tips() + fork @ grasp.rotation[0, :, :2].T, intrinsics)
    if not (z > 0.01).all():
        return  # behind the camera
    width = 3.0 if rank == 0 else 1.8
    for line in (uv[:4], uv[4:]):
        axis.plot(
            *line.T,
            color=colour,
            linewidth=width,
            solid_capstyle="round",
            solid_joinstyle="round",
            path_effects=[Stroke(linewidth=width + 2, foreground=INK), Normal()],
            scalex=False,
            scaley=False,
        )
    axis.text(
        *uv[5],
        name,
        fontsize=12 if rank == 0 else 10,
        weight="bold",
        color=INK,
        ha="center",
        va="center",
        clip_on=True,
        bbox={"boxstyle": "circle,pad=0.2", "facecolor": colour, "edgecolor": INK},
    )
