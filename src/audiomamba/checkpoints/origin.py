"""Whose weights a file holds: how to tell, and what to make of them."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from audiomamba.audio import FrontEnd
from audiomamba.models import AudioModel, ModelConfig

__all__ = ["Origin"]


@dataclass(frozen=True, kw_only=True)
class Origin:
    """One kind of released weight file.

    Args:
        name: whose weights these are, such as "AuM" or "AST (Gong et al.)".
        license: of the authors' code or, where stated, of the weights; an SPDX identifier.
        marks: keys that every such file has.
        build: (state, source) -> the model, every tensor used but those that `unused` names; raises
            CheckpointError.
        front_end: how the models' input is made; None for images.
        front_end_for: the front end of one model, where more than its size depends on the model's
            settings.
        fits: whether a file with all marks is of this kind and not of a sibling with the same keys.
        unused: patterns of keys that such files have and the model has no use for.
    """

    name: str
    license: str
    marks: tuple[str, ...]
    build: Callable[[Mapping[str, Tensor], str], AudioModel]
    front_end: FrontEnd | None
    front_end_for: Callable[[FrontEnd, ModelConfig], FrontEnd] = lambda given, _config: given
    fits: Callable[[Mapping[str, Tensor]], bool] = lambda _state: True
    unused: tuple[str, ...] = ()

    def recognises(self, state: Mapping[str, Tensor]) -> bool:
        """Whether tensors are of this kind.

        Args:
            state: tensors by key.

        Returns:
            True if all marks are there and the shapes fit.
        """
        return all(mark in state for mark in self.marks) and self.fits(state)

    def split(self, state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], tuple[str, ...]]:
        """Set aside the tensors that the model has no use for.

        Args:
            state: tensors by key.

        Returns:
            The tensors to use, and the keys of the others.
        """
        left = tuple(key for key in state if any(re.fullmatch(form, key) for form in self.unused))
        return {key: value for key, value in state.items() if key not in left}, left
