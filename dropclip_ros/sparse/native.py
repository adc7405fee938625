# SPDX-License-Identifier: Apache-2.0
"""The compiled kernels of native/sparse.c, where the build made them: sparse convolution in fp32 on the CPU.

`available()` says whether they are there; `sparse.py` computes the same in plain torch otherwise. Arguments are as
`sparse.KernelMap` holds them; nothing here checks shapes twice.
"""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import pad

LIBRARY = Path(__file__).parents[1] / "sparse_cpu.so"  # where the build puts all libraries
TILE = 1024  # output rows of a tile, as in sparse.c
LANES = 16  # columns are padded to a multiple of these


@functools.cache
def _library() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL(str(LIBRARY))  # shares the threads of torch's OpenMP, which is loaded before
    except OSError:
        return None
    library.count_pairs.restype = ctypes.c_int64
    return library


def available() -> bool:
    return _library() is not None


def _call(name: str, *arguments: Tensor | int | None) -> int:
    """Tensors become pointers to what they hold, numbers int64; the number of threads comes last."""
    pointers = [a.data_ptr() if isinstance(a, Tensor) else a or 0 for a in arguments]  # of 64 bits, as the numbers
    return getattr(_library(), name)(*map(ctypes.c_int64, (*pointers, torch.get_num_threads())))


def find_pairs(volume: Tensor, cells: Tensor | None, offsets: Tensor, rows: int) -> tuple[Tensor, Tensor, Tensor]:
    """Source and target row (P,) int32 of each pair, by tile and offset, and where each of these begins, int64.

    Output row j meets volume[cells[j] + offset] (int32, int64; cells None: j itself) unless that is negative.
    """
    starts = torch.empty(-(-rows // TILE) * len(offsets) + 1, dtype=torch.int64)
    count = _call("count_pairs", volume, cells, offsets, len(offsets), rows, starts)
    source, target = torch.empty(2, count, dtype=torch.int32)
    _call("find_pairs", volume, cells, offsets, len(offsets), rows, starts, source, target)
    return source, target, starts


def convolve(
    x: Tensor,
    kernel: Tensor,
    bias: Tensor | None,
    residual: Tensor | None,
    relu: bool,
    rows: int,
    pairs: tuple[Tensor, Tensor, Tensor],
) -> Tensor:
    """Rows (rows, Co) from x (n, Ci) and kernel (K, Ci, Co), by the pairs of `find_pairs`, plus bias and
    residual (rows, Co), then ReLU."""
    offsets, inputs, outputs = kernel.shape
    kernel = _padded(kernel)
    out = x.new_empty(rows, outputs)
    sizes = (offsets, rows, inputs, outputs, kernel.shape[2])
    residual = None if residual is None else residual.contiguous()
    _call("convolve", x.contiguous(), kernel, bias, residual, int(relu), out, *pairs, *sizes)
    return out


def kernel_gradient(x: Tensor, grad: Tensor, shape: torch.Size, pairs: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Gradient (K, Ci, Co) of the kernel of `convolve` from that of its result (rows, Co)."""
    offsets, inputs, outputs = shape
    grad = _padded(grad)
    total = x.new_zeros(offsets, inputs, grad.shape[1])
    _call("kernel_gradient", x.contiguous(), grad, total, *pairs, offsets, len(grad), inputs, grad.shape[1])
    return total[:, :, :outputs]


def _padded(matrix: Tensor) -> Tensor:
    missing = -matrix.shape[-1] % LANES
    return pad(matrix, (0, missing)) if missing else matrix.contiguous()
