"""How a recording is read: in windows or in one pass, and what of it is kept."""

from dataclasses import dataclass
from typing import Literal, get_args

from audiomamba.errors import ConfigError, UnknownNameError

__all__ = ["Mode", "Reading", "TagOptions", "as_mode"]

Mode = Literal["windows", "native"]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How a recording is read.

    Args:
        mode: "windows" reads window after window, with memory that does not grow with the
            recording; "native" reads all of it in one pass, where the model can, with memory for
            each of its frames.
        window_s: length of a window in seconds, at most the model's input; None for that.
        hop_s: seconds from one window's start to the next's, at most window_s; None for the
            default.

    Raises:
        ConfigError: windows are described in mode "native".
        UnknownNameError: there is no such mode.

    Examples:
        >>> Reading(window_s=1.0, hop_s=0.5).mode
        'windows'
        >>> Reading(mode="native", hop_s=0.5)
        Traceback (most recent call last):
            ...
        audiomamba.errors.ConfigError: windows were asked for in mode 'native', which has none
    """

    mode: Mode = "windows"
    window_s: float | None = None
    hop_s: float | None = None

    def __post_init__(self) -> None:
        as_mode(self.mode)
        if self.mode == "native" and not (self.window_s is None and self.hop_s is None):
            raise ConfigError("windows were asked for in mode 'native', which has none")


@dataclass(frozen=True, kw_only=True)
class TagOptions(Reading):
    """How a recording is read, and which of its tags are kept.

    Args:
        mode: as for Reading.
        window_s: as for Reading.
        hop_s: as for Reading; by default the length of a window.
        top: keep at most this many tags; None for all.
        threshold: keep only tags that score at least this.

    Raises:
        ConfigError: a value is out of its range; or as for Reading.
        UnknownNameError: as for Reading.
    """

    top: int | None = None
    threshold: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.top is not None and not (isinstance(self.top, int) and self.top >= 1):
            raise ConfigError(f"top is {self.top}; expected a whole number above 0, or None")
        if not 0 <= self.threshold <= 1:
            raise ConfigError(f"threshold is {self.threshold}; expected a number from 0 to 1")


def as_mode(name: str) -> Mode:
    """Look up a mode.

    Args:
        name: "windows" or "native".

    Returns:
        The mode.

    Raises:
        UnknownNameError: there is no such mode.
    """
    for mode in get_args(Mode):
        if mode == name:
            return mode  # type: ignore[no-any-return]
    raise UnknownNameError("mode", name, get_args(Mode))
