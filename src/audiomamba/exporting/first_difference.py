"""Where an exported graph begins to differ from the program that it was made from."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx

__all__ = ["first_difference"]


def first_difference(made: Any, file: Path, given: Tensor, tolerance: float) -> str:
    """Run both value by value and name the first that differs.

    Args:
        made: PyTorch's ONNX program, which holds the program in PyTorch's terms.
        file: the ONNX file.
        given: the input.
        tolerance: the largest difference that is none, relative to the largest value.

    Returns:
        The value's name, the layer that makes it, and by how much it differs, in one phrase.
    """
    module = made.exported_program.module()
    values = _Values(module)
    with torch.no_grad():
        values.run(given)
    found = _onnx_values(file, given, values.found)
    for name, expected in values.found.items():
        if name not in found or found[name].shape != expected.shape:
            continue
        difference = float((found[name].double() - expected.double()).abs().max())
        if not difference <= tolerance * max(1.0, float(expected.abs().max())):
            return f"first at {name} ({values.layers[name]}), by {difference:.2g}"
    return "no single operation differs by as much"


class _Values(fx.Interpreter):
    """Keeps every floating-point value that a graph computes."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.found: dict[str, Tensor] = {}
        self.layers: dict[str, str] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        computed = n.op == "call_function" and isinstance(value, Tensor)
        if computed and value.is_floating_point() and value.numel():
            self.found[n.name] = value.clone()
            stack = list((n.meta.get("nn_module_stack") or {}).values())
            self.layers[n.name] = stack[-1][0] if stack and stack[-1][0] else "the graph itself"
        return value


def _onnx_values(file: Path, given: Tensor, wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The values of the ONNX graph that have these names."""
    import onnx
    import onnxruntime

    model = onnx.load(file)
    there = {name for node in model.graph.node for name in node.output}
    known = {one.name for one in model.graph.output}
    names = [name for name in wanted if name in there]
    for name in names:
        if name not in known:
            model.graph.output.append(onnx.ValueInfoProto(name=name))
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    found = session.run(names, {session.get_inputs()[0].name: given.numpy()})
    return {name: torch.from_numpy(value) for name, value in zip(names, found, strict=True)}
