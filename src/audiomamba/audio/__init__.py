"""Sound in, features out: decoding, change of rate and the log-mel front end.

Knows no labels and no data sets. The names below are loaded on first use, so that importing this
package loads neither torch nor a decoder.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from audiomamba.audio.fbank import features, fit_frames, kaldi_fbank, normalize
    from audiomamba.audio.files import find
    from audiomamba.audio.front_end import FrontEnd
    from audiomamba.audio.io import load

__all__ = [
    "FrontEnd",
    "features",
    "find",
    "fit_frames",
    "kaldi_fbank",
    "load",
    "normalize",
]

_HOME = {
    "FrontEnd": "front_end",
    "features": "fbank",
    "find": "files",
    "fit_frames": "fbank",
    "kaldi_fbank": "fbank",
    "load": "io",
    "normalize": "fbank",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
