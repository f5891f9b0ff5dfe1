"""The compiled library: found, loaded and asked for its instruction set at first use.

The library speaks plain C, so one build serves every version of Python and PyTorch. It shares
PyTorch's OpenMP threads: PyTorch is imported first, and its copy of the OpenMP runtime is then the
only one in the process.
"""

import ctypes
from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor, nn

from audiomamba.errors import BackendError, UnknownNameError
from audiomamba.ops import interface

__all__ = [
    "address",
    "call",
    "exponentials",
    "instruction_set",
    "instruction_sets",
    "is_untraced",
    "library",
    "problem",
    "rows",
    "use_instruction_set",
]

LIBRARY = (
    "audiomamba.ops._kernels"  # not a Python module, but found as one, editable installs included
)


def rows(tensor: Tensor) -> Tensor:
    """Return the tensor with a contiguous last axis, itself where it has one."""
    return tensor if tensor.stride(-1) == 1 or tensor.shape[-1] == 1 else tensor.contiguous()


def address(tensor: Tensor | None) -> int | None:
    """Return where a contiguous tensor's data begins."""
    return None if tensor is None else tensor.data_ptr()


def is_untraced(*tensors: Tensor | None) -> bool:
    """Whether nothing records, traces or replaces what is done with these tensors.

    A kernel may then be called without PyTorch's operator around it, the first of which imports the
    whole compiler: a second for the first clip.
    """
    return not (
        torch.compiler.is_compiling()
        or torch._C._is_tracing()
        or torch._C._len_torch_dispatch_stack() > 0
        or torch._C._are_functorch_transforms_active()
        or any(_is_traced(tensor) for tensor in tensors if tensor is not None)
    )


def _is_traced(tensor: Tensor) -> bool:
    recorded = tensor.requires_grad and torch.is_grad_enabled()
    return recorded or type(tensor) not in (Tensor, nn.Parameter) or not tensor.is_cpu


def problem() -> str | None:
    """Say why the compiled library cannot be used, in one line; None if it can."""
    loaded = _load()
    return loaded if isinstance(loaded, str) else None


def library() -> ctypes.CDLL:
    """Return the compiled library.

    Raises:
        BackendError: it is missing or cannot run here.
    """
    loaded = _load()
    if isinstance(loaded, str):
        raise BackendError(loaded)
    return loaded


def instruction_sets() -> tuple[str, ...]:
    """Name the instruction sets that the library was built for and this CPU has, best first."""
    lib = library()
    names = (
        lib.audiomamba_instruction_set_name(i) for i in range(lib.audiomamba_n_instruction_sets())
    )
    return tuple(
        name.decode() for i, name in enumerate(names) if lib.audiomamba_instruction_set_runs(i)
    )


def instruction_set() -> str:
    """Name the instruction set in use."""
    lib = library()
    name: bytes = lib.audiomamba_instruction_set_name(lib.audiomamba_selected_instruction_set())
    return name.decode()


def use_instruction_set(name: str) -> None:
    """Run all later calls, of all threads, on one instruction set.

    Args:
        name: one of `instruction_sets()`.

    Raises:
        UnknownNameError: the library or this CPU does not have it.
    """
    known = instruction_sets()
    if name not in known:
        raise UnknownNameError("instruction set", name, known)
    library().audiomamba_select_instruction_set(name.encode())


def call(kernel: str, arguments: ctypes.Structure) -> None:
    """Run a kernel, such as "scan", on its struct of arguments.

    Raises:
        MemoryError: there was no working memory.
    """
    if (
        getattr(library(), f"audiomamba_{kernel}")(ctypes.byref(arguments))
        == interface.OUT_OF_MEMORY
    ):
        raise MemoryError("the CPU kernels could not allocate their working memory")


def exponentials(repeats: int) -> int:
    """Compute exponentials and nothing else, on this thread: the yardstick of the scans.

    Args:
        repeats: how often to compute some hundred of them.

    Returns:
        How many were computed.

    Raises:
        BackendError: the library is missing or cannot run here.
    """
    count: int = library().audiomamba_exponentials(repeats)
    return count


@cache
def _load() -> ctypes.CDLL | str:
    found = find_spec(LIBRARY)
    if found is None or found.origin is None:
        return "the compiled library is missing; install audiomamba where a C++ compiler is found"
    try:
        lib = ctypes.CDLL(found.origin)
    except OSError as error:
        return f"the compiled library does not load ({error}); reinstall audiomamba"
    if _layout(lib) != interface.layout():
        return "the compiled library belongs to another version of audiomamba; reinstall it"
    lib.audiomamba_instruction_set_name.restype = ctypes.c_char_p
    lib.audiomamba_exponentials.restype = ctypes.c_int64
    lib.audiomamba_exponentials.argtypes = (ctypes.c_int64,)
    if lib.audiomamba_selected_instruction_set() < 0:
        return "this CPU lacks the instructions that the compiled library needs (SSE4.2)"
    return lib


def _layout(lib: ctypes.CDLL) -> str | None:
    """The layout of a library's structs; None of one that is too old to tell."""
    if not hasattr(lib, "audiomamba_layout"):
        return None
    lib.audiomamba_layout.restype = ctypes.c_char_p
    text: bytes = lib.audiomamba_layout()
    return text.decode()
