"""Linear layers, on a CPU by the faster of the two libraries that PyTorch brings.

PyTorch multiplies float32 matrices with MKL, which uses AVX-512 on Intel's processors only.
Elsewhere oneDNN, which PyTorch has for other purposes, is about twice as fast.
"""

import functools
from pathlib import Path
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Linear", "is_as_made", "linear", "prefers_onednn", "weight_gradient"]

CPUINFO = Path("/proc/cpuinfo")
MIN_PRODUCTS = 1 << 21  # below, a call of oneDNN costs more than it saves
MANY_ROWS, FEW_COLUMNS = 1024, 64  # from, and up to, which a convolution's gradient is faster


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Multiply with a weight and add a bias, as torch.nn.functional.linear.

    Args:
        x: (..., n_in).
        weight: (n_out, n_in).
        bias: (n_out,); None for zeros.

    Returns:
        (..., n_out).

    Examples:
        >>> linear(torch.ones(2, 3), torch.ones(4, 3)).shape
        torch.Size([2, 4])
    """
    if not _suits_onednn(x, weight, bias):
        return F.linear(x, weight, bias)
    if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad):
        out: Tensor = _OneDNNLinear.apply(x, weight, bias)  # type: ignore[no-untyped-call]
        return out
    return _product(x, weight, bias)


def weight_gradient(grad: Tensor, x: Tensor) -> Tensor:
    """The gradient of the weight in linear(x, weight).

    Args:
        grad: (..., n_out), the gradient of the result.
        x: (..., n_in).

    Returns:
        (n_out, n_in).
    """
    grad, x = grad.flatten(0, -2), x.flatten(0, -2)
    if _suits_onednn(x, grad.t(), None) and (len(x) >= MANY_ROWS or x.shape[1] <= FEW_COLUMNS):
        return _gradient_of_convolution(grad, x)
    return linear(grad.t(), x.t())


class Linear(nn.Linear):
    """torch.nn.Linear, computed by linear().

    Examples:
        >>> Linear(3, 4)(torch.ones(2, 3)).shape
        torch.Size([2, 4])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Multiply with the weight and add the bias.

        Args:
            x: (..., n_in).

        Returns:
            (..., n_out).
        """
        return linear(x, self.weight, self.bias)


def is_as_made(layer: nn.Module) -> TypeGuard[Linear]:
    """Tell whether a layer does nothing but multiply with its weight, and nobody watches it.

    A layer that was replaced, has hooks, or whose weight is of a kind of its own (quantized,
    sharded) must be called; of others the weight may be used instead.

    Args:
        layer: any layer.

    Returns:
        Whether its weight may be used without calling it.
    """
    watched = (
        layer._forward_hooks
        or layer._forward_pre_hooks
        or layer._backward_hooks
        or layer._backward_pre_hooks
    )
    return type(layer) is Linear and not watched and type(layer.weight) in (Tensor, nn.Parameter)


@functools.cache
def prefers_onednn() -> bool:
    """Whether float32 products of matrices go to oneDNN on this processor."""
    return (
        torch.backends.mkl.is_available()
        and torch.backends.mkldnn.is_available()
        and "AVX512" in torch.backends.cpu.get_cpu_capability()
        and _has_other_vendor()
    )


def _has_other_vendor() -> bool:
    """Whether the processor is known not to be Intel's."""
    try:
        about = CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:  # not Linux, or hidden
        return False
    return "GenuineIntel" not in about


def _suits_onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether oneDNN is faster, and nothing but these numbers is asked for."""
    return bool(
        not torch.compiler.is_compiling()  # whose graphs should hold common ops only
        and prefers_onednn()
        and x.dim() > 1
        and all(_is_plain(tensor) for tensor in (x, weight, bias) if tensor is not None)
        and x.numel() * weight.shape[0] >= MIN_PRODUCTS
        and torch.backends.mkldnn.enabled
        and not torch._C._are_functorch_transforms_active()
        and not torch.is_autocast_enabled("cpu")
    )


def _is_plain(tensor: Tensor) -> bool:
    return (
        type(tensor) in (Tensor, nn.Parameter) and tensor.is_cpu and tensor.dtype == torch.float32
    )


def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    x, weight = _dense(x), _dense(weight)
    out: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return out


def _gradient_of_convolution(grad: Tensor, x: Tensor) -> Tensor:
    """The product of grad transposed and x, neither of which is laid out anew as for a product.

    A linear layer on rows is a convolution of width 1 along them, and oneDNN's gradient of one
    reads both with their rows in one piece.
    """
    (n_rows, n_out), n_in = grad.shape, x.shape[1]
    images = (tensor.reshape(1, 1, n_rows, -1).permute(0, 3, 1, 2) for tensor in (grad, x))
    weight = x.new_empty(n_out, n_in, 1, 1)
    _, gradient, _ = torch.ops.aten.convolution_backward(
        *images, weight, None, (1, 1), (0, 0), (1, 1), False, (0, 0), 1, (False, True, False)
    )
    product: Tensor = gradient.view(n_out, n_in)
    return product


def _dense(tensor: Tensor) -> Tensor:
    """The tensor, copied if neither its rows nor, transposed, all of it lie in one piece.

    With other strides oneDNN takes a way that is hundreds of times slower.
    """
    if tensor.stride(-1) == 1 or tensor.mT.is_contiguous():
        return tensor
    return tensor.mT.contiguous().mT if tensor.stride(-2) == 1 else tensor.contiguous()


class _OneDNNLinear(torch.autograd.Function):
    """The product with its gradients, which are such products too."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return _product(x, weight, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], _output: Tensor) -> None:
        x, weight, _ = inputs
        ctx.save_for_backward(x, weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        for_x, for_weight, for_bias = ctx.needs_input_grad
        return (
            linear(grad, weight.t()) if for_x else None,
            weight_gradient(grad, x) if for_weight else None,
            grad.flatten(0, -2).sum(0) if for_bias else None,
        )
