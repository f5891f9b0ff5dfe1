"""Causal depthwise convolution over tokens, with SiLU in the same pass."""

from typing import Literal

import torch
from torch import Tensor

from audiomamba.errors import ConfigError
from audiomamba.ops.backends import implementation

__all__ = ["causal_conv1d"]


def causal_conv1d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    activation: Literal["silu"] | None = None,
    reverse: bool = False,
    lengths: Tensor | None = None,
    backend: str | None = None,
) -> Tensor:
    """Convolve each channel with its own filter over the present and the width - 1 tokens before.

    out_t = bias + sum over k of weight_k * x_(t - width + 1 + k), with zeros before the first one.
    Computed in float32 (float64 where x is float64); differentiable in x, weight and bias.

    Args:
        x: (batch, tokens, channels), at least one token.
        weight: (channels, width), the last tap on the present token.
        bias: (channels,).
        activation: "silu" applies SiLU to the result.
        reverse: the same in flipped order: a token sees itself and the width - 1 tokens after it.
        lengths: (batch,); sample b is valid on tokens [0, lengths[b]), the rest is as if absent and
            out is 0 there. All tokens if None.
        backend: the name of a backend; None picks.

    Returns:
        out (batch, tokens, channels) in x's dtype.

    Raises:
        ConfigError: shapes do not fit together, or the activation is unknown.
        BackendError: the named backend cannot run this call.

    Examples:
        >>> x = torch.tensor([[1.0, 2.0, 3.0]]).mT.unsqueeze(0)  # one channel
        >>> causal_conv1d(x, torch.tensor([[10.0, 1.0]])).flatten().tolist()
        [1.0, 12.0, 23.0]
    """
    _check(x, weight, bias, activation, lengths)
    wide = torch.float64 if x.dtype == torch.float64 else torch.float32
    run = implementation("causal_conv1d", backend, x).conv
    out: Tensor = run(
        x,
        weight.to(wide),
        None if bias is None else bias.to(wide),
        activation=activation == "silu",
        reverse=reverse,
        lengths=None if lengths is None else lengths.to(torch.int64),
    )
    return out


def _check(
    x: Tensor, weight: Tensor, bias: Tensor | None, activation: str | None, lengths: Tensor | None
) -> None:
    if x.ndim != 3 or x.shape[1] == 0 or not x.is_floating_point():
        raise ConfigError(
            f"x is {x.dtype} of shape {tuple(x.shape)}; "
            "expected a floating dtype and (batch, tokens >= 1, channels)"
        )
    batch, _, channels = x.shape
    if weight.ndim != 2 or weight.shape[0] != channels or weight.shape[1] == 0:
        raise ConfigError(
            f"weight has shape {tuple(weight.shape)}; expected ({channels}, width >= 1)"
        )
    if bias is not None and tuple(bias.shape) != (channels,):
        raise ConfigError(f"bias has shape {tuple(bias.shape)}; expected ({channels},)")
    if lengths is not None and tuple(lengths.shape) != (batch,):
        raise ConfigError(f"lengths has shape {tuple(lengths.shape)}; expected ({batch},)")
    if activation not in (None, "silu"):
        raise ConfigError(f"activation is {activation!r}; expected 'silu' or None")
