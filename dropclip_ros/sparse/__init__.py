# SPDX-License-Identifier: Apache-2.0
"""Sparse convolution on voxels (A.2): `protocol` says what a grid is, each other module is one; `make_grid` chooses.

A new backend is a module with such a class, and a line in BACKENDS.
"""

from __future__ import annotations

import os
from importlib import import_module
from importlib.util import find_spec

from torch import Tensor

from dropclip_ros.sparse.protocol import Grid

BACKENDS = {  # what DROPCLIP_GRID may name: module and class; imported when asked for
    "torch": ("dropclip_ros.sparse.cpu", "SparseGrid"),
    "triton": ("dropclip_ros.sparse.triton", "TritonGrid"),
    "spconv": ("dropclip_ros.sparse.spconv", "SpconvGrid"),
    "minkowski": ("dropclip_ros.sparse.minkowski", "MinkowskiGrid"),
}


def make_grid(coords: Tensor) -> Grid:
    """The grid that the encoder makes of voxels, (N, 3) or (N, 4) as for `SparseGrid`.

    `TritonGrid` on a CUDA device where Triton is installed, else `SparseGrid`; DROPCLIP_GRID in the environment asks
    for one of BACKENDS. ValueError as `SparseGrid`, RuntimeError where the grid cannot run here.
    """
    wanted = os.environ.get("DROPCLIP_GRID") or ("triton" if coords.is_cuda and find_spec("triton") else "torch")
    if wanted not in BACKENDS:
        raise ValueError(f"DROPCLIP_GRID must be one of {', '.join(BACKENDS)}; got {wanted!r}")
    module, name = BACKENDS[wanted]
    try:
        return getattr(import_module(module), name)(coords)
    except ValueError:
        raise
    except Exception as error:  # a compiler that is missing, a device that is too old: whatever it raises
        raise RuntimeError(
            f"sparse convolution with {wanted} does not run on {coords.device} ({error}); DROPCLIP_GRID=torch in the "
            "environment does without it"
        ) from error
