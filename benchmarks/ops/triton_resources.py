"""What the Triton kernels take of a GPU: registers, spills, shared memory; no GPU is needed.

The kernels are compiled for one architecture with the settings that they run with, for AuM's shapes
(16 states, one group, bfloat16 tensors), and the binaries are read.

    python benchmarks/ops/triton_resources.py --out benchmarks/results/triton_resources.json
"""

import argparse
import json
import re
import subprocess
import tempfile
import warnings
from pathlib import Path

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from audiomamba.ops.selective_scan import triton as scan
from audiomamba.ops.selective_scan import triton_kernels as kernels

IO_TENSORS = (
    "x",
    "u",
    "delta",
    "z",
    "map",
    "B",
    "C",
    "grad",
    "out",
    "grad_u",
    "grad_delta",
    "grad_z",
)
SHAPES = {"HAS_Z": True, "HAS_BIAS": True, "SOFTPLUS": True, "HAS_LENGTHS": False, "STATES": 16}
ONE_WARP = {"BLOCK": scan.BLOCK, "ONE_GROUP": True, "UNROLL": scan.UNROLL, **SHAPES}
BOTH = {"DIRECTIONS": 2, "REVERSE": False, "HAS_D": True}
CASES = {
    "chunk_ends": ("chunk_ends", {"ADJOINT": False, "REVERSE": False, **ONE_WARP}, 1),
    "chunk_ends of the adjoint": ("chunk_ends", {"ADJOINT": True, "REVERSE": False, **ONE_WARP}, 1),
    "carry": (
        "carry",
        {
            "REVERSE": False,
            "HAS_FIRST": False,
            "WANT_LAST": False,
            "STATES": 16,
            "BLOCK": scan.BLOCK,
        },
        1,
    ),
    "outputs": ("outputs", {**BOTH, "HAS_ENTERING": True, "WANT_LAST": False, **ONE_WARP}, 1),
    "gradients": (
        "gradients",
        {
            **BOTH,
            **SHAPES,
            "ONE_GROUP": True,
            "BLOCK": scan.GRADIENT_BLOCK,
            "CHUNK": scan.GRADIENT_CHUNK,
        },
        scan.GRADIENT_WARPS,
    ),
}
TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"


def signature(kernel: triton.JITFunction, constants: dict[str, object]) -> dict[str, str]:
    """The type of every argument."""
    types = {}
    for name in kernel.arg_names:
        if name in constants:
            types[name] = "constexpr"
        elif not name.endswith("_ptr"):
            types[name] = "i32"
        elif name.removesuffix("_ptr") in IO_TENSORS:
            types[name] = "*bf16"
        else:
            types[name] = "*fp32"
    return types


def resources(
    name: str, constants: dict[str, object], n_warps: int, capability: int
) -> dict[str, int]:
    """Compile one kernel and read what its binary takes."""
    kernel = getattr(kernels, name)
    constants = {"lengths_ptr": None, **constants}
    if name in ("carry", "outputs"):
        constants = {"first_ptr": None, "last_ptr": None, **constants}
    constants = {key: value for key, value in constants.items() if key in kernel.arg_names}
    source = ASTSource(
        kernel,
        signature(kernel, constants),
        constexprs={(kernel.arg_names.index(key),): value for key, value in constants.items()},
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compiled = triton.compile(
            source, target=GPUTarget("cuda", capability, 32), options={"num_warps": n_warps}
        )
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled.asm["cubin"])
        file.flush()
        command = [str(TOOLS / "cuobjdump"), "-res-usage", file.name]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = {key: int(value) for key, value in re.findall(r"(REG|STACK|LOCAL):(\d+)", text)}
    ptx = compiled.asm["ptx"]
    return {
        "warps": n_warps,
        "registers per thread": found["REG"],
        "bytes spilled per thread": found["STACK"] + found["LOCAL"],
        "shared memory, bytes": compiled.metadata.shared,
        "shuffles": ptx.count("shfl"),
        "exponentials": ptx.count("ex2"),
        "barriers": ptx.count("bar.sync"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--capability", type=int, default=90, help="90 for Hopper, 80 for Ampere")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    result = {"triton": triton.__version__, "target": f"sm_{args.capability}"}
    for title, (name, constants, n_warps) in CASES.items():
        result[title] = resources(name, constants, n_warps, args.capability)
    text = json.dumps(result, indent=2) + "\n"
    print(text, end="")
    if args.out:
        args.out.write_text(text)


if __name__ == "__main__":
    main()
