"""One implementation of a case, and how it is checked against plain PyTorch."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from audiomamba import ops

__all__ = ["Implementation", "Outputs", "plain_pytorch", "short_and_plain"]

Outputs = tuple[Tensor, ...]


@dataclass(frozen=True)
class Implementation:
    """One implementation of a case, ready to run.

    Args:
        call: what is timed; returns what it computed.
        pair: a smaller run of the same code, and what it has to give; if None, what `call` returns
            is compared with what the base returns.
        n_updates: state updates of the recurrence in one call, each with one exponential; 0 if that
            is not what it does.
    """

    call: Callable[[], Outputs]
    pair: Callable[[], tuple[Outputs, Outputs]] | None = None
    n_updates: int = 0


@contextmanager
def plain_pytorch() -> Iterator[None]:
    """Run the ops, and attention, as written out in PyTorch."""
    with ops.use_backend("torch"), sdpa_kernel(SDPBackend.MATH):
        yield


def short_and_plain(short: Callable[[], Outputs]) -> Callable[[], tuple[Outputs, Outputs]]:
    """Pair a small run as it is with the same in plain PyTorch.

    Args:
        short: the small run.

    Returns:
        What runs both.
    """

    def pair() -> tuple[Outputs, Outputs]:
        got = short()
        with plain_pytorch():
            return got, short()

    return pair
