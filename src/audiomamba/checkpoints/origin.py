"""Whose weights a file holds: how to tell, and what to make of them."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from audiomamba.audio import FrontEnd
from audiomamba.checkpoints.state import State, build
from audiomamba.errors import CheckpointError
from audiomamba.models import AudioModel, ModelConfig

__all__ = ["Origin"]


def _no_fields(_name: str) -> dict[str, Any]:
    return {}


def _all_tensors(state: State, _config: ModelConfig) -> State:
    return state


@dataclass(frozen=True, kw_only=True)
class Origin:
    """One kind of released weight file.

    Args:
        name: whose weights these are, such as "AuM" or "AST (Hugging Face)".
        license: of the authors' code or, where stated, of the weights; an SPDX identifier.
        marks: keys that every such file has.
        fits: whether a file with all marks is of this kind and not of a sibling with the same keys.
        unused: patterns of keys that such files have and the model has no use for.
        rename: gives the other tensors the names that they have here.
        config_of: reads the model's settings off the renamed tensors; keyword arguments are
            settings that are known. A KeyError means that a tensor is missing.
        fields_of_name: settings that the file's name tells.
        without_computed: takes out tensors that the model computes itself, after a look at them.
        front_end: how the models' input is made; None for images.
        front_end_for: the front end of one model, where more than its size depends on the model's
            settings.

    Examples:
        >>> from audiomamba.checkpoints import ORIGINS
        >>> [origin.license for origin in ORIGINS if origin.name == "AuM"]
        ['BSD-3-Clause']
    """

    name: str
    license: str
    marks: tuple[str, ...]
    fits: Callable[[Mapping[str, Tensor]], bool] = lambda _state: True
    unused: tuple[str, ...] = ()
    rename: Callable[[Mapping[str, Tensor]], State] = dict
    config_of: Callable[..., ModelConfig]
    fields_of_name: Callable[[str], dict[str, Any]] = _no_fields
    without_computed: Callable[[State, Any], State] = _all_tensors
    front_end: FrontEnd | None
    front_end_for: Callable[[FrontEnd, ModelConfig], FrontEnd] = lambda given, _config: given

    def recognises(self, state: Mapping[str, Tensor]) -> bool:
        """Tell whether tensors are of this kind.

        Args:
            state: tensors by key.

        Returns:
            True if all marks are there and the shapes fit.
        """
        return all(mark in state for mark in self.marks) and self.fits(state)

    def split(self, state: Mapping[str, Tensor]) -> tuple[State, tuple[str, ...]]:
        """Set aside the tensors that the model has no use for.

        Args:
            state: tensors by key.

        Returns:
            The tensors to use, and the keys of the others.
        """
        left = tuple(key for key in state if any(re.fullmatch(form, key) for form in self.unused))
        return {key: value for key, value in state.items() if key not in left}, left

    def build(self, state: Mapping[str, Tensor], source: str, **known: Any) -> AudioModel:
        """Make a model of released tensors, every one of them used.

        Args:
            state: tensors by released key, without those that the model has no use for.
            source: the file's name; what to call the tensors in messages.
            known: settings of the model that neither the shapes nor the name tell.

        Returns:
            The model, on the CPU, in float32 and evaluation mode.

        Raises:
            CheckpointError: a tensor is missing or unknown, or has another shape than the rest
                says.
        """
        renamed = self.rename(state)
        try:
            config = self.config_of(renamed, **self.fields_of_name(Path(source).name) | known)
        except KeyError as error:
            raise CheckpointError(
                f"{source}: the tensor {error} of {self.name} is missing"
            ) from error
        return build(config, self.without_computed(renamed, config), source)
