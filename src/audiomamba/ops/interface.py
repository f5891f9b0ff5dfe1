"""The structs of csrc/interface.h, mirrored field by field for ctypes.

The library tells the layout of its own structs; `native` compares it with `layout()` when it loads
the library and refuses one that differs. So neither side can change alone.
"""

import ctypes

import torch
from torch import Tensor

__all__ = [
    "ELEMENTS",
    "OUT_OF_MEMORY",
    "Conv",
    "ConvGradient",
    "Norm",
    "NormGradient",
    "Scan",
    "ScanGradient",
    "Tensor3",
    "Tensor4",
    "layout",
]

OUT_OF_MEMORY = 1
ELEMENTS = {torch.float32: 0, torch.bfloat16: 1}

_Int = ctypes.c_int64
_Pointer = ctypes.c_void_p


class Tensor3(ctypes.Structure):
    """A (batch, tokens, columns) array."""

    _fields_ = (("data", _Pointer), ("batch_stride", _Int), ("token_stride", _Int))

    @classmethod
    def of(cls, tensor: Tensor | None) -> "Tensor3":
        """Describe a tensor whose last axis is contiguous; None gives a null pointer."""
        return cls() if tensor is None else cls(tensor.data_ptr(), *tensor.stride()[:2])


class Tensor4(ctypes.Structure):
    """A (batch, tokens, groups, columns) array."""

    _fields_ = (
        ("data", _Pointer),
        ("batch_stride", _Int),
        ("token_stride", _Int),
        ("group_stride", _Int),
    )

    @classmethod
    def of(cls, tensor: Tensor) -> "Tensor4":
        """Describe a tensor whose last axis is contiguous."""
        return cls(tensor.data_ptr(), *tensor.stride()[:3])


class Scan(ctypes.Structure):
    """The arguments of a scan."""

    _fields_ = (
        ("element", _Int),
        ("batch", _Int),
        ("tokens", _Int),
        ("channels", _Int),
        ("groups", _Int),
        ("states", _Int),
        ("chunk_tokens", _Int),
        ("delta_softplus", _Int),
        ("reverse", _Int),
        ("accumulate", _Int),
        ("u", Tensor3),
        ("delta", Tensor3),
        ("z", Tensor3),
        ("B", Tensor4),
        ("C", Tensor4),
        ("A", _Pointer),
        ("A_b", _Pointer),
        ("D", _Pointer),
        ("delta_bias", _Pointer),
        ("initial_state", _Pointer),
        ("lengths", _Pointer),
        ("order", _Pointer),
        ("out", Tensor3),
        ("last_state", _Pointer),
        ("saved", _Pointer),
    )


class ScanGradient(ctypes.Structure):
    """The arguments of the gradient of a scan."""

    _fields_ = (
        ("scan", Scan),
        ("grad_out", Tensor3),
        ("grad_last_state", _Pointer),
        ("grad_u", Tensor3),
        ("grad_delta", Tensor3),
        ("grad_z", Tensor3),
        ("grad_B", _Pointer),
        ("grad_C", _Pointer),
        ("grad_A", _Pointer),
        ("grad_A_b", _Pointer),
        ("grad_D", _Pointer),
        ("grad_delta_bias", _Pointer),
        ("grad_initial_state", _Pointer),
    )


class Conv(ctypes.Structure):
    """The arguments of a causal convolution."""

    _fields_ = (
        ("element", _Int),
        ("batch", _Int),
        ("tokens", _Int),
        ("channels", _Int),
        ("width", _Int),
        ("silu", _Int),
        ("reverse", _Int),
        ("x", Tensor3),
        ("weight", _Pointer),
        ("bias", _Pointer),
        ("lengths", _Pointer),
        ("out", Tensor3),
    )


class ConvGradient(ctypes.Structure):
    """The arguments of the gradient of a causal convolution."""

    _fields_ = (
        ("conv", Conv),
        ("grad_out", Tensor3),
        ("grad_x", Tensor3),
        ("grad_weight", _Pointer),
        ("grad_bias", _Pointer),
    )


class Norm(ctypes.Structure):
    """The arguments of an addition with RMSNorm."""

    _fields_ = (
        ("element", _Int),
        ("rows", _Int),
        ("channels", _Int),
        ("eps", ctypes.c_float),
        ("x", _Pointer),
        ("residual", _Pointer),
        ("weight", _Pointer),
        ("normed", _Pointer),
        ("total", _Pointer),
        ("scale", _Pointer),
    )


class NormGradient(ctypes.Structure):
    """The arguments of the gradient of an addition with RMSNorm."""

    _fields_ = (
        ("element", _Int),
        ("rows", _Int),
        ("channels", _Int),
        ("total", _Pointer),
        ("scale", _Pointer),
        ("weight", _Pointer),
        ("grad_normed", _Pointer),
        ("grad_total", _Pointer),
        ("grad_x", _Pointer),
        ("grad_residual", _Pointer),
        ("grad_weight", _Pointer),
    )


STRUCTS: tuple[type[ctypes.Structure], ...] = (
    Tensor3,
    Tensor4,
    Scan,
    ScanGradient,
    Conv,
    ConvGradient,
    Norm,
    NormGradient,
)


def layout() -> str:
    """Tell how the structs lie in memory, as csrc/layout.h tells it.

    Returns:
        A line per struct: its name, its size, and each field with its offset; before them a line of
        the constants.
    """
    elements = {str(dtype).removeprefix("torch."): number for dtype, number in ELEMENTS.items()}
    lines = [_line("constants", 0, {**elements, "out_of_memory": OUT_OF_MEMORY})]
    for struct in STRUCTS:
        names = (name for name, *_ in struct._fields_)
        offsets = {name: getattr(struct, name).offset for name in names}
        lines.append(_line(struct.__name__, ctypes.sizeof(struct), offsets))
    return "".join(lines)


def _line(name: str, size: int, numbers: dict[str, int]) -> str:
    return (
        " ".join([name, str(size), *(f"{key} {number}" for key, number in numbers.items())]) + "\n"
    )
