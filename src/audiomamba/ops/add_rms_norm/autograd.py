"""What the operators of all backends share: the shapes of their results, and how gradients flow."""

from typing import Any

from torch import Tensor
from torch.library import CustomOpDef  # type: ignore[attr-defined]

__all__ = ["empty_gradients", "empty_results", "link"]


def empty_results(
    x: Tensor, _residual: Tensor | None, weight: Tensor, _eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Make room for the normed sum, the sum, and one over its root mean square."""
    return x.new_empty(x.shape), weight.new_empty(x.shape), weight.new_empty(x.shape[:-1])


def empty_gradients(
    grad_normed: Tensor,
    _grad_total: Tensor,
    total: Tensor,
    _scale: Tensor,
    weight: Tensor,
    residual: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Make room for the gradients of x, of the residual (empty without one) and of the weight."""
    grad_residual = weight.new_empty(total.shape if residual else 0)
    return grad_normed.new_empty(total.shape), grad_residual, weight.new_empty(weight.shape)


def link(forward: CustomOpDef, backward: CustomOpDef) -> None:
    """Make one operator the gradient of the other, and tell the shapes of both.

    Args:
        forward: (x, residual, weight, eps) -> as empty_results.
        backward: (grad_normed, grad_total, total, scale, weight, whether there is a residual) -> as
            empty_gradients.
    """

    def gradient(
        ctx: Any, grad_normed: Tensor, grad_total: Tensor, _: Tensor
    ) -> tuple[Tensor | None, ...]:
        grad_x, grad_residual, grad_weight = backward(
            grad_normed, grad_total, *ctx.saved_tensors, ctx.has_residual
        )
        return grad_x, grad_residual if ctx.has_residual else None, grad_weight, None

    forward.register_fake(empty_results)
    backward.register_fake(empty_gradients)
    forward.register_autograd(gradient, setup_context=_keep)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    _, residual, weight, _ = inputs
    _, total, scale = output
    ctx.save_for_backward(total, scale, weight)
    ctx.has_residual = residual is not None
