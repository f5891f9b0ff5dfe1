"""Starting models of sound from VMambas that were trained on images.

Nothing is taken silently: the report says for every tensor of the new model where it came from.

Source: Lin and Hu 2024, section 4.3, for the hierarchical Audio Mamba; Bhati et al. 2024 and its
released code, for DASS.
"""

from collections.abc import Mapping

from torch import Tensor

from audiomamba.checkpoints.from_vmamba import rename
from audiomamba.checkpoints.state import State, check_state
from audiomamba.checkpoints.transfer import TransferReport
from audiomamba.errors import CheckpointError
from audiomamba.models import AudioMamba, VMamba

__all__ = ["audiomamba_from_vmamba", "dass_from_vmamba"]

HEAD = "head."
FIRST_KERNEL = "patch_embed.conv1.weight"


def audiomamba_from_vmamba(model: AudioMamba, state: Mapping[str, Tensor]) -> TransferReport:
    """Start a hierarchical Audio Mamba with what fits of a VMamba that was trained on images.

    A tensor is taken where name and shape are the same; the first kernel is summed over the three
    colors. No released VMamba has the inner sizes of the paper's models: vanilla VMamba-T has no
    MLP, the later ones have one state and no gate. So some weights stay fresh; the report names
    them.

    Args:
        model: the model to fill.
        state: VMamba's tensors by released key.

    Returns:
        The report.

    Raises:
        CheckpointError: nothing fits.

    Examples:
        >>> from audiomamba import models
        >>> small = {"depths": (1, 1), "dims": (8, 16)}
        >>> source = models.create("vmamba_tiny_v0", **small)
        >>> model = models.create("audiomamba_tiny", **small)
        >>> audiomamba_from_vmamba(model, source.state_dict()).resized
        ('patch_embed.conv1.weight',)
    """
    return _fill(model, _for_sound(state))


def dass_from_vmamba(model: VMamba, state: Mapping[str, Tensor]) -> TransferReport:
    """Start a VMamba for sound from one of the same size for images, as DASS does.

    The first kernel is summed over the three colors; the head stays fresh.

    Args:
        model: the model to fill; its n_channels is 1.
        state: VMamba's tensors by released key.

    Returns:
        The report.

    Raises:
        CheckpointError: the tensors are not those of a VMamba of this size.

    Examples:
        >>> from audiomamba import models
        >>> small = {"depths": (1, 1), "dims": (8, 16)}
        >>> source = models.create("vmamba_tiny_s1l8", **small)
        >>> model = models.create("dass_small", **small, n_classes=3)
        >>> dass_from_vmamba(model, source.state_dict()).fresh
        ('head.weight', 'head.bias')
    """
    fitted, own = _for_sound(state), model.state_dict()
    head = {key: value for key, value in own.items() if key.startswith(HEAD)}
    rest = {key: value for key, value in fitted.items() if not key.startswith(HEAD)}
    check_state(model, rest | head, "the source")
    return _fill(model, rest, unused=tuple(key for key in fitted if key.startswith(HEAD)))


def _for_sound(state: Mapping[str, Tensor]) -> State:
    """VMamba's tensors by the keys that they have here, the first kernel for one channel."""
    fitted = rename(state)
    if FIRST_KERNEL not in fitted:
        raise CheckpointError("the source has no patch embedding; expected a VMamba's tensors")
    fitted[FIRST_KERNEL] = fitted[FIRST_KERNEL].sum(dim=1, keepdim=True)
    return fitted


def _fill(
    model: AudioMamba | VMamba, fitted: State, unused: tuple[str, ...] = ()
) -> TransferReport:
    """Load what has the name and shape of a tensor of the model; the rest of it stays fresh."""
    own = model.state_dict()
    filled = {
        key: value for key, value in fitted.items() if key in own and value.shape == own[key].shape
    }
    if not filled:
        raise CheckpointError("no tensor of the source fits the model")
    model.load_state_dict(own | filled)
    return TransferReport(
        taken=tuple(key for key in filled if key != FIRST_KERNEL),
        resized=tuple(key for key in filled if key == FIRST_KERNEL),
        fresh=tuple(key for key in own if key not in filled),
        unused=unused + tuple(key for key in fitted if key not in filled),
    )
