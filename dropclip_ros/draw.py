# SPDX-License-Identifier: Apache-2.0
"""Pictures that explain a result at a glance (A.5), and coloured clouds for any viewer."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from dropclip_ros.grasping.grasps import Grasps
from dropclip_ros.grasping.grippers import ROBOTIQ_2F_140, Gripper
from dropclip_ros.vision.geometry import Intrinsics, project

_INK, _PAPER = "#1b1f24", "#ffffff"
_FOUND, _DOUBTFUL, _NOT_FOUND = "#1a7f37", "#bf6f00", "#cf222e"
_OUTLINE = "#00e5ff"
_GRASPS = ("#ffd400", "#ff8c42", "#ff8c42")  # the best one apart from the others
_WIDTH, _TITLE, _MARGIN = 1400, 52, 16  # pixels
_PANEL = 0.464  # of the width: two of them, and the scale
_DPI = 100


def draw_result(
    rgb: np.ndarray,
    intrinsics: Intrinsics,
    scores: np.ndarray,
    mask: np.ndarray,
    grasps: Grasps | None = None,
    *,
    title: str,
    threshold: float = 0.7,
    gripper: Gripper = ROBOTIQ_2F_140,
    reading: str = "",
    doubtful: bool = False,
) -> np.ndarray:
    """The answer to a query as one picture, uint8 (h, 1400, 3).

    Left: rgb uint8 (H, W, 3) with the outline of `mask` (H, W) bool and up to three grasps (best first, camera
    optical frame). Right: scores (H, W) in [0, 1], NaN where there is none, over the grey image, and a scale with the
    threshold. The title's band is red if the mask holds nothing, amber if the answer is doubtful, else green. reading:
    how the phrase was read, a line over the left picture.
    """
    height, width = rgb.shape[:2]
    if scores.shape != (height, width) or mask.shape != (height, width):
        raise ValueError(f"scores {scores.shape} and mask {mask.shape} must have the image's size {(height, width)}")
    figure, left, right = _panels(height / width, (_PANEL, _PANEL))
    left.imshow(rgb, interpolation="bilinear")
    _outline(left, mask)
    if grasps is not None:
        for i in reversed(range(min(len(grasps), len(_GRASPS)))):  # the best on top
            _draw_grasp(left, grasps[i], gripper, intrinsics, i)

    if reading:
        _caption(left, reading)
    grey = rgb @ np.array([0.299, 0.587, 0.114])
    right.imshow(0.55 * grey + 0.25 * 255, cmap="gray", vmin=0, vmax=255, interpolation="bilinear")
    heat = right.imshow(np.ma.masked_invalid(scores), cmap="turbo", vmin=0, vmax=1, alpha=0.8, interpolation="nearest")
    _outline(right, mask)
    _colour_bar(figure, heat, right, threshold)
    _title(figure, title, _NOT_FOUND if not mask.any() else _DOUBTFUL if doubtful else _FOUND)
    return _render(figure)


def draw_segments(rgb: np.ndarray, labels: np.ndarray, legend: Mapping[str, str]) -> np.ndarray:
    """Labels (H, W) int, 0 for none, over rgb uint8 (H, W, 3), and what they mean: uint8 (h, 1400, 3).

    legend: the name of each label, by its number as a string (as JSON has it); the largest segment comes first.
    """
    from matplotlib.patches import Patch

    height, width = rgb.shape[:2]
    seen, counts = np.unique(labels[labels > 0], return_counts=True)
    unknown = [int(label) for label in seen if str(label) not in legend]
    if labels.shape != (height, width) or unknown:
        raise ValueError(
            f"labels {labels.shape}, without a name: {unknown}; expected the image's size "
            f"{(height, width)} and a name for every label above 0"
        )
    colours = _distinct_colours(int(labels.max(initial=0)) + 1)
    tinted = rgb.astype(np.float32) * np.where(labels > 0, 0.4, 0.8)[..., None]
    tinted[labels > 0] += 0.6 * 255 * colours[labels[labels > 0]]
    figure, left = _panels(height / width, (0.66,))
    left.imshow(tinted.astype(np.uint8), interpolation="bilinear")
    order = seen[np.argsort(-counts, kind="stable")]
    handles = [Patch(color=colours[label], label=_writable(legend[str(label)])) for label in order]
    rows = max(int(left.bbox.height / 27), 1)
    figure.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(0.68, left.get_position().y1),
        frameon=False,
        fontsize=13,
        ncols=-(-len(handles) // rows) or 1,
        labelcolor=_INK,
        borderpad=0,
        borderaxespad=0,
    )
    _title(figure, f"{len(order)} of {len(legend)} names present", _INK)
    return _render(figure)


def write_ply(path: str | Path, points: np.ndarray, colors: np.ndarray, scores: np.ndarray) -> None:
    """Binary PLY with x y z (metres, float), red green blue (uint8) and score (float) at each point.

    points (N, 3), colors uint8 (N, 3), scores (N,). Written beside and renamed, so that nobody reads half a file.
    """
    points, colors, scores = np.asarray(points), np.asarray(colors), np.asarray(scores)
    if points.shape != (len(points), 3) or colors.shape != points.shape or scores.shape != (len(points),):
        raise ValueError(
            f"points {points.shape}, colors {colors.shape}, scores {scores.shape}; expected (N, 3) twice and (N,)"
        )
    if colors.dtype != np.uint8:
        raise ValueError(f"colors are {colors.dtype}; expected uint8")
    from dropclip_ros.base.light_open3d import o3d  # slow to import

    cloud = o3d.t.geometry.PointCloud()
    cloud.point.positions = o3d.core.Tensor.from_numpy(np.ascontiguousarray(points, dtype=np.float32))
    cloud.point.colors = o3d.core.Tensor.from_numpy(np.ascontiguousarray(colors))
    cloud.point.score = o3d.core.Tensor.from_numpy(np.ascontiguousarray(scores, dtype=np.float32)[:, None])
    path = Path(path)
    beside = path.with_name(f".{path.stem}.{os.getpid()}.ply")  # open3d chooses the format by the suffix
    try:
        if not o3d.t.io.write_point_cloud(beside, cloud):
            raise OSError(f"cannot write {beside}")
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def _panels(aspect: float, widths: Sequence[float]):
    """A figure and axes from left to right for images of height/width `aspect`; widths are shares of the figure's.

    Made without pyplot, so that threads and notebooks are left alone.
    """
    from matplotlib.figure import Figure

    tall = widths[0] * _WIDTH * aspect
    height = round(tall) + _TITLE + 2 * _MARGIN
    figure = Figure(figsize=(_WIDTH / _DPI, height / _DPI), dpi=_DPI, facecolor=_PAPER)
    axes, x = [], _MARGIN / _WIDTH
    for width in widths:
        axes.append(figure.add_axes((x, _MARGIN / height, width, tall / height)))
        axes[-1].set_axis_off()
        x += width + 0.6 * _MARGIN / _WIDTH
    return figure, *axes


def _caption(axis, text: str) -> None:
    """A line along the lower edge of a picture."""
    text = _with_known_letters(text)
    axis.text(
        0.01,
        0.015,
        text if len(text) <= 110 else text[:109] + "…",
        transform=axis.transAxes,
        fontsize=min(13, 1000 / max(len(text), 1)),
        color=_INK,
        parse_math=False,
        bbox={"boxstyle": "round,pad=0.3", "facecolor": _PAPER, "edgecolor": "none", "alpha": 0.85},
    )


def _with_known_letters(text: str) -> str:
    """The text with what the font cannot draw as its number: \\u7ea2."""
    from matplotlib.font_manager import findfont, get_font

    known = get_font(findfont("DejaVu Sans")).get_charmap()
    return "".join(c if ord(c) in known else f"\\u{ord(c):04x}" for c in text)


def _title(figure, title: str, colour: str) -> None:
    """A band across the top; long titles get smaller letters, then lose their end."""
    from matplotlib.patches import Rectangle

    title = _with_known_letters(title)
    share = _TITLE / (figure.get_size_inches()[1] * _DPI)
    title = _writable(title)
    title = title if len(title) <= 130 else title[:129] + "…"
    figure.add_artist(Rectangle((0, 1 - share), 1, share, facecolor=colour, linewidth=0, transform=figure.transFigure))
    figure.text(
        _MARGIN / _WIDTH,
        1 - share / 2,
        title,
        fontsize=min(20, 1400 / max(len(title), 1)),
        weight="bold",
        color="white",
        va="center_baseline",
        parse_math=False,
    )


def _writable(text: str) -> str:
    """The text with letters that the font lacks as their numbers: boxes in their place say nothing."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    known = get_font(findfont(FontProperties(weight="bold"))).get_charmap()
    return "".join(c if ord(c) in known else f"\\u{ord(c):04x}" for c in text)


