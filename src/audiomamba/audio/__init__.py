"""Sound in, features out: decoding, change of rate and the log-mel front ends.

Knows no labels and no data sets. The names below are loaded on first use, so that importing this
package loads neither torch nor a decoder.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from audiomamba.audio.blocks import Blocks, stream
    from audiomamba.audio.fbank import kaldi_fbank
    from audiomamba.audio.files import find
    from audiomamba.audio.front_end import FrontEnd
    from audiomamba.audio.io import load
    from audiomamba.audio.model_input import (
        features,
        fit_frames,
        log_mel_spectrogram,
        normalize,
        to_decibels,
    )

__all__ = [
    "Blocks",
    "FrontEnd",
    "features",
    "find",
    "fit_frames",
    "kaldi_fbank",
    "load",
    "log_mel_spectrogram",
    "normalize",
    "stream",
    "to_decibels",
]

_HOME = {
    "Blocks": "blocks",
    "FrontEnd": "front_end",
    "features": "model_input",
    "find": "files",
    "fit_frames": "model_input",
    "kaldi_fbank": "fbank",
    "load": "io",
    "log_mel_spectrogram": "model_input",
    "normalize": "model_input",
    "stream": "blocks",
    "to_decibels": "model_input",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
