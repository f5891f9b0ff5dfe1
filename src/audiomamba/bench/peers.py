"""Other packages' ways of doing the same, imported only where they are asked for.

A peer's scan runs in one direction on what `ops.selective_scan` takes, without a choice of options.
Peers keep channels before tokens; they are given views of ours, which they copy as they need.
"""

from collections.abc import Callable
from importlib import import_module, metadata
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiomamba.errors import BackendError, UnknownNameError

__all__ = ["PACKAGES", "both_ways", "installed", "scan", "transformers_ast"]

PACKAGES = ("mamba-ssm", "mambapy", "transformers")

Scan = Callable[..., Tensor]


def scan(name: str) -> Scan:
    """Find a peer's scan.

    Args:
        name: "loop over full arrays", "transformers", "mambapy" or "mamba-ssm".

    Returns:
        A function of u, delta, A, B, C, D, z and delta_bias.

    Raises:
        BackendError: the package is not installed, or has no such scan.
        UnknownNameError: no peer has this name.
    """
    if name == "loop over full arrays":
        return _loop_over_full_arrays
    if name == "transformers":
        return _transformers_scan()
    if name == "mambapy":
        return _mambapy_scan()
    if name == "mamba-ssm":
        return _mamba_ssm_scan()
    raise UnknownNameError("peer", name, ("loop over full arrays", *PACKAGES))


def both_ways(one_way: Scan) -> Scan:
    """Scan in both directions with a scan that knows one: flip, scan, flip back and add.

    Args:
        one_way: a peer's scan.

    Returns:
        The same of both directions, with A_b for the decay of the second.
    """

    def both(u: Tensor, delta: Tensor, B: Tensor, C: Tensor, z: Tensor, **others: Tensor) -> Tensor:
        decay_b = others.pop("A_b")
        forward = one_way(u=u, delta=delta, B=B, C=C, z=z, **others)
        flipped = {"u": u, "delta": delta, "B": B, "C": C, "z": z}
        flipped = {name: x.flip(1) for name, x in flipped.items()}
        backward = one_way(**flipped, **{**others, "A": decay_b})
        return (forward + backward.flip(1)).to(u.dtype)

    return both


def _loop_over_full_arrays(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    z: Tensor,
    delta_bias: Tensor,
) -> Tensor:
    """The structure of the reference that comes with mamba-ssm.

    All decays and inflows, (batch, channels, tokens, states), come first; the loop over the tokens
    reads them.
    """
    u, delta, B, C, z = (x.float().transpose(1, 2) for x in (u, delta, B, C, z))
    delta = F.softplus(delta + delta_bias[:, None])
    decay = torch.exp(torch.einsum("bct,cs->bcts", delta, A))
    inflow = torch.einsum("bct,bst,bct->bcts", delta, B, u)
    state = A.new_zeros(u.shape[0], *A.shape)
    outputs = []
    for t in range(u.shape[2]):
        state = decay[:, :, t] * state + inflow[:, :, t]
        outputs.append(torch.einsum("bcs,bs->bc", state, C[:, :, t]))
    out = torch.stack(outputs, dim=2) + u * D[:, None]
    return (out * F.silu(z)).transpose(1, 2)


def _transformers_scan() -> Scan:
    """What transformers runs where the kernels of mamba-ssm are missing."""
    module = _module("transformers", "transformers.models.mamba.modeling_mamba")
    if not hasattr(module, "mamba_selective_scan"):
        version = metadata.version("transformers")
        raise BackendError(f"transformers {version} has no scan apart from its model; 5.23 has")

    def one_way(u: Tensor, delta: Tensor, B: Tensor, C: Tensor, z: Tensor, **others: Any) -> Tensor:
        u, delta, B, C, z = (x.float().transpose(1, 2) for x in (u, delta, B, C, z))
        out: Tensor = module.mamba_selective_scan(
            u, delta, others.pop("A"), B, C, z=z, delta_softplus=True, **others
        )
        return out.transpose(1, 2)

    return one_way


