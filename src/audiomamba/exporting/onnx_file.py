"""An exported program as an ONNX file that any runtime reads."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.export import ExportedProgram

from audiomamba.errors import ConfigError
from audiomamba.exporting.program import quiet

if TYPE_CHECKING:
    import onnx

__all__ = ["LATEST_OPSET", "check_graph", "to_onnx"]

LATEST_OPSET = 21
SCOPES = "pkg.torch.onnx.name_scopes"  # where PyTorch notes the modules that a node came from


def to_onnx(
    program: ExportedProgram,
    axes: dict[str, list[str | int]],
    file: Path,
    *,
    longest_s: float | None = None,
) -> Any:
    """Translate a program into a file.

    Args:
        program: the program, with one input.
        axes: the axes of the input and of each output, by their names, in their order; a word for
            one of any length, a number for a fixed one.
        file: what to write.
        longest_s: sound that is longer fails in the front end; None if none is too long.

    Returns:
        PyTorch's ONNX program, which names what is in the graph.

    Raises:
        ConfigError: an axis that is to be of any length came out fixed.
    """
    import onnx

    (input_name, *output_names) = axes
    with quiet():
        made = torch.onnx.export(
            program, input_names=[input_name], output_names=output_names, verbose=False
        )
    if made is None:
        raise TypeError("the exporter gave nothing")
    model = made.model_proto
    for value in (*model.graph.input, *model.graph.output):
        _name_axes(value, axes[value.name])
    if longest_s is not None:
        _name_refusal(model.graph, longest_s)
    _strip(model.graph)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, file)
    return made


def _name_refusal(graph: "onnx.GraphProto", longest_s: float) -> None:
    """Call the nodes that fail on too long sound after the reason: a runtime's error names them."""
    for node in graph.node:
        scopes = next((one.value for one in node.metadata_props if one.key == SCOPES), "")
        if node.op_type == "Expand" and "'front_end'" in scopes:
            node.name = f"sound_is_longer_than_{longest_s:.4g}_s"


def _strip(graph: "onnx.GraphProto") -> None:
    """Take out what tells how the graph came about, among it lines of source code."""
    del graph.value_info[:]  # they name axes by what they are computed from
    for one in (graph, *graph.input, *graph.output, *graph.initializer, *_nodes(graph)):
        one.doc_string = ""
        del one.metadata_props[:]
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _strip(attribute.g)


def _name_axes(value: "onnx.ValueInfoProto", axes: list[str | int]) -> None:
    for dimension, axis in zip(value.type.tensor_type.shape.dim, axes, strict=True):
        if isinstance(axis, str) and dimension.HasField("dim_value"):
            raise ConfigError(
                f"axis {axis} of {value.name} came out fixed at {dimension.dim_value}; "
                "export with a length in seconds instead"
            )
        if isinstance(axis, str):
            dimension.dim_param = axis


def check_graph(file: Path, largest_weight: int) -> tuple[int, int]:
    """Check that a file asks nothing unusual of a runtime.

    Args:
        file: the ONNX file.
        largest_weight: numbers in the largest weight of the model, its front end's tables included.

    Returns:
        The version of the operator set, and the number of nodes.

    Raises:
        ConfigError: an operator is outside the standard domain, the operator set is too new, or a
            constant is larger than the largest weight.
    """
    import onnx

    model = onnx.load(file)
    (opset,) = [one.version for one in model.opset_import if one.domain in ("", "ai.onnx")]
    nodes = list(_nodes(model.graph))
    foreign = sorted({f"{node.domain}.{node.op_type}" for node in nodes if node.domain})
    if foreign or model.functions:
        raise ConfigError(f"the graph has operators outside the standard domain: {foreign}")
    if opset > LATEST_OPSET:
        raise ConfigError(f"the graph has operator set {opset}; expected at most {LATEST_OPSET}")
    largest = max(_sizes(model.graph), default=0)
    if largest > largest_weight:
        raise ConfigError(
            f"a constant of {largest} numbers is in the graph; the largest weight has "
            f"{largest_weight}"
        )
    return opset, len(nodes)


def _sizes(graph: "onnx.GraphProto") -> Iterator[int]:
    """How many numbers the weights and the constants of a graph have."""
    for one in graph.initializer:
        yield math.prod(one.dims)
    for node in _nodes(graph):
        if node.op_type == "Constant":
            yield from (math.prod(it.t.dims) for it in node.attribute if it.name == "value")


def _nodes(graph: "onnx.GraphProto") -> Iterator["onnx.NodeProto"]:
    """All nodes of a graph and of the graphs within."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _nodes(attribute.g)
