# SPDX-License-Identifier: Apache-2.0
"""Labels over an image, and what they mean."""

from collections.abc import Mapping

import numpy as np

from dropclip_ros.draw.colours import distinct_colours, main_colours
from dropclip_ros.draw.letters import families, writable
from dropclip_ros.draw.page import INK, add_title, make_panels, render


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
    own = [main_colours(rgb, labels == label) for label in seen]
    colours = np.zeros((int(labels.max(initial=0)) + 1, 3))
    colours[seen] = distinct_colours(len(seen), own)
    tinted = rgb.astype(np.float32) * np.where(labels > 0, 0.4, 0.8)[..., None]
    tinted[labels > 0] += 0.6 * 255 * colours[labels[labels > 0]]
    figure, left = make_panels(height / width, (0.66,))
    left.imshow(tinted.astype(np.uint8), interpolation="bilinear")
    order = seen[np.argsort(-counts, kind="stable")]
    handles = [Patch(color=colours[label], label=writable(legend[str(label)])) for label in order]
    rows = max(int(left.bbox.height / 27), 1)
    figure.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(0.68, left.get_position().y1),
        frameon=False,
        prop={"family": families("".join(legend.values())), "size": 13},
        ncols=-(-len(handles) // rows) or 1,
        labelcolor=INK,
        borderpad=0,
        borderaxespad=0,
    )
    add_title(figure, f"{len(order)} of {len(legend)} names present", INK)
    return render(figure)
