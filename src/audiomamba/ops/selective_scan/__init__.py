"""The selective scan (S6): a linear recurrence whose coefficients depend on the input.

Letters as in the paper: u input, delta step size, A decay, B input map, C output map, D skip, z
gate. Elementwise over (channels, states):

    state_t = exp(delta_t * A) * state_(t-1) + (delta_t * u_t) * B_t
    out_t   = (sum over states of C_t * state_t + D * u_t) * silu(z_t)

with delta first replaced by delta + delta_bias and then, if asked, by its softplus. The state is
float32 whatever the dtype of the input (float64 for float64).

Source: Gu and Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces" (2023),
section 3, and Erol et al., "Audio Mamba" (2024), for the bidirectional form.
"""

from typing import Literal, TypedDict, Unpack, overload

from torch import Tensor

from audiomamba.ops.backends import implementation
from audiomamba.ops.selective_scan.inputs import ScanInputs, check_out, checked_inputs

__all__ = ["bidirectional_selective_scan", "selective_scan"]


class _Options(TypedDict, total=False):
    """The options of selective_scan, which its two forms of result share."""

    D: Tensor | None
    z: Tensor | None
    delta_bias: Tensor | None
    delta_softplus: bool
    reverse: bool
    initial_state: Tensor | None
    lengths: Tensor | None
    out: Tensor | None
    backend: str | None


@overload
def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    *,
    return_last_state: Literal[False] = False,
    **options: Unpack[_Options],
) -> Tensor: ...


@overload
def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    *,
    return_last_state: Literal[True],
    **options: Unpack[_Options],
) -> tuple[Tensor, Tensor]: ...


def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    *,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    reverse: bool = False,
    initial_state: Tensor | None = None,
    return_last_state: bool = False,
    lengths: Tensor | None = None,
    out: Tensor | None = None,
    backend: str | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """Scan a batch of token sequences in one direction.

    Differentiable in all but lengths. Tensors by token get u's dtype, the others float32 or wider.

    Args:
        u: (batch, tokens, channels), at least one token.
        delta: (batch, tokens, channels).
        A: (channels, states), negative.
        B: (batch, tokens, states); or (batch, tokens, groups, states), where channel c uses group
            c // (channels // groups); or (channels, states), the same at every token.
        C: like B.
        D: (channels,).
        z: (batch, tokens, channels).
        delta_bias: (channels,).
        delta_softplus: apply softplus to delta + delta_bias.
        reverse: scan from the last token to the first.
        initial_state: (batch, channels, states), the state before the first step; zeros if None.
        return_last_state: also return the state after the last step.
        lengths: (batch,); sample b has tokens [0, lengths[b]): out and gradients are 0 after them,
            and a reverse scan starts at the sample's own end. All tokens if None.
        out: (batch, tokens, channels) in u's dtype, where the result is written; u and delta may
            be given. Without gradients only.
        backend: the name of a backend; None picks.

    Returns:
        out (batch, tokens, channels) in u's dtype; with return_last_state the pair of out and
        last_state (batch, channels, states), float32 (float64 where u is float64).

    Raises:
        ConfigError: shapes do not fit together, or out is given where a gradient is asked for.
        BackendError: the named backend cannot run this call.

    Examples:
        >>> import torch
        >>> u, A, B = torch.randn(1, 9, 4), -torch.ones(4, 2), torch.randn(1, 9, 2)
        >>> selective_scan(u, u, A, B, B, delta_softplus=True).shape
        torch.Size([1, 9, 4])
    """
    tensors = (u, delta, A, None, B, C, D, z, delta_bias, initial_state, lengths)
    given = ScanInputs(*tensors, delta_softplus, reverse)
    y, last_state = _scan("selective_scan", given, out, backend, return_last_state)
    return (y, last_state) if return_last_state else y


def bidirectional_selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    A_b: Tensor,
    B: Tensor,
    C: Tensor,
    *,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    lengths: Tensor | None = None,
    out: Tensor | None = None,
    backend: str | None = None,
) -> Tensor:
    """Scan in both directions and add: A forward, A_b in reverse, all else shared.

    Equals selective_scan(A) + selective_scan(A_b, reverse=True) with the same D and z, so D * u
    counts twice.

    Args:
        u: (batch, tokens, channels), at least one token.
        delta: (batch, tokens, channels).
        A: (channels, states), negative, of the forward direction.
        A_b: (channels, states), negative, of the reverse direction.
        B: as in selective_scan.
        C: as in selective_scan.
        D: (channels,).
        z: (batch, tokens, channels).
        delta_bias: (channels,).
        delta_softplus: apply softplus to delta + delta_bias.
        lengths: (batch,), as in selective_scan.
        out: as in selective_scan.
        backend: the name of a backend; None picks.

    Returns:
        out (batch, tokens, channels) in u's dtype.

    Raises:
        ConfigError: shapes do not fit together, or out is given where a gradient is asked for.
        BackendError: the named backend cannot run this call.

    Source: Erol et al. 2024, the Fo-Bi block.

    Examples:
        >>> import torch
        >>> u, A, B = torch.randn(1, 9, 4), -torch.ones(4, 2), torch.randn(1, 9, 2)
        >>> both = bidirectional_selective_scan(u, u, A, A, B, B)
        >>> one = selective_scan(u, u, A, B, B) + selective_scan(u, u, A, B, B, reverse=True)
        >>> torch.allclose(both, one, atol=1e-5)
        True
    """
    given = ScanInputs(
        u, delta, A, A_b, B, C, D, z, delta_bias, None, lengths, softplus=delta_softplus
    )
    return _scan("bidirectional_selective_scan", given, out, backend)[0]


def _scan(
    op: str,
    given: ScanInputs,
    out: Tensor | None,
    backend: str | None,
    want_last_state: bool = False,
) -> tuple[Tensor, Tensor]:
    """Check the arguments and run them on a backend: the outputs and the last state."""
    module = implementation(op, backend, given.u)
    inputs = checked_inputs(given)
    if out is not None:
        check_out(out, inputs)
    results: tuple[Tensor, Tensor] = module.scan(inputs, want_last_state=want_last_state, out=out)
    return results
