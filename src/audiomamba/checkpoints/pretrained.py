"""Models with trained weights, by name."""

from typing import Any

from audiomamba.checkpoints.format import load
from audiomamba.checkpoints.lookup import find, is_model
from audiomamba.checkpoints.state import check_state
from audiomamba.errors import CheckpointError, ConfigError
from audiomamba.hub import released_of
from audiomamba.models import MODELS, AudioModel

__all__ = ["pretrained"]


def pretrained(name: str, **changes: Any) -> AudioModel:
    """Make a model with trained weights; other code calls models.create(name, pretrained=True).

    Args:
        name: as for models.create.
        changes: as for models.create.

    Returns:
        The model, in training mode.

    Raises:
        UnknownNameError: no such model or field.
        ConfigError: nobody has released weights of the model, or a value does not fit its field.
        CheckpointError: the weights do not fit the changes; or as for find.

    Examples:
        >>> from audiomamba import models
        >>> from audiomamba.hub import without_network
        >>> with without_network():
        ...     models.create("dass_medium", pretrained=True)
        Traceback (most recent call last):
        audiomamba.errors.DownloadError: ...
    """
    model = load(find(_weights_of(name))).model
    n_classes = changes.pop("n_classes", model.config.n_classes)
    if changes:
        changed = model.config.changed(**changes).build()
        check_state(changed, model.state_dict(), f"the trained {name}")
        changed.load_state_dict(model.state_dict())
        model = changed
    if n_classes != model.config.n_classes:
        model.reset_head(n_classes)
    return model.train()


def _weights_of(name: str) -> str:
    """The released weights of a model's name; other names as they are."""
    if name not in MODELS or is_model(name):
        return name
    known = [it for it in released_of(name) if it.model == name]
    fetched = [it for it in known if it.location is not None]
    if not known:
        raise ConfigError(f"nobody has released weights of {name}; leave pretrained out")
    if not fetched:
        raise CheckpointError(
            f"weights of {name} are linked on {known[0].page}, where no program can fetch them; "
            "get a file, and give its path as the name"
        )
    return fetched[0].name
