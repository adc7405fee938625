# SPDX-License-Identifier: Apache-2.0
"""Triton kernels of `TritonGrid`: kernel maps, and sparse convolution as an output-stationary implicit GEMM.

Output rows are sorted by the bitmask of the kernel offsets under which they have a neighbour and cut into tiles. A tile
walks only over the offsets that at least one of its rows has, gathers the input rows straight into the product, and
writes each output row once, with bias, residual and ReLU applied: no gathered copy in memory, no atomics, repeatable.

Each kernel reads sizes that depend on the data (how many offsets a tile has) from device memory, so no launch waits for
the host. Importing this module needs Triton 3.6 or newer. Not yet run or timed on a GPU; checked in Triton's
interpreter and compiled for sm_87, sm_89 and sm_90 (test/sparse/compile_triton.py).
"""

import triton
import triton.language as tl

if tuple(int(part) for part in triton.__version__.split(".")[:2]) < (3, 6):
    raise ImportError(f"Triton {triton.__version__} is too old: 3.6 or newer is needed, 3.4 cannot compile this")

# few, and tuned per (Ci, Co, offsets, tile), never per number of voxels; what does not fit a GPU's shared memory is
# left out by the tuner
_BLOCKS = ((32, 32, 4, 7), (32, 64, 4, 6), (64, 32, 4, 7), (64, 64, 4, 5), (128, 32, 8, 5), (128, 64, 8, 5))
_GRADIENT_BLOCKS = ((32, 32, 4, 3), (32, 64, 4, 3), (64, 64, 4, 3), (64, 128, 8, 2))
INTERPRETED = triton.knobs.runtime.interpret
UPCAST = tl.constexpr(INTERPRETED)


def _fitting(configs: list[triton.Config], arguments: dict, **_) -> list[triton.Config]:
    """Blocks no wider than the output needs; the smallest always stays."""
    limit = max(32, triton.next_power_of_2(arguments["CO"]))
    return [config for config in configs if config.kwargs["BLOCK_O"] <= limit]


def _tuned(blocks: tuple[tuple[int, int, int, int], ...], first: str, second: str):
    if INTERPRETED:  # nothing to time
        blocks = ((64, 64, 4, 1),)
    configs = [triton.Config({first: a, second: b}, num_warps=w, num_stages=s) for a, b, w, s in blocks]
    return triton.autotune(
        configs,
        key=["CI", "CO", "VOLUME", "TILE"],
        prune_configs_by={"early_config_prune": _fitting},
        cache_results=True,
    )


@triton.jit
def link_kernel(key, fine, coarse, parents, codes, children, n, n_coarse, LEVEL: tl.constexpr, BLOCK: tl.constexpr):
    """Parent and child code of each voxel of a level, and the children (8, n_coarse) of the next coarser one.

    key (n,): Morton keys of the finest voxels; fine, coarse (n,): their row in `LEVEL` and in the level above.
    """
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    within = i < n
    row = tl.load(fine + i, mask=within, other=0)
    before = tl.load(fine + i - 1, mask=within & (i > 0), other=-1)
    first = within & (row != before)  # one finest voxel speaks for its voxel of this level
    parent = tl.load(coarse + i, mask=first, other=0)
    code = ((tl.load(key + i, mask=first, other=0) >> (3 * LEVEL)) & 7).to(tl.int32)
    tl.store(parents + row, parent, mask=first)
    tl.store(codes + row, code, mask=first)
    tl.store(children + code * n_coarse + parent, row, mask=first)


