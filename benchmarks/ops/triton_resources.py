"""What the Triton kernels take of a GPU, read from their binaries; no GPU is needed.

The kernels are compiled for one architecture as they are launched by default, for AuM's shapes (16
states, one group, both directions, bfloat16 tensors). For every loop over tokens the instructions
of a warp are counted, per token: one warp works on all states of a block of channels.

    python benchmarks/ops/triton_resources.py --out benchmarks/results/triton_resources.json
"""

import argparse
import json
import re
import subprocess
import tempfile
import warnings
from collections import Counter
from pathlib import Path

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from audiomamba.ops import gpu
from audiomamba.ops.add_rms_norm import triton_kernels as norm
from audiomamba.ops.causal_conv1d import triton_kernels as conv
from audiomamba.ops.selective_scan import triton as scan
from audiomamba.ops.selective_scan import triton_gradient_kernels as scan_gradient
from audiomamba.ops.selective_scan import triton_kernels as scan_forward
from audiomamba.ops.selective_scan.triton_configs import BACKWARD, WHOLE, tile_of

N_STATES, N_TAPS = 16, 4
# All others are float32. What the scan and the convolution read and write, and the norm's results.
HALF = {"x", "u", "delta", "z", "map", "B", "C", "out", "grad_out", "grad_u", "grad_delta"}
HALF |= {"grad_z", "normed", "grad_normed", "grad_x"}
OPTIONS = {
    **dict.fromkeys(("HAS_Z", "HAS_D", "HAS_BIAS", "SOFTPLUS", "ONE_GROUP", "EVEN"), True),
    **dict.fromkeys(("HAS_ENTERING", "SILU", "HAS_RESIDUAL"), True),
    **dict.fromkeys(("HAS_LENGTHS", "REVERSE", "WANT_LAST", "HAS_FIRST"), False),
    "DIRECTIONS": 2,
    "MIRROR": gpu.triton_is_before(scan.FIRST_UNMIRRORED),
    "WIDTH": N_TAPS,
    **dict.fromkeys(("lengths_ptr", "last_ptr", "first_ptr"), None),
}
FORWARD = {**tile_of(WHOLE, N_STATES).constants(), "UNROLL": WHOLE.unroll}
GRADIENT = {**tile_of(BACKWARD, N_STATES).constants(), "UNROLL": BACKWARD.unroll}
CONV = {"TOKENS": 32, "BLOCK": 64, "ROWS": 8}
CARRY = {"STATES": N_STATES, "BLOCK": scan.CARRY_BLOCK, "UNROLL": scan.CARRY_UNROLL}
FINISH = {"TOKENS": scan.FINISH_TOKENS, "BLOCK": scan.FINISH_BLOCK}
# Kernel, constants, warps, and steps that one turn of a loop makes.
CASES = {
    "scan: outputs": (scan_forward.outputs, FORWARD, 1, WHOLE.unroll),
    "scan: chunk_ends": (
        scan_forward.chunk_ends,
        {**FORWARD, "ADJOINT": False, "KEEP": False},
        1,
        WHOLE.unroll,
    ),
    "scan gradient: chunk_ends": (
        scan_forward.chunk_ends,
        {**GRADIENT, "ADJOINT": False, "KEEP": True},
        1,
        BACKWARD.unroll,
    ),
    "scan gradient: chunk_ends of the adjoint": (
        scan_forward.chunk_ends,
        {**GRADIENT, "ADJOINT": True, "KEEP": True},
        1,
        BACKWARD.unroll,
    ),
    "scan: carry": (scan_forward.carry, CARRY, 1, scan.CARRY_UNROLL),
    "scan gradient: gradients": (scan_gradient.gradients, GRADIENT, 1, BACKWARD.unroll),
    "scan gradient: finish": (scan_gradient.finish, FINISH, scan.FINISH_WARPS, 1),
    "convolution": (conv.convolve, CONV, 4, 1),
    "convolution gradient": (conv.gradient, CONV, 4, 1),
    "norm of 768 channels": (norm.add_and_normalize, {"BLOCK": 1024}, 4, 1),
    "norm gradient of 768 channels": (norm.gradient, {"BLOCK": 1024}, 4, 1),
}
KINDS = {
    "exp2": r"MUFU\.EX2",
    "other special functions": r"MUFU\.(?!EX2)",
    "float": r"F(FMA|MUL|ADD)",
    "shuffles": r"SHFL",
    "barriers": r"(BAR|WARPSYNC)",
    "loads": r"LDG",
    "stores": r"STG",
    "shared memory": r"(LDS|STS)",
    "spills": r"(LDL|STL)",
}
TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
Instructions = list[tuple[int, str]]


