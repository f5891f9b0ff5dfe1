"""The order in which patches and class tokens stand in the sequence that the blocks read.

Where clips have lengths, each clip's tokens stand as they do alone: its rows of patches follow one
another without a gap, its class tokens have the place that they have in its own sequence, and what
fills the batch up comes last.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from audiomamba.models.layers.padding import masked_mean, valid_mask

__all__ = [
    "ClassToken",
    "Layout",
    "TokenOrder",
    "class_token_index",
    "insert_class_tokens",
    "read_class_tokens",
]

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
        class_token: its place.
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
        """Make what depends on the size of a clip's grid, once for each size.

        Args:
            fill: from (rows, columns) to (1, ...), the last axis longer the more columns.

        Returns:
            (1, ...), or (batch, ...) where clips have lengths, padded with 0 at the end.
        """
        if self.columns is None:
            return fill(self.grid)
        sizes, which = self.columns.unique(return_inverse=True)
        tables = [fill((self.grid[0], size)) for size in sizes.tolist()]
        longest = tables[-1].shape[-1]
        return torch.cat([F.pad(one, (0, longest - one.shape[-1])) for one in tables])[which]

    def join(self, patches: Tensor, class_tokens: Tensor | None) -> Tensor:
        """Put patches and class tokens into their places.

        Args:
            patches: (batch, rows, columns, dim).
            class_tokens: (batch, class tokens, dim); None if there are none.

        Returns:
            (batch, tokens, dim), 0 behind a clip's own tokens.
        """
        if self.columns is None:
            by_order = patches if self.order == "frequency" else patches.transpose(1, 2)
            in_order = by_order.flatten(1, 2)
            if class_tokens is None:
                return in_order
            return insert_class_tokens(class_tokens, in_order, self.class_token)
        places = self._patch_places(self.columns).flatten(1)
        parts = patches.flatten(1, 2)
        if class_tokens is not None:
            places = torch.cat([places, self._class_places(self.columns)], dim=1)
            parts = torch.cat([parts, class_tokens], dim=1)
        n_tokens = parts.shape[1]  # and one more place, for patches that no clip has
        empty = parts.new_zeros(parts.shape[0], n_tokens + 1, parts.shape[2])
        return empty.scatter(1, places[..., None].expand_as(parts), parts)[:, :n_tokens]

    def split(self, tokens: Tensor) -> Tensor:
        """Put the patches back into their map, without the class tokens.

        Args:
            tokens: (batch, tokens, dim).

        Returns:
            (batch, rows, columns, dim); behind a clip's own columns any of its tokens.
        """
        rows, columns = self.grid
        if self.columns is not None:
            places = self._patch_places(self.columns).clamp(max=tokens.shape[1] - 1)
            found = tokens.gather(1, places.flatten(1)[..., None].expand(-1, -1, tokens.shape[2]))
            return found.view(len(tokens), rows, columns, -1)
        patches = _without_class_tokens(tokens, self.class_token)
        by_row = self.order == "frequency"
        image: Tensor = patches.unflatten(1, (rows, columns) if by_row else (columns, rows))
        return image if by_row else image.transpose(1, 2)

    def pool(self, tokens: Tensor, pool: str) -> Tensor:
        """Take one vector per clip: its class token, the mean of two, or its pooled tokens.

        Args:
            tokens: (batch, tokens, dim).
            pool: without a class token "last" for the last token, else the mean of the tokens.

        Returns:
            (batch, dim).
        """
        if self.columns is None:
            if self.class_token != "none":
                return read_class_tokens(tokens, self.class_token)
            return tokens[:, -1] if pool == "last" else tokens.mean(dim=1)
        lengths = self.grid[0] * self.columns
        if self.class_token != "none":
            places = self._class_places(self.columns)
        elif pool == "last":
            places = lengths[:, None] - 1
        else:
            return masked_mean(tokens, lengths)
        found = tokens.gather(1, places[..., None].expand(-1, -1, tokens.shape[2]))
        return found.mean(dim=1)

    def largest(self, per_token: Tensor) -> Tensor:
        """Take each channel's largest value over a clip's tokens.

        Args:
            per_token: (batch, tokens, channels).

        Returns:
            (batch, channels).
        """
        if self.lengths is not None:
            padding = ~valid_mask(per_token.shape[1], self.lengths)
            per_token = per_token.masked_fill(padding[..., None], -torch.inf)
        return per_token.amax(dim=1)

    def _patch_places(self, own: Tensor) -> Tensor:
        """Each patch's place in its clip's sequence, (batch, rows, columns); the last for none."""
        rows, columns = self.grid
        row = torch.arange(rows, device=own.device)[:, None]
        column = torch.arange(columns, device=own.device)
        own = own[:, None, None]
        rank = row * own + column if self.order == "frequency" else column * rows + row
        rank = rank.expand(len(own), -1, -1)
        if self.class_token == "middle":
            rank = rank + (rank >= rows * own // 2)
        elif self.class_token in ("head", "double"):
            rank = rank + 1
        n_tokens = rows * columns + N_CLASS_TOKENS[self.class_token]
        return torch.where(column < own, rank, n_tokens)

    def _class_places(self, own: Tensor) -> Tensor:
        """The class tokens' places in each clip's sequence, (batch, class tokens)."""
        n_patches = self.grid[0] * own
        first = {"middle": n_patches // 2, "end": n_patches}.get(self.class_token, 0 * own)
        places = [first, n_patches + 1] if self.class_token == "double" else [first]
        return torch.stack(places, dim=1)


def class_token_index(place: ClassToken, n_patches: int) -> int:
    """Where the single class token stands in a sequence of so many patches."""
    return {"head": 0, "middle": n_patches // 2, "end": n_patches}[place]


def insert_class_tokens(class_tokens: Tensor, patches: Tensor, place: ClassToken) -> Tensor:
    """Put class tokens into a sequence of patches.

    Args:
        class_tokens: (batch, 1, dim), or (batch, 2, dim) for the place "double".
        patches: (batch, patches, dim).
        place: where to.

    Returns:
        (batch, tokens, dim).
    """
    if place == "double":
        return torch.cat([class_tokens[:, :1], patches, class_tokens[:, 1:]], dim=1)
    index = class_token_index(place, patches.shape[1])
    return torch.cat([patches[:, :index], class_tokens, patches[:, index:]], dim=1)


def read_class_tokens(tokens: Tensor, place: ClassToken) -> Tensor:
    """Take the class token, or the mean of two, out of (batch, tokens, dim): (batch, dim)."""
    if place == "double":
        return (tokens[:, 0] + tokens[:, -1]) / 2
    return tokens[:, class_token_index(place, tokens.shape[1] - 1)]


def _without_class_tokens(tokens: Tensor, place: ClassToken) -> Tensor:
    """The patches alone, in their order."""
    if place == "none":
        return tokens
    if place == "double":
        return tokens[:, 1:-1]
    index = class_token_index(place, tokens.shape[1] - 1)
    return torch.cat([tokens[:, :index], tokens[:, index + 1 :]], dim=1)