def _mambapy_scan() -> Scan:
    """The parallel scan of mambapy between what its Mamba block does before and after it."""
    pscan = _module("mambapy", "mambapy.pscan").pscan

    def one_way(
        u: Tensor, delta: Tensor, B: Tensor, C: Tensor, z: Tensor, **others: Tensor
    ) -> Tensor:
        u, delta, B, C, z = (x.float() for x in (u, delta, B, C, z))
        delta = F.softplus(delta + others["delta_bias"])
        decay = torch.exp(delta.unsqueeze(-1) * others["A"])
        inflow = delta.unsqueeze(-1) * B.unsqueeze(2) * u.unsqueeze(-1)
        states: Tensor = pscan(decay, inflow)
        out = (states @ C.unsqueeze(-1)).squeeze(3) + others["D"] * u
        return out * F.silu(z)

    return one_way


def _mamba_ssm_scan() -> Scan:
    """The CUDA kernel of mamba-ssm."""
    interface = _module("mamba_ssm", "mamba_ssm.ops.selective_scan_interface")

    def one_way(u: Tensor, delta: Tensor, B: Tensor, C: Tensor, z: Tensor, **others: Any) -> Tensor:
        if not u.is_cuda:
            raise BackendError("the scan of mamba-ssm runs on GPUs only")
        u, delta, B, C, z = (x.transpose(1, 2).contiguous() for x in (u, delta, B, C, z))
        out: Tensor = interface.selective_scan_fn(
            u, delta, others.pop("A"), B, C, z=z, delta_softplus=True, **others
        )
        return out.transpose(1, 2)

    return one_way


def transformers_ast(like: nn.Module) -> nn.Module:
    """Make the AST of transformers with the weights of ours, without the head.

    Args:
        like: an AST with class_tokens="with-distillation", the form that transformers has.

    Returns:
        A model whose `forward(features).last_hidden_state` is `like.tokens(features)`.

    Raises:
        BackendError: transformers is not installed, or its AST has other parts than known here.
    """
    transformers = _module("transformers", "transformers")
    config: Any = like.config
    model: nn.Module = transformers.ASTModel(
        transformers.ASTConfig(
            hidden_size=config.dim,
            num_hidden_layers=config.depth,
            num_attention_heads=config.n_heads,
            intermediate_size=4 * config.dim,
            patch_size=config.patch[0],
            frequency_stride=config.stride[0],
            time_stride=config.stride[1],
            max_length=config.n_frames,
            num_mel_bins=config.n_mels,
            layer_norm_eps=1e-6,
        )
    )
    try:
        model.load_state_dict(_transformers_names(like.state_dict()))
    except RuntimeError as error:
        version = metadata.version("transformers")
        raise BackendError(f"the AST of transformers {version} has unknown parts") from error
    return model.eval()


def installed(package: str) -> Any:
    """Import another package.

    Args:
        package: its name.

    Returns:
        The module.

    Raises:
        BackendError: it is not installed.

    Examples:
        >>> installed("no_such_package")
        Traceback (most recent call last):
            ...
        audiomamba.errors.BackendError: not installed: no_such_package
    """
    return _module(package, package)


# Ours on the left, theirs on the right.
_PARTS = {
    "cls_token": "embeddings.cls_token",
    "dist_token": "embeddings.distillation_token",
    "pos_embed": "embeddings.position_embeddings",
    "patch_embed.proj": "embeddings.patch_embeddings.projection",
    "norm": "layernorm",
}
_LAYER_PARTS = {
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
    "attn.proj": "attention.o_proj",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}


def _transformers_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of our AST under the names of transformers."""
    renamed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name in _PARTS:
            renamed[_PARTS[name]] = tensor
            continue
        part, kind = name.rsplit(".", 1)
        if part in _PARTS:
            renamed[f"{_PARTS[part]}.{kind}"] = tensor
        elif part.startswith("blocks."):
            _, index, part = part.split(".", 2)
            if part == "attn.qkv":
                for letter, third in zip("qkv", tensor.chunk(3), strict=True):
                    renamed[f"layers.{index}.attention.{letter}_proj.{kind}"] = third
            else:
                renamed[f"layers.{index}.{_LAYER_PARTS[part]}.{kind}"] = tensor
    return renamed


def _module(package: str, name: str) -> Any:
    """A module of another package.

    Raises:
        BackendError: the package is not installed.
    """
    if find_spec(package) is None:
        raise BackendError(f"not installed: {package}")
    return import_module(name)
