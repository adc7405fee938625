# SPDX-License-Identifier: Apache-2.0
"""Compile the Triton kernels for GPUs that need not be here: H200, RTX 4090 and Orin.

    python test/sparse/compile_triton.py [--all]

Prints the registers, spilled bytes and shared memory of each kernel's first configuration, or of all, and ends with 1
where the first does not fit a GPU's shared memory. Its own process: where Triton interprets, it compiles nothing.
"""

import itertools
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.pop("TRITON_INTERPRET", None)
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from dropclip_ros.sparse import triton_kernels as kernels

SHARED = {90: 227 << 10, 89: 99 << 10, 87: 163 << 10}  # bytes a program may have
MULTIPLES_OF_16 = {"CI", "CO", "stride_k", "stride_i"}  # as with the usual widths
SIZES = {"n", "n_tiles", "n_coarse", "CI", "CO", "SPLITS", "stride_k", "stride_i"}
FEATURES = {"x", "kernel", "bias", "residual", "grad", "out"}


def compiled(kernel, capability: int, warps: int, stages: int, floats: str, constants: dict, types: dict):
    """The kernel with arguments as the grid gives them: features of `floats`, int32 tables, others as in `types`."""
    while not isinstance(kernel, triton.JITFunction):
        kernel = kernel.fn
    signature, attributes = {}, {}
    for index, name in enumerate(kernel.arg_names):
        if name in constants:
            signature[name] = "constexpr"
        elif name in SIZES:
            signature[name] = "i32"
        else:
            signature[name] = "*" + types.get(name, floats if name in FEATURES else "i32")
        if signature[name].startswith("*") or name in MULTIPLES_OF_16 - constants.keys():
            attributes[index,] = [["tt.divisibility", 16]]
    places = {(kernel.arg_names.index(name),): value for name, value in constants.items()}
    source = ASTSource(fn=kernel, signature=signature, constexprs=places, attrs=attributes)
    return triton.compile(source, GPUTarget("cuda", capability, 32), {"num_warps": warps, "num_stages": stages})


def resources(binary) -> str:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(binary.asm["cubin"])
        file.flush()
        tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
        listing = subprocess.run([tool, "-res-usage", file.name], capture_output=True, text=True, check=True).stdout
    registers, stack = re.search(r"REG:(\d+) STACK:(\d+)", listing).groups()
    tensor = (
        "wgmma" if "wgmma.mma_async" in binary.asm["ptx"] else "mma" if "mma.sync" in binary.asm["ptx"] else "no mma"
    )
    return f"{registers:>3} registers, {stack:>4} bytes spilled, {binary.metadata.shared >> 10:3d} KiB shared, {tensor}"


def variants(kernel, constants: dict, everything: bool) -> list[tuple[str, int, int, dict]]:
    """(floats, warps, stages, constants) of a tuned kernel."""
    found = []
    for floats, tile in itertools.product(("fp16", "fp32"), (64, 128)):
        common = {**constants, "VOLUME": 27, "TILE": tile, "PRECISION": "tf32x3" if floats == "fp32" else "tf32"}
        found += [(floats, c.num_warps, c.num_stages, {**common, **c.kwargs}) for c in kernel.configs]
    return found if everything else found[:1]


def main(everything: bool) -> int:
    tuned = kernels.convolve_kernel
    fused = {"SPLITS": 1, "MIRRORED": False, "RELU": True, "stride_o": 1, "TOGETHER": 0}
    plain = {**fused, "RELU": False, "bias": None, "residual": None}
    split = {**plain, "SPLITS": 4, "MIRRORED": True}
    narrow = {**plain, "TOGETHER": 8}
    work = [  # kernel, types of some arguments, (floats, warps, stages, constants) of each way to compile it
        (kernels.link_kernel, {"key": "i64"}, [("fp16", 4, 3, {"LEVEL": 1, "BLOCK": 256})]),
        (kernels.neighbours_kernel, {}, [("fp16", 4, 3, {"SIZE": 5, "CHUNK": 32, "BLOCK": 64})]),
        (kernels.plan_kernel, {}, [("fp16", 4, 3, {"VOLUME": 27, "CHUNK": 32, "TILE": 128})]),
        (tuned, {}, [way for constants in (fused, plain, narrow) for way in variants(tuned, constants, everything)]),
        (tuned, {"out": "fp32"}, variants(tuned, split, everything)),
        (
            kernels.finish_kernel,
            {"parts": "fp32"},
            [("fp16", 4, 3, {"SPLITS": 4, "RELU": True, "ROWS": 32, "BLOCK_O": 64})],
        ),
        (kernels.kernel_gradient_kernel, {"out": "fp32"}, variants(kernels.kernel_gradient_kernel, {}, everything)),
    ]
    for capability, shared in SHARED.items():
        for kernel, types, ways in work:
            name = getattr(kernel, "base_fn", kernel).__name__
            for nth, (floats, warps, stages, constants) in enumerate(ways):
                binary = compiled(kernel, capability, warps, stages, floats, constants, types)
                print(capability, name, floats, constants, f"{warps} warps, {stages} stages:", resources(binary))
                if nth == 0 and binary.metadata.shared > shared:
                    print(f"{name} needs {binary.metadata.shared} bytes of shared memory", file=sys.stderr)
                    return 1
    return 0


if __name__ == "__main__":
    sys.exit(main("--all" in sys.argv[1:]))
