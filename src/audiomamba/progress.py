"""How long work tells its caller how far it is."""

from collections.abc import Callable

__all__ = ["Progress"]

Progress = Callable[[int, int], None]  # called with how much is done, and of how much
