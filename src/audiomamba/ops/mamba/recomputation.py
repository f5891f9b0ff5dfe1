"""What a Mamba mixer does in training on a CPU, keeping little of it for the gradient.

Taken op by op, a block keeps for its gradient, in units of (batch, tokens, channels of the mixer):
the normed input (1/2), the input and the gate (2), the convolved input (1), the step sizes (1),
the states at some tokens (1/4 for each direction and 16 states) and the result (1). Here it keeps
the input, the gate and the states. The norm, the convolution and the step sizes are cheap to
compute again, and the result falls out of the scan's gradient. What is computed again is held for
some channels at a time.

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
from audiomamba.ops.selective_scan.inputs import ScanInputs
from audiomamba.ops.selective_scan.native_scan import Gradients, Path, go_back, room_for_states, run

__all__ = ["InnerWeights", "mamba_inner", "project_normed"]


class InnerWeights(NamedTuple):
    """The weights of a mixer behind its first projection, or of one branch of it.

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

    def cut(self, part: slice) -> "InnerWeights":
        """Those of some channels."""
        across = ("x_proj", "out_proj")  # whose channels lie along the second axis
        cuts: dict[str, Any] = self._asdict()
        for name, weight in cuts.items():
            if weight is not None:
                cuts[name] = weight[:, part] if name in across else weight[part]
        return InnerWeights(**cuts)


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
        branch = _Branch(weights, lengths, reverse_conv, reverse)
        x, z = xz.chunk(2, dim=-1)
        u = branch.convolved(x)
        mapped = linear(u, weights.x_proj).to(u.dtype)
        saved = room_for_states(u, weights.A, branch.path)
        slices = channel_slices(x, x.shape[2])
        for part in slices:  # the result replaces u
            one, place = branch.cut(part), u[..., part]
            inputs = one.scan_inputs(place, mapped, z[..., part])
            run(inputs, one.path, place, saved=_of(saved, x, part))
        ctx.save_for_backward(xz, mapped, saved, lengths, *given)
        ctx.flags = (reverse_conv, reverse)
        ctx.slices = slices  # by which states are saved; another number of threads has others
        return u if weights.out_proj is None else linear(u, weights.out_proj)

    @staticmethod
    @custom_bwd(device_type="cpu")  # type: ignore[untyped-decorator]
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        xz, mapped, saved, lengths, *given = ctx.saved_tensors
        weights = InnerWeights(*given)
        branch = _Branch(weights, lengths, *ctx.flags)
        wanted = zip(given, ctx.needs_input_grad[4:], strict=True)
        grads = InnerWeights(*(_like(one) if asked else None for one, asked in wanted))  # type: ignore[arg-type]
        grad_xz = _like(xz)
        (x, z), (grad_x, grad_z) = xz.chunk(2, dim=-1), grad_xz.chunk(2, dim=-1)
        of_mapped = torch.zeros_like(mapped, dtype=torch.float32)
        for part in ctx.slices:  # grad_x holds the gradient of u at first
            of_out = grad[..., part] if weights.out_proj is None else grad
            of_mapped += branch.cut(part).through_scan(
                of_out,
                (x[..., part], z[..., part], mapped, _of(saved, x, part)),
                (grad_x[..., part], grad_z[..., part], grads.cut(part)),
            )
        of_mapped = of_mapped.to(xz.dtype)
        for part in ctx.slices:
            branch.cut(part).through_conv(
                of_mapped, x[..., part], grad_x[..., part], grads.cut(part)
            )
        return grad_xz, None, None, None, *grads


class _Branch(NamedTuple):
    """A branch of a mixer, or some channels of it."""

    weights: InnerWeights
    lengths: Tensor | None
    reverse_conv: bool
    reverse: bool

    def cut(self, part: slice) -> "_Branch":
        return self._replace(weights=self.weights.cut(part))

    @property
    def path(self) -> Path:
        """How the scan walks."""
        return Path(self.reverse, self.weights.A_b)

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
            B=b.unsqueeze(2),
            C=c.unsqueeze(2),
            D=self.weights.D,
            z=z,
            delta_bias=self.weights.dt_bias,
            initial_state=None,
            lengths=self.lengths,
            delta_softplus=True,
        )

    def through_scan(
        self,
        grad: Tensor,
        kept: tuple[Tensor, Tensor, Tensor, Tensor],
        to: tuple[Tensor, Tensor, InnerWeights],
    ) -> Tensor:
        """Go back through the last projection, the scan and delta's.

        Args:
            grad: the gradient of the branch's result.
            kept: x, z, `mapped`, and the saved states.
            to: where the gradients of u, z and the weights are written.

        Returns:
            The gradient of `mapped`.
        """
        x, z, mapped, saved = kept
        grad_u, grad_z, grads = to
        out_proj = self.weights.out_proj
        y = None if out_proj is None else linear(grad, out_proj.t()).to(x.dtype)
        inputs = self.scan_inputs(self.convolved(x), mapped, z)
        found = Gradients(
            u=grad_u,
            delta=inputs.delta,
            A=_room(grads.A, self.weights.A),
            A_b=_room(grads.A_b, self.weights.A_b),
            B=mapped.new_empty(inputs.B.shape, dtype=torch.float32),
            C=mapped.new_empty(inputs.C.shape, dtype=torch.float32),
            D=_room(grads.D, self.weights.D),
            z=grad_z,
            delta_bias=_room(grads.dt_bias, self.weights.dt_bias),
            initial_state=mapped.new_empty(0),
        )
        go_back(grad if y is None else y, saved, inputs, self.path, found, out=y)
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


def _of(saved: Tensor, x: Tensor, part: slice) -> Tensor:
    """The room of some channels in what room_for_states() made for all."""
    each = saved.numel() // x.shape[-1]
    return saved[each * part.start : each * part.stop]


def _room(wanted: Tensor | None, weight: Tensor | None) -> Tensor:
    """Where the gradient of a weight is written, wanted or not."""
    if wanted is not None:
        return wanted
    return torch.empty(0) if weight is None else _like(weight)


def _like(tensor: Tensor) -> Tensor:
    """Room for as much, contiguous whatever the tensor is: the library writes it so."""
    return tensor.new_empty(tensor.shape)
