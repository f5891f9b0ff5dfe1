"""The sequence that the blocks read: where patches and class tokens stand in it.

Where clips have lengths, each clip's tokens stand as they do alone: its rows of patches follow one
another without a gap, its class tokens have the index that they have in its own sequence, and the
padding comes last.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from audiomamba.ops.padding import fill_by_length, masked_mean, take_tokens

__all__ = ["N_CLASS_TOKENS", "ClassToken", "Layout", "TokenOrder"]

ClassToken = Literal["head", "middle", "end", "double", "none"]
TokenOrder = Literal["frequency", "time"]

N_CLASS_TOKENS: dict[ClassToken, int] = {"head": 1, "middle": 1, "end": 1, "double": 2, "none": 0}


@dataclass(frozen=True)
class Layout:
    """Where the tokens of a batch stand.

    Args:
        grid: rows (of frequency) and columns (of time) of the longest clip's patches.
        order: "frequency" reads row of patches after row, along time; "time" reads column after
            column.
        class_token: where it stands among the patches.
        columns: (batch,) columns of each clip; None if all have all of them.
    """

    grid: tuple[int, int]
    order: TokenOrder
    class_token: ClassToken
    columns: Tensor | None

    @property
    def lengths(self) -> Tensor | None:
        """Tokens of each clip, (batch,); None if all have all of them."""
        if self.columns is None:
            return None
        return self.grid[0] * self.columns + N_CLASS_TOKENS[self.class_token]

    def table(self, fill: Callable[[tuple[int, int]], Tensor]) -> Tensor:
        """Make what depends on the size of a clip's grid, (batch or 1, ...), as fill_by_length."""
        if self.columns is None:
            return fill(self.grid)
        return fill_by_length(self.columns, lambda n_columns: fill((self.grid[0], n_columns)))

    def join(self, patches: Tensor, class_tokens: Tensor | None = None) -> Tensor:
        """Make one sequence of patches (batch, rows, columns, dim) and class tokens.

        The class tokens are (batch, class tokens, dim), None if there are none. The sequence is
        (batch, tokens, dim), 0 after a clip's own tokens.
        """
        if self.class_token == "none" and self.columns is None:
            return (patches if self.order == "frequency" else patches.transpose(1, 2)).flatten(1, 2)
        tokens = patches.flatten(1, 2)
        if class_tokens is not None:
            tokens = torch.cat([tokens, class_tokens], dim=1)
        batch, n_tokens, dim = tokens.shape
        joined = tokens.new_zeros(batch, n_tokens + 1, dim)  # one more for patches that no clip has
        indices = self._indices(tokens.device)[..., None].expand(batch, -1, dim)
        return joined.scatter(1, indices, tokens)[:, :n_tokens]

    def split(self, tokens: Tensor) -> Tensor:
        """Put the patches of (batch, tokens, dim) back into their map (batch, rows, columns, dim).

        After a clip's own columns there are any of its tokens.
        """
        rows, columns = self.grid
        if self.class_token == "none" and self.columns is None:
            by_row = self.order == "frequency"
            image: Tensor = tokens.unflatten(1, (rows, columns) if by_row else (columns, rows))
            return image if by_row else image.transpose(1, 2)
        indices = self._indices(tokens.device)[:, : rows * columns]
        patches = take_tokens(tokens, indices.clamp(max=tokens.shape[1] - 1))
        return patches.view(tokens.shape[0], rows, columns, -1)

    def class_tokens(self, tokens: Tensor) -> Tensor:
        """Take the class tokens (batch, class tokens, dim) of (batch, tokens, dim)."""
        rows, columns = self.grid
        return take_tokens(tokens, self._indices(tokens.device)[:, rows * columns :])

    def pool(self, tokens: Tensor, pool: str) -> Tensor:
        """Take one vector (batch, dim) of each clip's tokens (batch, tokens, dim).

        It is the class token, or the mean of two; without one the last token if pool is "last",
        else the mean of the tokens.
        """
        if self.class_token != "none":
            return self.class_tokens(tokens).mean(dim=1)
        if pool != "last":
            return masked_mean(tokens, self.lengths)
        if self.lengths is None:
            return tokens[:, -1]
        return take_tokens(tokens, self.lengths[:, None] - 1).squeeze(1)

    def _indices(self, device: torch.device) -> Tensor:
        """The index of each patch, row by row, then of each class token: (batch or 1, tokens).

        Patches that a clip does not have get the index after the last.
        """
        rows, columns = self.grid
        all_columns = torch.full((1,), columns, device=device)
        own = (all_columns if self.columns is None else self.columns)[:, None, None]
        row = torch.arange(rows, device=device)[:, None]
        column = torch.arange(columns, device=device)
        index = row * own + column if self.order == "frequency" else column * rows + row
        class_tokens = _class_token_indices(self.class_token, rows * own[:, 0, 0])
        for first in class_tokens.unbind(dim=1)[:1]:
            index = index + (index >= first[:, None, None])
        n_tokens = rows * columns + N_CLASS_TOKENS[self.class_token]
        index = torch.where(column < own, index, n_tokens)
        return torch.cat([index.flatten(1), class_tokens], dim=1)


def _class_token_indices(class_token: ClassToken, n: Tensor) -> Tensor:
    """The indices (batch, class tokens) of class tokens among so many patches (batch,)."""
    start = torch.zeros_like(n)
    indices = {"head": [start], "middle": [n // 2], "end": [n], "double": [start, n + 1]}
    none = n.new_empty(*n.shape, 0)
    return none if class_token == "none" else torch.stack(indices[class_token], dim=-1)
