"""The implementations of the cases of whole models and blocks: inference, training, time by part.

Features go in, logits come out; decoding and the front end are not in it. Each implementation is
checked on a model of the same kind with few blocks and a short input, against the same in plain
PyTorch.
"""

from collections.abc import Callable
from contextlib import nullcontext
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiomamba import models
from audiomamba.bench import peers
from audiomamba.bench.cases import BlockCase, ModelCase, PartsCase, TrainingCase
from audiomamba.bench.implementation import Implementation, Outputs, short_and_plain
from audiomamba.bench.parts import Part, ast_parts, aum_parts, random_like
from audiomamba.errors import ConfigError
from audiomamba.models.ast import AST
from audiomamba.models.aum import AuM
from audiomamba.models.htsat import SwinBlock
from audiomamba.models.layers.stages import VSSBlock
from audiomamba.models.vmamba import VMambaConfig

__all__ = ["build_block", "build_inference", "build_parts", "build_training"]

N_MELS = 128
ROWS = 8  # of patches, of 16 mel bands each
FRAMES_PER_PATCH = 16
SHORT_TOKENS = 65
SHORT_DEPTH = 2
SWIN_WINDOW = 8
SWIN_HEAD_CHANNELS = 24  # as in HTS-AT


def _n_frames(tokens: int) -> int:
    """Frames that make so many tokens, a class token included.

    Raises:
        ConfigError: no number of frames does.
    """
    columns, rest = divmod(tokens - 1, ROWS)
    if rest or columns < 1:
        raise ConfigError(f"{tokens} tokens were asked for; expected one more than {ROWS} times n")
    return columns * FRAMES_PER_PATCH


def _features(batch: int, tokens: int, device: str, dtype: torch.dtype) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    shape = (batch, _n_frames(tokens), N_MELS)
    return torch.randn(shape, generator=generator).to(device, dtype)


@lru_cache(maxsize=2)  # the parts of a model are implementations of one case
def _model(
    name: str, tokens: int, device: str, dtype: torch.dtype, depth: int | None = None
) -> nn.Module:
    """A model with random weights, the same each time; "transformers base" is a peer."""
    torch.manual_seed(0)
    changes = {} if depth is None else {"depth": depth}
    package, _, size = name.rpartition(" ")
    if package:
        ours = models.create(
            f"ast_{size}",
            n_frames=_n_frames(tokens),
            n_mels=N_MELS,
            class_tokens="with-distillation",
            **changes,
        )
        return peers.transformers_ast(ours).to(device, dtype)
    made = models.create(name, n_frames=_n_frames(tokens), n_mels=N_MELS, **changes)
    return made.eval().to(device, dtype)


def build_inference(case: ModelCase, name: str, device: str) -> Implementation:
    """Build an implementation of inference with a whole model; as of `build`."""
    dtype = getattr(torch, case.dtype)
    features = _features(case.batch, case.tokens, device, dtype)
    pair = _short_pair(name, device, dtype)
    return Implementation(_inference(_model(name, case.tokens, device, dtype), features), pair)


def _inference(model: nn.Module, features: Tensor) -> Part:
    def run() -> Outputs:
        with torch.inference_mode():
            out = model(features)
        return (out if isinstance(out, Tensor) else out.last_hidden_state,)

    return run


def _short_pair(
    name: str, device: str, dtype: torch.dtype
) -> Callable[[], tuple[Outputs, Outputs]]:
    """A small model of the kind, and the same in plain PyTorch, or ours for a peer's."""
    short = _model(name, SHORT_TOKENS, device, dtype, SHORT_DEPTH)
    features = _features(2, SHORT_TOKENS, device, dtype)
    package, _, size = name.rpartition(" ")
    if not package:
        return short_and_plain(_inference(short, features))
    torch.manual_seed(0)
    ours = models.create(
        f"ast_{size}",
        n_frames=_n_frames(SHORT_TOKENS),
        n_mels=N_MELS,
        class_tokens="with-distillation",
        depth=SHORT_DEPTH,
    ).to(device, dtype)

    def pair() -> tuple[Outputs, Outputs]:
        with torch.inference_mode():
            return _inference(short, features)(), (ours.tokens(features),)

    return pair


def build_training(case: TrainingCase, name: str, device: str) -> Implementation:
    """Build an implementation of a step of training; as of `build`."""
    use_autocast = case.dtype == "bfloat16"

    def step(model: nn.Module, features: Tensor) -> Part:
        targets = torch.zeros(features.shape[0], 527, device=device)
        parameters = list(model.parameters())

        def run() -> Outputs:
            autocast = torch.autocast(device, torch.bfloat16) if use_autocast else nullcontext()
            with autocast:
                loss = F.binary_cross_entropy_with_logits(model(features), targets)
            return loss.detach(), *torch.autograd.grad(loss, parameters)

        return run

    features = _features(case.batch, case.tokens, device, torch.float32)
    model = _model(name, case.tokens, device, torch.float32)
    short = _model(name, SHORT_TOKENS, device, torch.float32, SHORT_DEPTH)
    short_features = _features(2, SHORT_TOKENS, device, torch.float32)
    return Implementation(step(model, features), short_and_plain(step(short, short_features)))


def build_parts(case: PartsCase, name: str, device: str) -> Implementation:
    """Build an implementation of one kind of a model's operations; as of `build`."""
    dtype = getattr(torch, case.dtype)

    def parts(tokens: int, depth: int | None = None) -> dict[str, Part]:
        model = _model(case.model, tokens, device, dtype, depth)
        if isinstance(model, AuM):
            return aum_parts(model, case.batch, tokens)
        if isinstance(model, AST):
            return ast_parts(model, case.batch, tokens)
        raise ConfigError(f"{case.model} has no parts to time; expected an AuM or an AST")

    short = parts(SHORT_TOKENS, SHORT_DEPTH)
    return Implementation(parts(case.tokens)[name], short_and_plain(short[name]))


def build_block(case: BlockCase, name: str, device: str) -> Implementation:
    """Build an implementation of a block of a hierarchy of maps; as of `build`."""
    dtype = getattr(torch, case.dtype)
    torch.manual_seed(0)
    block: nn.Module
    if name == "SS2D block":
        # VMamba's first form, which the hierarchical Audio Mamba has: gated, 16 states, no MLP.
        block = VSSBlock(case.channels, VMambaConfig(mlp=None), drop_path=0.0)
    else:
        block = SwinBlock(
            case.channels,
            case.channels // SWIN_HEAD_CHANNELS,
            window=SWIN_WINDOW,
            shift=0,
            drop_path=0.0,
        )
    block = block.eval().to(device, dtype)

    def run_on(length: int) -> Part:
        image = random_like(next(block.parameters()), 1, length, length, case.channels)
        return torch.inference_mode()(lambda: (block(image),))

    return Implementation(run_on(case.side_length), short_and_plain(run_on(SWIN_WINDOW)))