@triton.jit
def neighbours_kernel(
    parents,
    codes,
    around,
    children,
    table,
    n,
    n_coarse,
    SIZE: tl.constexpr,
    CHUNK: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Rows (SIZE^3, n) of each voxel's neighbours, SIZE 3 or 5; -1 for none.

    A neighbour is a child of a neighbour of the parent: two look-ups in `around` (27, n_coarse), the same table of the
    next coarser level, and `children` (8, n_coarse). Nothing is searched or hashed.
    """
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    parent = tl.load(parents + i, mask=i < n, other=0)[None, :]
    code = tl.load(codes + i, mask=i < n, other=0)[None, :]
    for start in range(0, SIZE * SIZE * SIZE, CHUNK):
        k = (start + tl.arange(0, CHUNK))[:, None]
        within = (k < SIZE * SIZE * SIZE) & (i < n)[None, :]
        # in units of this level, from the parent's corner: -2 to 3, so the neighbour's parent is at -1, 0 or 1
        x = (code & 1) + (k % SIZE - SIZE // 2)
        y = (code >> 1 & 1) + (k // SIZE % SIZE - SIZE // 2)
        z = (code >> 2) + (k // (SIZE * SIZE) - SIZE // 2)
        beside = (x >> 1) + 3 * (y >> 1) + 9 * (z >> 1) + 13
        above = tl.load(around + beside * n_coarse + parent, mask=within, other=-1)
        child = (x & 1) + 2 * (y & 1) + 4 * (z & 1)
        found = tl.load(children + child * n_coarse + above, mask=within & (above >= 0), other=-1)
        tl.store(table + k * n + i[None, :], found, mask=within)


@triton.jit
def plan_kernel(
    neighbours,
    rows,
    sources,
    offsets,
    counts,
    slots,
    n,
    VOLUME: tl.constexpr,
    CHUNK: tl.constexpr,
    TILE: tl.constexpr,
):
    """For each tile of `rows` (n,), what it needs of `neighbours` (VOLUME, n), one slot for each offset that it has.

    sources (tiles, VOLUME, TILE): the input rows of a slot, -1 for none; offsets (tiles, VOLUME): its kernel offset;
    counts (tiles,): how many slots are used, the first ones. slots (VOLUME, tiles): the slot of an offset, counted
    over all tiles, -1 where the tile has none.
    """
    tile = tl.program_id(0)
    lane = tl.arange(0, TILE)
    j = tile * TILE + lane
    row = tl.load(rows + j, mask=j < n, other=0)
    count = 0
    for start in range(0, VOLUME, CHUNK):
        k = start + tl.arange(0, CHUNK)
        within = (k < VOLUME)[:, None] & (j < n)[None, :]
        found = tl.load(neighbours + k[:, None] * n + row[None, :], mask=within, other=-1)
        used = tl.max((found >= 0).to(tl.int32), axis=1)
        slot = tile * VOLUME + count + tl.cumsum(used, 0) - used
        tl.store(sources + slot[:, None] * TILE + lane[None, :], found, mask=(used > 0)[:, None] & (lane >= 0)[None, :])
        tl.store(offsets + slot, k, mask=used > 0)
        tl.store(slots + k * tl.num_programs(0) + tile, tl.where(used > 0, slot, -1), mask=k < VOLUME)
        count += tl.sum(used, 0)
    tl.store(counts + tile, count)


@triton.jit
def _finished(sums, row, o, within, bias, residual, CO, RELU: tl.constexpr):
    """Bias (CO,) or None, residual (n, CO) or None, then ReLU."""
    if bias is not None:
        sums += tl.load(bias + o, mask=o < CO, other=0.0).to(tl.float32)[None, :]
    if residual is not None:
        sums += tl.load(residual + row[:, None] * CO + o[None, :], mask=within, other=0.0).to(tl.float32)
    return tl.maximum(sums, 0.0) if RELU else sums


@_tuned(_BLOCKS, "BLOCK_O", "BLOCK_I")
@triton.heuristics({"TOGETHER": lambda arguments: arguments["BLOCK_I"] // triton.next_power_of_2(arguments["CI"])})
@triton.jit
def convolve_kernel(  # long: its state lives in registers, which functions would have to hand on by the dozen
    x,
    kernel,
    bias,
    residual,
    out,
    sources,
    offsets,
    counts,
    rows,
    n,
    CI,
    CO,
    stride_k,
    stride_i,
    stride_o,
    VOLUME: tl.constexpr,
    TILE: tl.constexpr,
    SPLITS: tl.constexpr,
    MIRRORED: tl.constexpr,
    RELU: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_O: tl.constexpr,
    BLOCK_I: tl.constexpr,
    TOGETHER: tl.constexpr,
):
    """out (n, CO) = sum over offsets k of the neighbours' x (n, CI) times kernel[k] (CI, CO), for one tile of rows.

    Grid: tiles, blocks of output channels, SPLITS. With more than one split each sums a part of the products into its
    own slice of `out` (SPLITS, n, CO) float32, which `finish_kernel` adds up. TOGETHER: narrow inputs take so many
    kernel offsets in one step. MIRRORED: the kernel of the opposite offset.
    """
    tile = tl.program_id(0)
    split = tl.program_id(2)
    lane = tl.arange(0, TILE)
    o = tl.program_id(1) * BLOCK_O + tl.arange(0, BLOCK_O)
    i = tl.arange(0, BLOCK_I)
    count = tl.load(counts + tile)
    if TOGETHER > 1:
        steps = (count + TOGETHER - 1) // TOGETHER
    else:
        per_offset = (CI + BLOCK_I - 1) // BLOCK_I
        steps = count * per_offset
    sums = tl.full((TILE, BLOCK_O), 0.0, tl.float32)
    for step in range(steps * split // SPLITS, steps * (split + 1) // SPLITS):
        if TOGETHER > 1:
            WIDTH: tl.constexpr = BLOCK_I // TOGETHER
            nth = step * TOGETHER + i // WIDTH
            channel = i % WIDTH
            slot = tile * VOLUME + nth
            taken = (nth < count) & (channel < CI)
            k = tl.load(offsets + slot, mask=nth < count, other=0)
            source = tl.load(
                sources + slot[None, :] * TILE + lane[:, None], mask=taken[None, :] & (lane >= 0)[:, None], other=-1
            )
            there = source >= 0
            at = source.to(tl.int64) * CI + channel[None, :]
        else:
            slot = tile * VOLUME + step // per_offset
            channel = step % per_offset * BLOCK_I + i
            taken = channel < CI
            k = tl.load(offsets + slot)
            source = tl.load(sources + slot * TILE + lane)
            there = (source >= 0)[:, None] & taken[None, :]
            at = (source.to(tl.int64) * CI)[:, None] + channel[None, :]
        a = tl.load(x + at, mask=there, other=0.0)
        if MIRRORED:
            k = VOLUME - 1 - k
        b = tl.load(
            kernel + (k * stride_k + channel * stride_i)[:, None] + o[None, :] * stride_o,
            mask=taken[:, None] & (o < CO)[None, :],
            other=0.0,
        )
        if UPCAST:  # the interpreter would multiply the bits of bfloat16
            a, b = a.to(tl.float32), b.to(tl.float32)
        sums = tl.dot(a, b, sums, input_precision=PRECISION)
    j = tile * TILE + lane
    row = tl.load(rows + j, mask=j < n, other=0).to(tl.int64)
    within = (j < n)[:, None] & (o < CO)[None, :]
    if SPLITS > 1:
        out += split.to(tl.int64) * n * CO
    else:
        sums = _finished(sums, row, o, within, bias, residual, CO, RELU)
    tl.store(out + row[:, None] * CO + o[None, :], sums.to(out.dtype.element_ty), mask=within)


@triton.jit
def finish_kernel(
    parts,
    bias,
    residual,
    out,
    n,
    CO,
    SPLITS: tl.constexpr,
    RELU: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK_O: tl.constexpr,
):
    """Add up the SPLITS parts (SPLITS, n, CO) of `convolve_kernel`, in one order, into out (n, CO)."""
    row = (tl.program_id(0) * ROWS + tl.arange(0, ROWS)).to(tl.int64)
    o = tl.program_id(1) * BLOCK_O + tl.arange(0, BLOCK_O)
    within = (row < n)[:, None] & (o < CO)[None, :]
    at = row[:, None] * CO + o[None, :]
    sums = tl.full((ROWS, BLOCK_O), 0.0, tl.float32)
    for _ in range(SPLITS):
        sums += tl.load(parts + at, mask=within, other=0.0)
        parts += n.to(tl.int64) * CO
    sums = _finished(sums, row, o, within, bias, residual, CO, RELU)
    tl.store(out + at, sums.to(out.dtype.element_ty), mask=within)


@_tuned(_GRADIENT_BLOCKS, "BLOCK_I", "BLOCK_O")
@triton.jit
def kernel_gradient_kernel(
    x,
    grad,
    out,
    sources,
    rows,
    slots,
    counts,
    n,
    n_tiles,
    CI,
    CO,
    SPLITS,
    VOLUME: tl.constexpr,
    TILE: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_I: tl.constexpr,
    BLOCK_O: tl.constexpr,
):
    """out[split, k] (CI, CO) = sum over a share of the tiles that have offset k of x^T grad over its pairs.

    Grid: VOLUME, blocks of (CI, CO), SPLITS. slots (VOLUME, n_tiles): those of an offset, `counts` (VOLUME,) of them
    first. The splits are added up by the caller, always in the same order.
    """
    k = tl.program_id(0)
    split = tl.program_id(2)
    blocks = (CO + BLOCK_O - 1) // BLOCK_O
    i = tl.program_id(1) // blocks * BLOCK_I + tl.arange(0, BLOCK_I)
    o = tl.program_id(1) % blocks * BLOCK_O + tl.arange(0, BLOCK_O)
    lane = tl.arange(0, TILE)
    count = tl.load(counts + k)
    sums = tl.full((BLOCK_I, BLOCK_O), 0.0, tl.float32)
    for nth in range(count * split // SPLITS, count * (split + 1) // SPLITS):
        slot = tl.load(slots + k * n_tiles + nth)
        j = slot // VOLUME * TILE + lane
        source = tl.load(sources + slot * TILE + lane)
        target = tl.load(rows + j, mask=j < n, other=0)
        there = source >= 0
        at = source.to(tl.int64)[None, :] * CI + i[:, None]
        a = tl.load(x + at, mask=there[None, :] & (i < CI)[:, None], other=0.0)
        at = target.to(tl.int64)[:, None] * CO + o[None, :]
        b = tl.load(grad + at, mask=there[:, None] & (o < CO)[None, :], other=0.0)
        if UPCAST:  # the interpreter would multiply the bits of bfloat16
            a, b = a.to(tl.float32), b.to(tl.float32)
        sums = tl.dot(a, b, sums, input_precision=PRECISION)
    at = ((split * VOLUME + k).to(tl.int64) * CI + i[:, None]) * CO + o[None, :]
    tl.store(out + at, sums, mask=(i < CI)[:, None] & (o < CO)[None, :])
