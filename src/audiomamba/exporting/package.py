"""A traced program as compiled code, in a package that PyTorch's C++ library runs."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram

from audiomamba.errors import ConfigError
from audiomamba.exporting.program import quiet

__all__ = ["check_compiler", "open_package", "to_package"]


def check_compiler() -> None:
    """Refuse to begin where there is no compiler.

    Raises:
        ConfigError: neither g++ nor what the variable CXX names is there.
    """
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        raise ConfigError(f"the format pt2 needs a C++ compiler, and there is no {compiler}")


def to_package(program: ExportedProgram, file: Path) -> None:
    """Compile a program with AOTInductor.

    Args:
        program: the program, which is changed.
        file: what to write.
    """
    _hand_on_sizes(program)
    with quiet():
        torch._inductor.aoti_compile_and_package(program, package_path=str(file))


def open_package(file: Path) -> Callable[[Tensor], Tensor]:
    """Load a package.

    Args:
        file: the package.

    Returns:
        A function from the input to scores.
    """
    model = torch._inductor.aoti_load_package(str(file))

    def scores(given: Tensor) -> Tensor:
        found: Tensor = model(given)["scores"]
        return found

    return scores


def _hand_on_sizes(program: ExportedProgram) -> None:
    """Give every loop the sizes of the input: the compiler has to know them to make its outputs."""
    graph_module = program.graph_module
    graph = graph_module.graph
    names = program.graph_signature.user_inputs
    given = next(node for node in graph.nodes if node.op == "placeholder" and node.name in names)
    sizes = []
    for axis, size in enumerate(given.meta["val"].shape):
        if isinstance(size, torch.SymInt):
            with graph.inserting_after(given):
                node = graph.call_function(torch.ops.aten.sym_size.int, (given, axis))
            node.meta["val"] = size
            sizes.append(node)
    bodies = set()
    for loop in graph.find_nodes(op="call_function", target=torch.ops.higher_order.scan):
        body, carried, rows, others = loop.args
        loop.args = (body, carried, rows, [*others, *sizes])
        bodies.add(body.target)
    for body in bodies:
        _add_inputs(getattr(graph_module, body), sizes)
    graph_module.recompile()


def _add_inputs(body: fx.GraphModule, like: list[fx.Node]) -> None:
    """Let a loop's body take more inputs, of which it makes no use."""
    last = body.graph.find_nodes(op="placeholder")[-1]
    for node in reversed(like):
        with body.graph.inserting_after(last):
            body.graph.placeholder(node.name).meta["val"] = node.meta["val"]
    body.recompile()
