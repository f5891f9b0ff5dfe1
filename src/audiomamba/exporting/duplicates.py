"""What an exported graph computes twice, computed once.

The embedding of a clip and those of its steps are two methods of a model, and each encodes the
sound. In a graph of both, everything up to where they part is there twice.
"""

from collections.abc import Hashable

import torch
from torch import fx
from torch.utils import _pytree as pytree

__all__ = ["merge_duplicates"]


def merge_duplicates(graph_module: fx.GraphModule) -> None:
    """Let every operation stand in a graph once; none may have an effect beside its result.

    Args:
        graph_module: the graph, which is changed.
    """
    first: dict[Hashable, fx.Node] = {}
    for node in list(graph_module.graph.nodes):
        if node.op not in ("call_function", "get_attr"):
            continue
        same = _uncast(node) or first.setdefault(_key(node, graph_module), node)
        if same is not node:
            node.replace_all_uses_with(same)
            graph_module.graph.erase_node(node)
    graph_module.recompile()


def _uncast(node: fx.Node) -> fx.Node | None:
    """What a cast to the type that is there already is given; None of everything else."""
    given = node.args[0] if node.target is torch.ops.aten.to.dtype else None
    if not isinstance(given, fx.Node):
        return None
    return given if given.meta["val"].dtype == node.meta["val"].dtype else None


def _key(node: fx.Node, graph_module: fx.GraphModule) -> Hashable:
    """What nodes that compute the same have in common."""
    if node.op == "get_attr":
        within = getattr(graph_module, str(node.target), None)
        return _content(within) if isinstance(within, fx.GraphModule) else node.target
    return _call(node, {})


def _content(graph_module: fx.GraphModule) -> Hashable:
    """What a graph within the graph computes, whatever its nodes are called."""
    index = {node: number for number, node in enumerate(graph_module.graph.nodes)}
    return tuple((node.op, *_call(node, index)) for node in index)


def _call(node: fx.Node, index: dict[fx.Node, int]) -> tuple[Hashable, ...]:
    leaves, structure = pytree.tree_flatten((node.args, node.kwargs))
    target = node.target if node.op != "placeholder" else None
    given = ((type(leaf), index.get(leaf, leaf)) for leaf in leaves)
    return (target, structure, *given)
