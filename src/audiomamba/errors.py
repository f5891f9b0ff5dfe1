"""The errors of audiomamba, one tree.

AudioMambaError                   everything that this package raises on purpose
├── AudioError                    a recording cannot be read, or holds nothing usable
├── DataError                     a data set, manifest or label list is not what it should be
├── CheckpointError               a weight file or model folder is damaged or of another kind
├── ConfigError                   a setting has a value that cannot work
│   └── UnknownNameError          a name that is not in the list; offers the nearest ones
├── DownloadError                 a file cannot be fetched, or is not the one that was published
├── BackendError                  a named backend cannot run this call
├── MissingDependencyError        an optional dependency is not installed; names the extra
└── TrainingError                 a run cannot start, resume or go on
    └── RunFailedError            a run that had begun came to no good end

Every message is one line: what was got, what was expected, what to do.
"""

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = [
    "AudioError",
    "AudioMambaError",
    "BackendError",
    "CheckpointError",
    "ConfigError",
    "DataError",
    "DownloadError",
    "MissingDependencyError",
    "RunFailedError",
    "TrainingError",
    "UnknownNameError",
    "exit_code",
]


class AudioMambaError(Exception):
    """Base of all errors raised on purpose by this package.

    Examples:
        >>> from audiomamba import models
        >>> try:
        ...     models.create("aum_bse")
        ... except AudioMambaError as error:
        ...     print(error)
        unknown model 'aum_bse'; did you mean aum_base...
    """


class AudioError(AudioMambaError):
    """A recording cannot be read, or holds nothing usable."""


class DataError(AudioMambaError):
    """A data set, manifest or label list is not what it should be."""


class CheckpointError(AudioMambaError):
    """A weight file or model folder is damaged or of another kind."""


class ConfigError(AudioMambaError, ValueError):
    """A setting has a value that cannot work."""


class UnknownNameError(ConfigError):
    """A name that is not in the list.

    Args:
        kind: what was looked for, in words, such as "model".
        name: the name that was asked for.
        known: the names that exist.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = get_close_matches(name, names, n=3, cutoff=0.5)
        offer = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(names)}"
        super().__init__(f"unknown {kind} {name!r}; {offer}")


class DownloadError(AudioMambaError):
    """A file cannot be fetched, or is not the one that was published."""


class BackendError(AudioMambaError, RuntimeError):
    """A named backend cannot run this call."""


class MissingDependencyError(AudioMambaError, ImportError):
    """An optional dependency is not installed.

    Args:
        package: the package that is missing.
        extra: the extra of audiomamba that brings it.
        purpose: what it is needed for, in words.
    """

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs {package}, which is not installed: pip install 'audiomamba[{extra}]'"
        )


class TrainingError(AudioMambaError):
    """A run cannot start, resume or go on."""


class RunFailedError(TrainingError):
    """A run that had begun came to no good end."""


def exit_code(error: AudioMambaError) -> int:
    """Say how a process ends by which a call could not be done.

    Args:
        error: why not.

    Returns:
        130 for an interrupted call; 1 where an input cannot be read or fetched, or a run failed
        that had begun; 2 where the call itself was wrong, and nothing was done.

    Examples:
        >>> exit_code(ConfigError("no such device")), exit_code(AudioError("a.wav: no such file"))
        (2, 1)
    """
    if isinstance(error.__cause__, KeyboardInterrupt | SystemExit):
        return 130
    return 1 if isinstance(error, AudioError | DownloadError | RunFailedError) else 2