def _colour_bar(figure, heat, axis, threshold: float) -> None:
    box = axis.get_position()
    bar = figure.colorbar(heat, cax=figure.add_axes((box.x1 + 0.006, box.y0, 0.010, box.height)))
    bar.solids.set_alpha(1)
    bar.outline.set_visible(False)
    ticks = [t for t in (0.0, 0.25, 0.5, 0.75, 1.0) if abs(t - threshold) > 0.06]
    bar.set_ticks([*ticks, threshold], labels=[f"{t:g}" for t in ticks] + [f"▸ {threshold:g}"])
    bar.ax.tick_params(labelsize=11, length=0, colors=_INK)
    bar.ax.get_yticklabels()[-1].set_weight("bold")
    bar.ax.axhline(threshold, color=_INK, linewidth=2.5)


def _outline(axis, mask: np.ndarray) -> None:
    if mask.any():
        for colour, width in ((_INK, 3.5), (_OUTLINE, 1.8)):
            axis.contour(mask, levels=[0.5], colors=[colour], linewidths=width)


def _draw_grasp(axis, grasp: Grasps, gripper: Gripper, intrinsics: Intrinsics, rank: int) -> None:
    """One grasp as a fork: two fingers, the palm between them, and the line of approach, which bears its number."""
    from matplotlib.patheffects import Normal, Stroke

    half, depth = grasp.width[0] / 2, gripper.finger_depth
    handle = (2 + 0.5 * rank) * depth  # of different lengths, so that the numbers do not cover each other
    fork = np.array([[0, -half], [-depth, -half], [-depth, half], [0, half], [-depth, 0], [-handle, 0]])
    uv, z = project(grasp.tips() + fork @ grasp.rotation[0, :, :2].T, intrinsics)
    if not (z > 0.01).all():
        return  # behind the camera
    colour, width = _GRASPS[rank], 3.0 if rank == 0 else 1.8
    for line in (uv[:4], uv[4:]):
        axis.plot(
            *line.T,
            color=colour,
            linewidth=width,
            solid_capstyle="round",
            solid_joinstyle="round",
            path_effects=[Stroke(linewidth=width + 2, foreground=_INK), Normal()],
            scalex=False,
            scaley=False,
        )
    axis.text(
        *uv[5],
        str(rank + 1),
        fontsize=12 if rank == 0 else 10,
        weight="bold",
        color=_INK,
        ha="center",
        va="center",
        clip_on=True,
        bbox={"boxstyle": "circle,pad=0.2", "facecolor": colour, "edgecolor": _INK},
    )


def _distinct_colours(count: int) -> np.ndarray:
    """(count, 3) in [0, 1]: hues a golden angle apart, so that neighbours in the list differ."""
    from matplotlib.colors import hsv_to_rgb

    index = np.arange(count)
    saturation, value = 0.85 - 0.3 * (index % 3 == 1), 0.95 - 0.3 * (index % 2)
    return hsv_to_rgb(np.stack([index * 0.618034 % 1, saturation, value], axis=-1))


def _render(figure) -> np.ndarray:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
