# SPDX-License-Identifier: Apache-2.0
"""How well collision shapes fit what is seen, by category of the procedural objects or for the meshes of a catalogue.

    python -m benchmarks.path.collision [--catalogue objects] [--each 2]

IoU of volumes; how far the mesh stands out of its parts (things would sink in so far) and the parts off the mesh
(things would stay so far apart), the worst of `each` objects; parts and time to build, in the mean.
"""

from __future__ import annotations

import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import tyro

from training.objects.catalogue import Catalogue
from training.objects.decompose import fit


def main(catalogue: Path | None = None, each: int = 2, samples: int = 2000) -> None:
    """Prints a row a category and the worst of all."""
    objects = Catalogue.procedural() if catalogue is None else Catalogue.load(catalogue)
    by_category = defaultdict(list)
    for spec in objects.specs:
        by_category[spec.category].append(spec)
    print("| category | parts | IoU | stands out, mm | stands off, mm | kg | build, ms |")
    print("|---|---|---|---|---|---|---|")
    rows = []
    for category, specs in sorted(by_category.items()):
        fits, milliseconds, masses = [], [], []
        for spec in specs[:each]:
            start = time.perf_counter()
            model = objects.build(spec)
            milliseconds.append(1e3 * (time.perf_counter() - start))
            masses.append(model.mass)
            fits.append(fit(model.vertices, model.faces, model.hull_parts, samples))
        parts, iou = np.mean([one.parts for one in fits]), min(one.iou for one in fits)
        out, off = (1e3 * max(getattr(one, name) for one in fits) for name in ("uncovered", "air"))
        rows.append((parts, iou, out, off, np.mean(masses), np.mean(milliseconds)))
        print(f"| {category} | " + " | ".join(f"{value:.3g}" for value in rows[-1]) + " |", flush=True)
    parts, iou, out, off, mass, build = np.array(rows).T
    print(
        f"| all {len(rows)} | {parts.mean():.3g} | {np.median(iou):.3g} (median), {iou.min():.3g} (least) | "
        f"{out.max():.3g} (most) | {np.median(off):.3g} (median), {off.max():.3g} (most) | {mass.mean():.3g} | "
        f"{build.mean():.3g} |"
    )


if __name__ == "__main__":
    tyro.cli(main)
