"""The cases of the benchmarks on a GPU, as data; groups have the names that they have on a CPU."""

from collections.abc import Mapping

from audiomamba.bench import cases
from audiomamba.bench.cases import (
    BASE,
    DTYPES,
    IMAGE_SIDES,
    PASSES,
    SMALL,
    VIM_AND_DEIT,
    Case,
    ConvCase,
    CrossScanCase,
    Head,
    ModelCase,
    NormCase,
    ScanCase,
    TrainingCase,
    VisionCase,
)

__all__ = ["GPU_GROUPS", "groups_of"]

SCANS = ("triton", "triton, CUDA graph", "mamba-ssm")
# Batch and tokens.
SCAN_SIZES = (
    (1, 513),
    (1, 2049),
    (1, 8193),
    (1, 65_536),
    (8, 513),
    (8, 2049),
    (8, 8193),
    (32, 513),
    (32, 2049),
)
LARGEST_FOR_PYTORCH = 2049  # tokens of all samples, beyond which its gradients take too much memory
LENGTHS = (513, 1025, 2049, 4097, 8193)
TOKENS_OF_80_S = 4001
HEADS: tuple[Head, ...] = ("none", "upernet")

GPU_GROUPS: dict[str, tuple[Case, ...]] = {
    "scan": tuple(
        ScanCase(
            implementations=(*SCANS, "torch") if batch * tokens <= LARGEST_FOR_PYTORCH else SCANS,
            batch=batch,
            tokens=tokens,
            channels=channels,
            direction=direction,
            dtype=dtype,
        )
        for channels in (1536, 768)
        for direction in PASSES
        for dtype in DTYPES
        for batch, tokens in SCAN_SIZES
    ),
    "conv": tuple(
        ConvCase(
            implementations=("triton", "F.conv1d and F.silu"),
            batch=8,
            direction=direction,
            dtype=dtype,
        )
        for direction in PASSES
        for dtype in DTYPES
    ),
    "norm": tuple(
        NormCase(
            implementations=("triton", "addition and F.rms_norm"),
            batch=8,
            channels=768,
            direction=direction,
            dtype=dtype,
        )
        for direction in PASSES
        for dtype in DTYPES
    ),
    "models": tuple(
        ModelCase(implementations=implementations, tokens=tokens, batch=batch, dtype=dtype)
        for implementations in (BASE, SMALL)
        for dtype in DTYPES
        for batch in (1, 8)
        for tokens in LENGTHS
    ),
    "training": (
        *(
            TrainingCase(
                implementations=implementations, tokens=tokens, batch=batch, dtype="bfloat16"
            )
            for implementations in (BASE, SMALL)
            for batch in (1, 8)
            for tokens in LENGTHS
        ),
        *(
            TrainingCase(implementations=BASE, tokens=TOKENS_OF_80_S, batch=batch, dtype="bfloat16")
            for batch in (1, 4)
        ),
    ),
    "ss2d": tuple(
        CrossScanCase(
            implementations=("triton", "torch"), side_length=length, channels=channels, dtype=dtype
        )
        for dtype in DTYPES
        for length, channels in ((16, 768), (32, 384), (64, 192))
    ),
    "vision": tuple(
        VisionCase(
            implementations=VIM_AND_DEIT, image_side=side, head=head, batch=batch, dtype="bfloat16"
        )
        for head in HEADS
        for batch in (1, 8)
        for side in IMAGE_SIDES
    ),
}


def groups_of(device: str) -> Mapping[str, tuple[Case, ...]]:
    """Find the groups of cases that are run on a device.

    Args:
        device: "cpu" or "cuda".

    Returns:
        Cases by name of group.
    """
    return GPU_GROUPS if device == "cuda" else cases.GROUPS
