"""A module as PyTorch's own exported program: what comes before any format."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from audiomamba import ops
from audiomamba.exporting.duplicates import merge_duplicates
from audiomamba.exporting.graph import Graph

__all__ = ["quiet", "trace"]

NOISY_LOGGERS = ("root", "torch.onnx", "torch.export", "torch.__trace", "onnxscript")


def trace(graph: Graph, example: Tensor, *, any_length: bool) -> ExportedProgram:
    """Trace a module, its scans as loops that other runtimes have.

    Args:
        graph: the module.
        example: an input, of a batch of at least two.
        any_length: whether the input's second axis may have any length afterwards.

    Returns:
        The program; its batch may have any size.
    """
    axes = {0: Dim.AUTO, 1: Dim.AUTO} if any_length else {0: Dim.AUTO}
    with torch.no_grad(), ops.use_backend("export"), quiet():
        program = torch.export.export(graph, (example,), dynamic_shapes=(axes,), strict=False)
    merge_duplicates(program.graph_module)
    return program


@contextmanager
def quiet() -> Iterator[None]:
    """Keep back what PyTorch's exporters tell their developers."""
    handlers = list(logging.root.handlers)  # a call of logging.warning() adds one for good
    levels = {name: logging.getLogger(name).level for name in NOISY_LOGGERS}
    for name in NOISY_LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.root.handlers[:] = handlers
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
