"""Starting a model from weights that were trained for other inputs or classes, or for images.

Nothing is taken silently: the report says for every tensor of the new model where it came from.

Source: Erol et al. 2024, section III-E, and the authors' released code; Gong et al. 2021, section
2.2, for AST.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isqrt

from torch import Tensor

from audiomamba.checkpoints.from_mambaout import rename as rename_mambaout
from audiomamba.checkpoints.state import State, check_state
from audiomamba.errors import CheckpointError
from audiomamba.models import AST, ASTConfig, AudioModel, AuM, AuMConfig, MambaOut, MobileAuM
from audiomamba.models.ast import crop_or_stretch_positions
from audiomamba.ops.resize import resize_patch_kernel, resize_positions

__all__ = [
    "TransferReport",
    "ast_from_ast",
    "ast_from_deit",
    "aum_from_aum",
    "aum_from_vim",
    "mambaout_from_mambaout",
    "mobile_aum_from_efficientat",
    "same_from_same",
]

HEAD = ("head.weight", "head.bias")
AST_HEAD = ("head_norm.weight", "head_norm.bias", *HEAD)
DISTILLATION_HEAD = ("head_dist.weight", "head_dist.bias")


@dataclass(frozen=True, kw_only=True)
class TransferReport:
    """Where the tensors of a model came from.

    Args:
        taken: keys copied as they were.
        resized: keys fitted to the new input or patch size.
        fresh: keys that keep their fresh initialization.
        unused: keys of the source that the model does not have.

    Examples:
        >>> report = TransferReport(taken=(), resized=(), fresh=("head.weight",), unused=())
        >>> report.fresh
        ('head.weight',)
    """

    taken: tuple[str, ...]
    resized: tuple[str, ...]
    fresh: tuple[str, ...]
    unused: tuple[str, ...]


def aum_from_aum(model: AuM, state: Mapping[str, Tensor], source: AuMConfig) -> TransferReport:
    """Start an AuM from an AuM of another input size, patch or set of classes.

    Positions and patches are resized; a head for other classes stays fresh.

    Args:
        model: the model to fill.
        state: the other's tensors, by the keys of models.AuM.
        source: the other's settings.

    Returns:
        The report.

    Raises:
        CheckpointError: the two differ in more than input size, patch and classes.

    Examples:
        >>> from audiomamba import models
        >>> source = models.create("aum_tiny", depth=1, dim=32, n_classes=5)
        >>> model = models.create("aum_tiny", depth=1, dim=32, n_classes=3, n_frames=128)
        >>> report = aum_from_aum(model, source.state_dict(), source.config)
        >>> report.resized, report.fresh
        (('pos_embed',), ('head.weight', 'head.bias'))
    """
    fitted = dict(state)
    if "pos_embed" in fitted and model.config.positions == "absolute":
        fitted["pos_embed"] = resize_positions(
            fitted["pos_embed"], source.grid, model.config.grid, source.n_class_tokens
        )
    fitted["patch_embed.proj.weight"] = resize_patch_kernel(
        fitted["patch_embed.proj.weight"], model.config.patch
    )
    return _fill(model, state, fitted)


def aum_from_vim(model: AuM, state: Mapping[str, Tensor]) -> TransferReport:
    """Start an AuM from a Vision Mamba that was trained on images; the head stays fresh.

    The patch kernel is averaged over the three colors. Vision Mamba keeps its positions in the
    order of the sequence with the class token in the middle; that row moves to the front, and the
    square grid of the others is resized.

    Args:
        model: the model to fill; of direction "bi-bi", like the released Vision Mamba models, with
            one class token.
        state: Vision Mamba's tensors by released key.

    Returns:
        The report.

    Raises:
        CheckpointError: the tensors are not those of a Vision Mamba of this size.

    Examples:
        >>> from audiomamba import models
        >>> source = models.create("vim_tiny", depth=1, dim=32)
        >>> model = models.create("aum_tiny", depth=1, dim=32, direction="bi-bi")
        >>> aum_from_vim(model, source.state_dict()).resized
        ('pos_embed', 'patch_embed.proj.weight')
    """
    missing = [key for key in ("pos_embed", "patch_embed.proj.weight") if key not in state]
    if missing:
        raise CheckpointError(f"Vision Mamba's tensor {missing[0]!r} is missing")
    fitted = {key: value for key, value in state.items() if key not in HEAD}
    positions = fitted["pos_embed"]
    middle = (positions.shape[1] - 1) // 2
    side = int((positions.shape[1] - 1) ** 0.5)
    if side * side != positions.shape[1] - 1:
        raise CheckpointError(
            f"pos_embed has {positions.shape[1]} rows; expected one and a square grid of patches"
        )
    order = [middle, *range(middle), *range(middle + 1, positions.shape[1])]
    fitted["pos_embed"] = resize_positions(
        positions[:, order], (side, side), model.config.grid, n_prefix=1
    )
    kernel = fitted["patch_embed.proj.weight"].mean(dim=1, keepdim=True)
    fitted["patch_embed.proj.weight"] = resize_patch_kernel(kernel, model.config.patch)
    return _fill(model, state, fitted)


def ast_from_ast(model: AST, state: Mapping[str, Tensor], source: ASTConfig) -> TransferReport:
    """Start an AST from an AST of another input size, stride or set of classes.

    Positions are cut from the middle where there are fewer, else stretched; a head for other
    classes stays fresh, its norm too.

    Args:
        model: the model to fill.
        state: the other's tensors, by the keys of models.AST.
        source: the other's settings.

    Returns:
        The report.

    Raises:
        CheckpointError: the two differ in more than input size, stride and classes.

    Examples:
        >>> from audiomamba import models
        >>> source = models.create("ast_tiny", depth=1)
        >>> model = models.create("ast_tiny", depth=1, n_frames=128)
        >>> ast_from_ast(model, source.state_dict(), source.config).resized
        ('pos_embed',)
    """
    _check_class_tokens(model, state)
    fitted = dict(state)
    fitted["pos_embed"] = crop_or_stretch_positions(
        state["pos_embed"], source.grid, model.config.grid, model.config.n_class_tokens
    )
    return _fill(model, state, fitted, AST_HEAD)


def ast_from_deit(model: AST, state: Mapping[str, Tensor]) -> TransferReport:
    """Start an AST from a DeiT that was trained on images; the head and its norm stay fresh.

    The patch kernel is summed over the three colors, as a spectrogram is a grey image. The square
    grid of positions is cut from the middle where there are fewer, else stretched.

    Args:
        model: the model to fill.
        state: DeiT's tensors by timm's keys, of the distilled form if the model has two class
            tokens.

    Returns:
        The report.

    Raises:
        CheckpointError: the tensors are not those of a DeiT of this size.

    Examples:
        >>> from audiomamba import models
        >>> source = models.create("deit_tiny", depth=1)
        >>> model = models.create("ast_tiny", depth=1, class_tokens="one")
        >>> ast_from_deit(model, source.state_dict()).fresh
        ('head_norm.weight', 'head_norm.bias', 'head.weight', 'head.bias')
    """
    _check_class_tokens(model, state)
    fitted = {key: state[key] for key in state if key not in (*AST_HEAD, *DISTILLATION_HEAD)}
    n_patches = state["pos_embed"].shape[1] - model.config.n_class_tokens
    side = isqrt(n_patches)
    if side * side != n_patches:
        raise CheckpointError(f"pos_embed has rows for {n_patches} patches; expected a square")
    fitted["pos_embed"] = crop_or_stretch_positions(
        state["pos_embed"], (side, side), model.config.grid, model.config.n_class_tokens
    )
    if model.config.n_channels == 1:
        fitted["patch_embed.proj.weight"] = state["patch_embed.proj.weight"].sum(1, keepdim=True)
    return _fill(model, state, fitted, AST_HEAD)


def mambaout_from_mambaout(model: MambaOut, state: Mapping[str, Tensor]) -> TransferReport:
    """Start a MambaOut from one that was trained on images, or on sound with other classes.

    From images to sound the stem's kernel is summed over the three colors: a spectrogram is a grey
    image, three times the same channel, and for such images the sum gives what the three kernels
    gave. The mean would give a third of it. A head for other classes stays fresh, but not the
    hidden layer before it.

    Args:
        model: the model to fill.
        state: the other's tensors, by the authors' keys, timm's, or those of models.MambaOut.

    Returns:
        The report, by the keys of models.MambaOut.

    Raises:
        CheckpointError: the two differ in more than input and classes.

    Examples:
        >>> from audiomamba import models
        >>> small = {"depths": (1, 1), "dims": (8, 16)}
        >>> source = models.create("mambaout_femto_224", **small)
        >>> model = models.create("mambaout_femto", **small, n_classes=3)
        >>> mambaout_from_mambaout(model, source.state_dict()).fresh
        ('head.weight', 'head.bias')
    """
    renamed = rename_mambaout(state)
    stem = "downsample_layers.0.conv1.weight"
    if stem not in renamed:
        raise CheckpointError(f"MambaOut's tensor {stem!r} is missing")
    fitted = dict(renamed)
    if model.config.n_channels == 1 and fitted[stem].shape[1] == 3:
        fitted[stem] = fitted[stem].sum(1, keepdim=True)
    return _fill(model, renamed, fitted)


def mobile_aum_from_efficientat(model: MobileAuM, state: Mapping[str, Tensor]) -> TransferReport:
    """Start a MobileAuM from the first layers and the head of an EfficientAT.

    Args:
        model: the model to fill; its scan blocks stay fresh, and its head if it has other sizes.
        state: the other's tensors, by the keys of models.EfficientAT.

    Returns:
        The report.

    Raises:
        CheckpointError: the two differ in the width of their layers.

    Examples:
        >>> from audiomamba import models
        >>> source = models.create("mn01_as")
        >>> model = models.create("mobile_aum_small", width=0.1)
        >>> report = mobile_aum_from_efficientat(model, source.state_dict())
        >>> report.taken[0], report.fresh[0]
        ('stem.conv.weight', 'pos_embed')
    """
    own = model.state_dict()
    first = {key for key in own if key.startswith(("stem.", "blocks."))}
    head = {key for key in own if key.startswith("head.")}
    if all(key in state and state[key].shape == own[key].shape for key in head):
        first |= head
    filled = {key: state[key] if key in first and key in state else own[key] for key in own}
    missing = sorted(first - state.keys())
    if missing:
        raise CheckpointError(f"EfficientAT's tensor {missing[0]!r} is missing")
    check_state(model, filled, "the source")
    model.load_state_dict(filled)
    return TransferReport(
        taken=tuple(key for key in own if key in first),
        resized=(),
        fresh=tuple(key for key in own if key not in first),
        unused=tuple(key for key in state if key not in first),
    )


def same_from_same(model: AudioModel, state: Mapping[str, Tensor]) -> TransferReport:
    """Start a model from one that differs in its classes at most.

    Args:
        model: the model to fill; a head for other classes stays fresh.
        state: the other's tensors, by the keys of the same kind of model.

    Returns:
        The report.

    Raises:
        CheckpointError: the two differ in more than their classes.

    Examples:
        >>> from audiomamba import models
        >>> source = models.create("cnn_small", n_classes=5)
        >>> model = models.create("cnn_small", n_classes=3)
        >>> same_from_same(model, source.state_dict()).fresh
        ('head.weight', 'head.bias')
    """
    head = tuple(key for key in model.state_dict() if key.startswith("head"))
    return _fill(model, state, dict(state), head)


def _check_class_tokens(model: AST, state: Mapping[str, Tensor]) -> None:
    """Refuse tensors of a transformer with another number of class tokens."""
    for key in ("pos_embed", "patch_embed.proj.weight"):
        if key not in state:
            raise CheckpointError(f"the transformer's tensor {key!r} is missing")
    if ("dist_token" in state) != (model.config.class_tokens == "with-distillation"):
        has = "has a" if "dist_token" in state else "has no"
        raise CheckpointError(
            f"the source {has} distillation token; the model's class_tokens are "
            f"{model.config.class_tokens!r}"
        )


def _fill(
    model: AudioModel, state: Mapping[str, Tensor], fitted: State, head: tuple[str, ...] = HEAD
) -> TransferReport:
    """Load fitted tensors; the head is left fresh when it is absent or for other classes."""
    own = model.state_dict()
    head = tuple(key for key in head if key in own)
    fits = all(key in fitted and fitted[key].shape == own[key].shape for key in head)
    fresh = () if fits else head
    filled = {key: value for key, value in fitted.items() if key not in fresh}
    check_state(model, filled | {key: own[key] for key in fresh}, "the source")
    model.load_state_dict(filled | {key: own[key] for key in fresh})
    same = {key for key in filled if key in state and filled[key] is state[key]}
    return TransferReport(
        taken=tuple(key for key in filled if key in same),
        resized=tuple(key for key in filled if key not in same),
        fresh=fresh,
        unused=tuple(key for key in state if key not in filled),
    )
