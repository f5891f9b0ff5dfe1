"""What a Mamba mixer does in training on a CPU, keeping little of it for the gradient.

What a block makes, and how much of it is kept, in units of (batch, tokens, channels of the mixer):

                                            op by op    here
    normed input of in_proj                      1/2       -   made again of the residual stream
    xz = in_proj(normed), input and gate           2       2
    u = silu(conv(x))                              1       -   made again of x
    mapped = x_proj(u): dt, B and C             1/20    1/20   (in AuM-B)
    delta = dt_proj(dt)                            1       -   made again of mapped
    states at every 64th token           1/4 per direction     as much (of 16 states per channel)
    y = scan(u, delta, ...) * silu(z)              1       -   falls out of the scan's gradient

The norm, the convolution and the step sizes are cheap to compute again. The scan is not: its states
inside a chunk come from the state saved at the chunk's first token. What is made again exists for a
slice of the channels at a time, which then also fits the caches.

Source: Gu and Dao 2023, section 3.3.2, recomputation.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.amp import custom_bwd, custom_fwd
from torch.autograd.function import once_differentiable

from audiomamba.ops.add_rms_norm import add_rms_norm
from audiomamba.ops.causal_conv1d import cpu as conv_cpu
from audiomamba.ops.linear import linear, weight_gradient
from audiomamba.ops.mamba.channel_slices import channel_slices
from audiomamba.ops.mamba.weights import Normed
from audiomamba.ops.selective_scan import native_scan
from audiomamba.ops.selective_scan.inputs import Gradients, ScanInputs

__all__ = ["InnerWeights", "mamba_inner", "project_normed"]


class InnerWeights(NamedTuple):
    """The weights of a mixer after its first projection, or of one direction of it.

    Args:
        conv: (channels, width), float32.
        conv_bias: (channels,), float32; None for zeros.
        x_proj: (rank + 2 states, channels).
        dt_proj: (channels, rank).
        dt_bias: (channels,), float32.
        A: (channels, states), negative, float32.
        A_b: (channels, states), the same of the reverse direction; None for one direction.
        D: (channels,), float32.
        out_proj: (dim, channels); None where the caller projects.
    """

    conv: Tensor
    conv_bias: Tensor | None
    x_proj: Tensor
    dt_proj: Tensor
    dt_bias: Tensor
    A: Tensor
    A_b: Tensor | None
    D: Tensor
    out_proj: Tensor | None

    def of(self, channels: slice) -> "InnerWeights":
        """Those of some channels, which are views."""
        across = ("x_proj", "out_proj")  # whose channels lie along the second axis
        sliced: dict[str, Any] = self._asdict()
        for name, weight in sliced.items():
            if weight is not None:
                sliced[name] = weight[:, channels] if name in across else weight[channels]
        return InnerWeights(**sliced)


def project_normed(hidden: Tensor, normed: Normed, weight: Tensor) -> Tensor:
    """Multiply what add_rms_norm() gave with a weight; the gradient computes the norm again.

    Differentiable once, in hidden and weight.

    Args:
        hidden: (batch, tokens, dim), the result of the norm.
        normed: what it is the norm of.
        weight: (n_out, dim).

    Returns:
        (batch, tokens, n_out).
    """
    total, norm_weight, eps = normed
    # Detached: their gradients flow through hidden, whose norm has its own gradient.
    out: Tensor = _NormedProduct.apply(  # type: ignore[no-untyped-call]
        hidden, total.detach(), norm_weight.detach(), weight, eps
    )
    return out


def mamba_inner(
    xz: Tensor,
    weights: InnerWeights,
    lengths: Tensor | None,
    *,
    reverse_conv: bool = False,
    reverse: bool = False,
) -> Tensor:
    """Convolve, project, scan, gate and project.

    Differentiable once, in xz and the weights.

    Args:
        xz: (batch, tokens, 2 channels), the input and the gate.
        weights: the weights.
        lengths: (batch,) tokens of each clip, int64; None for all.
        reverse_conv: the convolution looks ahead instead of back.
        reverse: the scan starts at the last token; not with two directions.

    Returns:
        (batch, tokens, dim); (batch, tokens, channels) without a last projection.
    """
    out: Tensor = _MambaInner.apply(  # type: ignore[no-untyped-call]
        xz, lengths, reverse_conv, reverse, *weights
    )
    return out


class _NormedProduct(torch.autograd.Function):
    @staticmethod
    @custom_fwd(device_type="cpu")  # type: ignore[untyped-decorator]
    def forward(
        ctx: Any, normed: Tensor, total: Tensor, norm_weight: Tensor, weight: Tensor, eps: float
    ) -> Tensor:
        # The residual stream is kept by the block's addition anyway, so keeping it costs nothing.
        ctx.save_for_backward(total, norm_weight, weight)
        ctx.eps, ctx.dtype = eps, normed.dtype
        return linear(normed, weight)

    @staticmethod
    @custom_bwd(device_type="cpu")  # type: ignore[untyped-decorator]
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        total, norm_weight, weight = ctx.saved_tensors
        of_weight = None
        if ctx.needs_input_grad[3]:
            normed, _ = add_rms_norm(total, None, norm_weight, eps=ctx.eps)
            of_weight = weight_gradient(grad, normed.to(ctx.dtype)).to(weight.dtype)
        return linear(grad, weight.t()).to(ctx.dtype), None, None, of_weight, None


class _MambaInner(torch.autograd.Function):
    @staticmethod
    @custom_fwd(device_type="cpu")  # type: ignore[untyped-decorator]
    def forward(
        ctx: Any,
        xz: Tensor,
        lengths: Tensor | None,
        reverse_conv: bool,
        reverse: bool,
        *given: Tensor | None,
    ) -> Tensor:
        weights = InnerWeights(*given)  # type: ignore[arg-type]
        direction = _Direction(weights, lengths, reverse_conv, reverse)
        x, z = xz.chunk(2, dim=-1)
        u = direction.convolved(x)
        # x_proj mixes all channels, so it comes before the slices, and its result is kept whole.
        mapped = linear(u, weights.x_proj).to(u.dtype)
        states = native_scan.new_saved_states(u, weights.A, weights.A_b)
        slices = channel_slices(x, x.shape[2])
        for channels in slices:
            own = u[..., channels]
            inputs = direction.of(channels).scan_inputs(own, mapped, z[..., channels])
            # The result replaces u: the scan reads a row before it writes it.
            native_scan.forward(inputs, own, saved=_states_of(states, x, channels))
        ctx.save_for_backward(xz, mapped, states, lengths, *given)
        ctx.flags = (reverse_conv, reverse)
        # States lie slice after slice. Another number of threads at the time of the gradient would
        # make other slices, so these are kept.
        ctx.slices = slices
        return u if weights.out_proj is None else linear(u, weights.out_proj)

    @staticmethod
    @custom_bwd(device_type="cpu")  # type: ignore[untyped-decorator]
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        xz, mapped, states, lengths, *given = ctx.saved_tensors
        weights = InnerWeights(*given)
        direction = _Direction(weights, lengths, *ctx.flags)
        wanted = zip(given, ctx.needs_input_grad[4:], strict=True)
        grads = InnerWeights(*(_like(one) if asked else None for one, asked in wanted))  # type: ignore[arg-type]
        grad_xz = _like(xz)
        (x, z), (grad_x, grad_z) = xz.chunk(2, dim=-1), grad_xz.chunk(2, dim=-1)
        # B, C and dt are shared by all channels: their gradients are sums over the slices.
        of_mapped = torch.zeros_like(mapped, dtype=torch.float32)
        for channels in ctx.slices:
            own = (..., channels)
            of_mapped += direction.of(channels).through_scan(
                grad[own] if weights.out_proj is None else grad,
                _Kept(x[own], z[own], mapped, _states_of(states, x, channels)),
                # The gradient of u goes where that of x will be, until x_proj's share is known.
                _Targets(u=grad_x[own], z=grad_z[own], weights=grads.of(channels)),
            )
        of_mapped = of_mapped.to(xz.dtype)
        for channels in ctx.slices:  # only now, when of_mapped has the shares of all slices
            own = (..., channels)
            direction.of(channels).through_conv(of_mapped, x[own], grad_x[own], grads.of(channels))
        return grad_xz, None, None, None, *grads


class _Kept(NamedTuple):
    """What the forward pass kept for the gradient, of some channels.

    Args:
        x: (batch, tokens, channels).
        z: (batch, tokens, channels).
        mapped: (batch, tokens, rank + 2 states), of all channels: dt, B and C.
        states: saved by the scan.
    """

    x: Tensor
    z: Tensor
    mapped: Tensor
    states: Tensor


class _Targets(NamedTuple):
    """Where the gradients of some channels are written.

    Args:
        u: (batch, tokens, channels).
        z: (batch, tokens, channels).
        weights: None for those that need no gradient.
    """

    u: Tensor
    z: Tensor
    weights: InnerWeights


class _Direction(NamedTuple):
    """One direction of a mixer, or both where they share all but A; or some channels of it."""

    weights: InnerWeights
    lengths: Tensor | None
    reverse_conv: bool
    reverse: bool

    def of(self, channels: slice) -> "_Direction":
        return self._replace(weights=self.weights.of(channels))

    def convolved(self, x: Tensor) -> Tensor:
        """The input of the scan, u."""
        return conv_cpu.conv(
            x,
            self.weights.conv,
            self.weights.conv_bias,
            activation=True,
            reverse=self.reverse_conv,
            lengths=self.lengths,
        )

    def scan_inputs(self, u: Tensor, mapped: Tensor, z: Tensor) -> ScanInputs:
        """All inputs of the scan; `mapped` holds the low-rank form of delta, B and C."""
        rank, states = self.weights.dt_proj.shape[1], self.weights.A.shape[1]
        dt, b, c = mapped.split([rank, states, states], dim=-1)
        return ScanInputs(
            u=u,
            delta=linear(dt, self.weights.dt_proj).to(u.dtype),
            A=self.weights.A,
            A_b=self.weights.A_b,
            B=b.unsqueeze(2),
            C=c.unsqueeze(2),
            D=self.weights.D,
            z=z,
            delta_bias=self.weights.dt_bias,
            lengths=self.lengths,
            softplus=True,
            reverse=self.reverse,
        )

    def through_scan(self, grad: Tensor, kept: _Kept, to: _Targets) -> Tensor:
        """Go back through the last projection, the scan and delta's.

        Args:
            grad: the gradient of the mixer's result, or of y without a last projection.
            kept: by the forward pass.
            to: where the gradients are written.

        Returns:
            The gradient of `mapped`, as far as these channels make it.
        """
        out_proj, grads, mapped = self.weights.out_proj, to.weights, kept.mapped
        # y holds its gradient at first; the scan's gradient then writes the result there.
        y = None if out_proj is None else linear(grad, out_proj.t()).to(kept.x.dtype)
        inputs = self.scan_inputs(self.convolved(kept.x), mapped, kept.z)
        found = Gradients(
            u=to.u,
            delta=inputs.delta,  # replaced row by row by its gradient: one tensor less
            A=_room(grads.A, self.weights.A),
            A_b=_room(grads.A_b, self.weights.A_b),
            B=mapped.new_empty(inputs.B.shape, dtype=torch.float32),
            C=mapped.new_empty(inputs.C.shape, dtype=torch.float32),
            D=_room(grads.D, self.weights.D),
            z=to.z,
            delta_bias=_room(grads.dt_bias, self.weights.dt_bias),
            initial_state=mapped.new_empty(0),
        )
        native_scan.backward(grad if y is None else y, kept.states, inputs, found, out=y)
        if grads.out_proj is not None and y is not None:
            grads.out_proj.copy_(weight_gradient(grad, y))
        if grads.dt_proj is not None:
            dt = mapped[..., : grads.dt_proj.shape[1]]
            grads.dt_proj.copy_(weight_gradient(found.delta, dt))
        of_dt = linear(found.delta, self.weights.dt_proj.t())
        return torch.cat([of_dt.float(), found.B[:, :, 0], found.C[:, :, 0]], dim=-1)

    def through_conv(
        self, of_mapped: Tensor, x: Tensor, grad_x: Tensor, grads: InnerWeights
    ) -> None:
        """Go back through the maps and the convolution; grad_x holds the gradient of u before."""
        if grads.x_proj is not None:
            grads.x_proj.copy_(weight_gradient(of_mapped, self.convolved(x)))
        of_u = linear(of_mapped, self.weights.x_proj.t()).to(x.dtype).add_(grad_x)
        found = conv_cpu.conv_gradients(
            of_u,
            x,
            self.weights.conv,
            self.weights.conv_bias,
            activation=True,
            reverse=self.reverse_conv,
            lengths=self.lengths,
            grad_x=grad_x,
        )
        for to_weight, gradient in zip((grads.conv, grads.conv_bias), found, strict=True):
            if to_weight is not None:
                to_weight.copy_(gradient)


def _states_of(states: Tensor, x: Tensor, channels: slice) -> Tensor:
    """The room of some channels in what new_saved_states() made for all."""
    each = states.numel() // x.shape[-1]
    return states[each * channels.start : each * channels.stop]


def _room(wanted: Tensor | None, weight: Tensor | None) -> Tensor:
    """Where the gradient of a weight is written: the library writes it, wanted or not."""
    if wanted is not None:
        return wanted
    return torch.empty(0) if weight is None else _like(weight)


def _like(tensor: Tensor) -> Tensor:
    """Room for as much, contiguous whatever the tensor is: the library writes it so."""
    return tensor.new_empty(tensor.shape)
