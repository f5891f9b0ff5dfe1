"""Which function builds the implementations of which kind of case."""

from collections.abc import Callable, Mapping
from typing import Any

from audiomamba.bench import model_implementations as of_models
from audiomamba.bench import op_implementations as of_ops
from audiomamba.bench import vision_implementations as of_vision
from audiomamba.bench.cases import (
    BlockCase,
    Case,
    ConvCase,
    CrossScanCase,
    ModelCase,
    NormCase,
    PartsCase,
    ScanCase,
    SilenceCase,
    TrainingCase,
    VisionCase,
)
from audiomamba.bench.implementation import Implementation
from audiomamba.errors import UnknownNameError

__all__ = ["BUILDERS", "build"]

BUILDERS: Mapping[type[Case], Callable[[Any, str, str], Implementation]] = {
    ScanCase: of_ops.build_scan,
    SilenceCase: of_ops.build_silence,
    ConvCase: of_ops.build_conv,
    NormCase: of_ops.build_norm,
    CrossScanCase: of_ops.build_cross_scan,
    ModelCase: of_models.build_inference,
    TrainingCase: of_models.build_training,
    PartsCase: of_models.build_parts,
    BlockCase: of_models.build_block,
    VisionCase: of_vision.build_vision,
}


def build(case: Case, name: str, device: str) -> Implementation:
    """Build one implementation of a case.

    Args:
        case: what is run.
        name: one of the case's implementations.
        device: "cpu" or "cuda".

    Returns:
        The implementation.

    Raises:
        BackendError: it cannot run here, such as a package that is not installed.
        UnknownNameError: the case has no such implementation.
    """
    if name not in case.implementations:
        raise UnknownNameError("implementation", name, case.implementations)
    return BUILDERS[type(case)](case, name, device)
