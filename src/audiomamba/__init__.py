"""Tag recordings, and train audio classifiers, with encoders that scan instead of attend.

    import audiomamba

    tagger = audiomamba.load("starter")
    for tag in tagger.tag("dog.ogg"):
        print(tag.label, tag.score)

Importing the package loads nothing else: torch and the modules below come with their first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from audiomamba import (
        audio,
        checkpoints,
        data,
        errors,
        hear,
        infer,
        metrics,
        models,
        ops,
        recipes,
        train,
    )
    from audiomamba.errors import AudioMambaError
    from audiomamba.infer import Tag, Tagger, load

__version__ = "0.1.0"

__all__ = [
    "AudioMambaError",
    "Tag",
    "Tagger",
    "audio",
    "checkpoints",
    "data",
    "errors",
    "hear",
    "infer",
    "load",
    "metrics",
    "models",
    "ops",
    "recipes",
    "train",
]

_HOME = {
    "AudioMambaError": "audiomamba.errors",
    "Tag": "audiomamba.infer",
    "Tagger": "audiomamba.infer",
    "load": "audiomamba.infer",
}


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    if name in __all__:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
