"""What the operators of all backends share: the shapes of their results, and how gradients flow."""

from typing import Any

from torch import Tensor
from torch.library import CustomOpDef  # type: ignore[attr-defined]

__all__ = ["empty_gradients", "link"]


def empty_gradients(
    _grad_out: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None, *_: object
) -> tuple[Tensor, Tensor, Tensor]:
    """Make room for the gradients of x, of the weight and of the bias (empty without one)."""
    grad_bias = weight.new_empty(0 if bias is None else bias.shape)
    return x.new_empty(x.shape), weight.new_empty(weight.shape), grad_bias


def link(forward: CustomOpDef, backward: CustomOpDef) -> None:
    """Make one operator the gradient of the other, and tell the shapes of both.

    Args:
        forward: (x, weight, bias, lengths, silu, reverse) -> out, in the shape of x.
        backward: (grad_out, and the same) -> as empty_gradients.
    """

    def gradient(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors  # read once: activation checkpointing computes them anew
        grad_x, grad_weight, grad_bias = backward(grad_out, *saved, *ctx.flags)
        has_bias = saved[2] is not None
        return grad_x, grad_weight, grad_bias if has_bias else None, None, None, None

    forward.register_fake(_empty_result)
    backward.register_fake(empty_gradients)
    forward.register_autograd(gradient, setup_context=_keep)


def _empty_result(x: Tensor, *_: object) -> Tensor:
    return x.new_empty(x.shape)


def _keep(ctx: Any, inputs: tuple[Any, ...], **_: Tensor) -> None:
    *tensors, silu, reverse = inputs
    ctx.save_for_backward(*tensors)
    ctx.flags = (silu, reverse)
