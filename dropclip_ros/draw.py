# SPDX-License-Identifier: Apache-2.0
"""Pictures that explain a result at a glance, and coloured clouds for any viewer."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dropclip_ros.geometry import Intrinsics, project
from dropclip_ros.grasps import ROBOTIQ_2F_140, Grasps, Gripper

_INK, _PAPER = "#1b1f24", "#ffffff"
_FOUND, _NOT_FOUND = "#1a7f37", "#cf222e"
_OUTLINE = "#00e5ff"
_GRASPS = ("#ffd400", "#ff8c42", "#ff8c42")  # the best one apart from the others
_WIDTH = 1400  # pixels
_DPI = 100


def image_of(pixels: np.ndarray, values: np.ndarray, height: int, width: int) -> np.ndarray:
    """Scatter values (N,) to their flat row-major pixels (N,): (H, W) float32, NaN where there is none."""
    image = np.full(height * width, np.nan, dtype=np.float32)
    image[pixels] = values
    return image.reshape(height, width)


def draw_result(rgb: np.ndarray, intrinsics: Intrinsics, scores: np.ndarray, mask: np.ndarray, *, query: str,
                found: bool, score: float = float("nan"), latency_ms: float = float("nan"), threshold: float = 0.7,
                grasps: Grasps | None = None, gripper: Gripper = ROBOTIQ_2F_140) -> np.ndarray:
    """The answer to a query as one picture, uint8 (h, 1400, 3).

    Left: rgb uint8 (H, W, 3) with the outline of `mask` (H, W) bool and up to three grasps (best first, camera
    optical frame). Right: scores (H, W) in [0, 1], NaN where there is none, over the grey image. The title says what
    was asked, whether it was found, the score, and the time it took.
    """
    height, width = rgb.shape[:2]
    if scores.shape != (height, width) or mask.shape != (height, width):
        raise ValueError(f"scores {scores.shape} and mask {mask.shape} must have the image's size {(height, width)}")
    figure, (left, right) = _panels(height / width)
    left.imshow(rgb, interpolation="bilinear")
    if found:
        _outline(left, mask)
    if grasps is not None:
        for i in reversed(range(min(len(grasps), len(_GRASPS)))):  # the best on top
            _draw_grasp(left, grasps[i], gripper, intrinsics, str(i + 1), _GRASPS[i], best=i == 0)

    grey = rgb @ np.array([0.299, 0.587, 0.114])
    right.imshow(0.55 * grey + 0.25 * 255, cmap="gray", vmin=0, vmax=255, interpolation="bilinear")
    heat = right.imshow(np.ma.masked_invalid(scores), cmap="turbo", vmin=0, vmax=1, alpha=0.8, interpolation="nearest")
    if found:
        _outline(right, mask)
    _colour_bar(figure, heat, right, threshold)
    _title(figure, query, found, score, latency_ms)
    return _render(figure)


def draw_segments(rgb: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Labels (H, W) int, indices into `names`, < 0 for none, over rgb uint8 (H, W, 3), with a legend: uint8 image."""
    from matplotlib.patches import Patch

    height, width = rgb.shape[:2]
    if labels.shape != (height, width) or labels.max(initial=-1) >= len(names):
        raise ValueError(f"labels {labels.shape} up to {labels.max(initial=-1)}; expected the image's size "
                         f"{(height, width)} and indices into the {len(names)} names")
    figure, (left, right) = _panels(height / width)
    colours = _distinct_colours(len(names))
    tinted = rgb.astype(np.float32) * np.where(labels >= 0, 0.4, 0.8)[..., None]
    tinted[labels >= 0] += 0.6 * 255 * colours[labels[labels >= 0]]
    left.imshow(tinted.astype(np.uint8), interpolation="bilinear")
    right.set_visible(False)
    seen, counts = np.unique(labels[labels >= 0], return_counts=True)
    order = seen[np.argsort(-counts)]
    handles = [Patch(color=colours[i], label=names[i]) for i in order]
    figure.legend(handles=handles, loc="upper left", bbox_to_anchor=(0.515, 0.87), frameon=False, fontsize=13,
                  ncols=1 + (len(handles) > 14) + (len(handles) > 28), labelcolor=_INK, borderaxespad=0)
    figure.text(0.012, 0.945, f"{len(order)} of {len(names)} names present", fontsize=17, color=_INK, weight="bold",
                va="center")
    return _render(figure)