def signature(kernel: triton.JITFunction, constants: dict[str, object]) -> dict[str, str]:
    """The type of every argument."""
    types = {}
    for name in kernel.arg_names:
        if name in constants:
            types[name] = "constexpr"
        elif not name.endswith("_ptr"):
            types[name] = "fp32" if name == "eps" else "i32"
        else:
            types[name] = "*bf16" if name.removesuffix("_ptr") in HALF else "*fp32"
    return types


def divisible_by_16(name: str) -> bool:
    """Whether an argument is, of AuM's tensors; Triton sees it when it is called."""
    return name.endswith(("_ptr", "_batch", "_token")) or name in ("channels", "states")


def compiled(
    kernel: triton.JITFunction, constants: dict[str, object], n_warps: int, capability: int
) -> triton.compiler.CompiledKernel:
    """Compile one kernel."""
    constants = {k: v for k, v in {**OPTIONS, **constants}.items() if k in kernel.arg_names}
    places = {name: (i,) for i, name in enumerate(kernel.arg_names)}
    source = ASTSource(
        kernel,
        signature(kernel, constants),
        constexprs={places[name]: value for name, value in constants.items()},
        attrs={
            place: [["tt.divisibility", 16]]
            for name, place in places.items()
            if name not in constants and divisible_by_16(name)
        },
    )
    target = GPUTarget("cuda", capability, 32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return triton.compile(source, target=target, options={"num_warps": n_warps})


def instructions_of(file: str) -> Instructions:
    """Addresses and texts of a binary's instructions."""
    command = [str(TOOLS / "cuobjdump"), "-sass", file]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.findall(r"/\*([0-9a-f]{4,})\*/\s+([^;/]+);", text)
    return [(int(address, 16), line.strip()) for address, line in found]


def loops_of(instructions: Instructions) -> list[tuple[int, int]]:
    """The first and last address of every loop: where a branch leads back."""
    found = []
    for address, line in instructions:
        branch = re.search(r"\bBRA\b.*?(0x[0-9a-f]+)", line)
        if branch and int(branch[1], 16) < address:
            found.append((int(branch[1], 16), address))
    return found


def counted(instructions: Instructions, first: int, last: int, steps: int) -> dict[str, float]:
    """Instructions by kind, per step."""
    count: Counter[str] = Counter()
    for address, line in instructions:
        if first <= address <= last:
            name = re.sub(r"^@!?U?P\w+\s+", "", line).split()[0]
            count["all"] += 1
            count.update(kind for kind, form in KINDS.items() if re.match(form, name))
    return {kind: count[kind] / steps for kind in ("all", *KINDS) if count[kind]}


def resources(
    kernel: triton.JITFunction,
    constants: dict[str, object],
    n_warps: int,
    steps: int,
    capability: int,
) -> dict[str, object]:
    """Compile one kernel and read what its binary takes."""
    binary = compiled(kernel, constants, n_warps, capability)
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(binary.asm["cubin"])
        file.flush()
        command = [str(TOOLS / "cuobjdump"), "-res-usage", file.name]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        instructions = instructions_of(file.name)
    found = {key: int(value) for key, value in re.findall(r"(REG|STACK|LOCAL):(\d+)", text)}
    each = constants.get("EACH_E", 0)
    return {
        "warps": n_warps,
        **({"channels of a warp": each * constants["LANES_E"]} if each else {}),
        "registers per thread": found["REG"],
        "bytes spilled per thread": found["STACK"] + found["LOCAL"],
        "shared memory, bytes": binary.metadata.shared,
        "loops, instructions of a warp per token": [
            counted(instructions, *loop, steps) for loop in loops_of(instructions)
        ],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--capability", type=int, default=90, help="90 for Hopper, 80 for Ampere")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    result: dict[str, object] = {"triton": triton.__version__, "target": f"sm_{args.capability}"}
    for title, case in CASES.items():
        result[title] = resources(*case, args.capability)
    text = json.dumps(result, indent=2) + "\n"
    print(text, end="")
    if args.out:
        args.out.write_text(text)


if __name__ == "__main__":
    main()
