"""Cuts a recording of any length into inputs of the model's length."""

from collections.abc import Iterator

from torch import Tensor

__all__ = ["cut"]


def cut(samples: Tensor, n_samples: int, *, shortest: int, batch_size: int) -> Iterator[Tensor]:
    """Yields a recording as batches of windows that follow one another without overlap.

    Args:
        samples: the recording, (samples,).
        n_samples: length of a full window in samples.
        shortest: a last window shorter than this many samples is left out.
        batch_size: how many full windows a batch holds at most.

    Returns:
        Batches (windows, samples): the full windows first, then the rest as a batch of one.
    """
    n_full = len(samples) // n_samples
    full, rest = samples[: n_full * n_samples], samples[n_full * n_samples :]
    if n_full:
        yield from full.reshape(n_full, n_samples).split(batch_size)
    if len(rest) >= shortest:
        yield rest[None]