def write_ply(path: str | Path, points: np.ndarray, colors: np.ndarray, scores: np.ndarray) -> None:
    """Binary PLY with x y z (metres, float), red green blue (uint8) and score (float) at each point.

    points (N, 3), colors uint8 (N, 3), scores (N,). Written beside and renamed, so that nobody reads half a file.
    """
    points, colors, scores = np.asarray(points), np.asarray(colors), np.asarray(scores)
    if points.shape != (len(points), 3) or colors.shape != points.shape or scores.shape != (len(points),):
        raise ValueError(f"points {points.shape}, colors {colors.shape}, scores {scores.shape}; expected (N, 3) twice "
                         "and (N,)")
    if colors.dtype != np.uint8:
        raise ValueError(f"colors are {colors.dtype}; expected uint8")
    import open3d as o3d

    cloud = o3d.t.geometry.PointCloud()
    cloud.point.positions = o3d.core.Tensor(np.ascontiguousarray(points, dtype=np.float32))
    cloud.point.colors = o3d.core.Tensor(np.ascontiguousarray(colors))
    cloud.point.score = o3d.core.Tensor(np.ascontiguousarray(scores, dtype=np.float32)[:, None])
    path = Path(path)
    beside = path.with_name(f".{path.stem}.{os.getpid()}.ply")  # open3d chooses the format by the suffix
    try:
        if not o3d.t.io.write_point_cloud(str(beside), cloud):
            raise OSError(f"cannot write {beside}")
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def _panels(aspect: float):
    """A figure and two axes side by side, made without pyplot so that threads and notebooks are left alone."""
    from matplotlib.figure import Figure

    panel = 0.465 * _WIDTH
    height = panel * aspect + 118
    figure = Figure(figsize=(_WIDTH / _DPI, round(height) / _DPI), dpi=_DPI, facecolor=_PAPER)
    bottom, tall = 22 / height, panel * aspect / height
    axes = [figure.add_axes((x, bottom, 0.465, tall)) for x in (0.012, 0.485)]
    for axis in axes:
        axis.set_axis_off()
    return figure, axes


def _title(figure, query: str, found: bool, score: float, latency_ms: float) -> None:
    height = figure.get_size_inches()[1] * _DPI
    line, small = 1 - 36 / height, 1 - 77 / height
    shown = query if len(query) <= 60 else query[:59] + "…"
    verdict = "FOUND" if found else "NOT FOUND"
    figure.text(0.012, line, f"“{shown}”", fontsize=20, weight="bold", color=_INK, va="center", parse_math=False)
    figure.text(0.95, line, verdict, fontsize=17, weight="bold", color="white", va="center", ha="right",
                bbox={"boxstyle": "round,pad=0.35", "facecolor": _FOUND if found else _NOT_FOUND, "linewidth": 0})
    facts = [f"score {score:.2f}"] * bool(np.isfinite(score)) + [f"{latency_ms:.0f} ms"] * bool(np.isfinite(latency_ms))
    figure.text(0.95, small, "   ".join(facts), fontsize=14, color=_INK, va="center", ha="right")
    figure.text(0.012, small, "object found and best grasps" if found else "camera", fontsize=13, color="#57606a",
                va="center")
    figure.text(0.485, small, "similarity to the query", fontsize=13, color="#57606a", va="center")


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


def _draw_grasp(axis, grasp: Grasps, gripper: Gripper, intrinsics: Intrinsics, label: str, colour: str,
                best: bool) -> None:
    """One grasp as a fork: two fingers, the palm between them, and the line of approach."""
    from matplotlib.patheffects import Stroke, withStroke

    half, depth = grasp.width[0] / 2, gripper.finger_depth
    fork = np.array([[0, -half], [-depth, -half], [-depth, half], [0, half], [-depth, 0], [-2 * depth, 0]])
    points = grasp.tips() + fork @ grasp.rotation[0, :, :2].T
    uv, z = project(points, intrinsics)
    if not (z > 0.01).all():
        return  # behind the camera
    width = 3.5 if best else 2.2
    for line in (uv[:4], uv[4:]):
        axis.plot(*line.T, color=colour, linewidth=width, solid_capstyle="round", solid_joinstyle="round",
                  path_effects=[Stroke(linewidth=width + 2.5, foreground=_INK), withStroke(linewidth=0)],
                  scalex=False, scaley=False)
    axis.text(*uv[5], label, fontsize=13 if best else 11, weight="bold", color=_INK, ha="center", va="center",
              clip_on=True, bbox={"boxstyle": "circle,pad=0.2", "facecolor": colour, "edgecolor": _INK})


def _distinct_colours(count: int) -> np.ndarray:
    """(count, 3) in [0, 1]: hues a golden angle apart, so that neighbours in the list differ."""
    from matplotlib.colors import hsv_to_rgb

    index = np.arange(count)
    return hsv_to_rgb(np.stack([index * 0.618034 % 1, 0.85 - 0.3 * (index % 3 == 1), 0.95 - 0.3 * (index % 2)], axis=-1))


def _render(figure) -> np.ndarray:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
