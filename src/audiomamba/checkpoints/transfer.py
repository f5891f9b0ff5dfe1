"""Starting a model from weights that were trained for other inputs or classes, or for images.

Nothing is taken silently: the report says for every tensor of the new model where it came from.

Source: Erol et al. 2024, section III-E, and the authors' released code.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from audiomamba.checkpoints.state import State, check_state
from audiomamba.errors import CheckpointError
from audiomamba.models import AuM, AuMConfig
from audiomamba.models.resize import resize_patch_kernel, resize_positions

__all__ = ["TransferReport", "aum_from_aum", "aum_from_vim"]

HEAD = ("head.weight", "head.bias")


@dataclass(frozen=True, kw_only=True)
class TransferReport:
    """Where the tensors of a model came from.

    Args:
        taken: keys copied as they were.
        resized: keys fitted to the new input or patch size.
        fresh: keys that keep their fresh initialization.
        unused: keys of the source that the model has no place for.
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


def _fill(model: AuM, state: Mapping[str, Tensor], fitted: State) -> TransferReport:
    """Load fitted tensors; the head is left fresh when it is absent or for other classes."""
    own = model.state_dict()
    fresh = [key for key in HEAD if key not in fitted or fitted[key].shape != own[key].shape]
    filled = {key: value for key, value in fitted.items() if key not in fresh}
    check_state(model, filled | {key: own[key] for key in fresh}, "the source")
    model.load_state_dict(filled | {key: own[key] for key in fresh})
    same = {key for key in filled if key in state and filled[key] is state[key]}
    return TransferReport(
        taken=tuple(key for key in filled if key in same),
        resized=tuple(key for key in filled if key not in same),
        fresh=tuple(fresh),
        unused=tuple(key for key in state if key not in filled),
    )
