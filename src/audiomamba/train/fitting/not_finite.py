"""Where the first number came up that is not finite."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Outputs", "name_layer", "name_layer_of_gradient", "record_outputs"]

Outputs = list[tuple[str, Tensor]]


@contextmanager
def record_outputs(model: nn.Module) -> Iterator[Outputs]:
    """Keep what every layer gives while the model runs, in the order in which they end.

    Args:
        model: the model.

    Yields:
        A list that fills with names of layers and their outputs; the model's own name is "model".
    """
    outputs: Outputs = []

    def keep(name: str) -> Any:
        return lambda _layer, _inputs, output: outputs.extend((name, it) for it in _tensors(output))

    hooks = [
        layer.register_forward_hook(keep(name or "model")) for name, layer in model.named_modules()
    ]
    try:
        yield outputs
    finally:
        for hook in hooks:
            hook.remove()


def name_layer(model: nn.Module, features: Tensor) -> str:
    """Run a model once more and find where its output goes wrong.

    Args:
        model: the model.
        features: its input.

    Returns:
        What was the first not to be finite: the features, or a layer's output.
    """
    if not features.isfinite().all():
        return "the features are not finite"
    with torch.no_grad(), record_outputs(model) as outputs:
        model(features)
    name = next((name for name, output in outputs if not output.isfinite().all()), None)
    if name is None:
        return "the outputs of all layers are finite"
    weights = dict(model.named_modules()).get(name, model).named_parameters(recurse=False)
    bad = next((which for which, weight in weights if not weight.isfinite().all()), None)
    reason = "" if bad is None else f", nor is its {bad}"
    return f"the output of {name} is the first that is not finite{reason}"


def name_layer_of_gradient(loss: Tensor, outputs: Outputs) -> str | None:
    """Find where the gradient of a loss goes wrong.

    Args:
        loss: a scalar.
        outputs: what the layers gave on the way to it.

    Returns:
        The last layer, the first on the way back, with a gradient of its output that is not finite;
        None if there is none.
    """
    wanted = [(name, output) for name, output in outputs if output.requires_grad]
    found = torch.autograd.grad(loss, [output for _, output in wanted], allow_unused=True)
    for (name, _), gradient in reversed(list(zip(wanted, found, strict=True))):
        if gradient is not None and not gradient.isfinite().all():
            return name
    return None


def _tensors(output: object) -> Sequence[Tensor]:
    """The floating-point tensors of what a layer gave."""
    if isinstance(output, Tensor):
        return [output] if output.is_floating_point() else []
    if isinstance(output, tuple | list):
        return [tensor for item in output for tensor in _tensors(item)]
    return []
