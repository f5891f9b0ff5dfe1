"""Clips with labels: manifests of data sets, reading, augmentation and batches for training.

manifest = open_manifest(Path("ESC-10"), corpus="esc10")
training, held_out = manifest.partition("1")
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from audiomamba.data.augment import Augment
    from audiomamba.data.corpora import CORPORA, open_manifest
    from audiomamba.data.dataset import (
        ClipCache,
        EvaluationSet,
        Example,
        Statistics,
        TrainingSet,
        clip_features,
        collate,
        measure,
    )
    from audiomamba.data.manifest import Clip, Manifest
    from audiomamba.data.sampler import EpochSampler

__all__ = [
    "CORPORA",
    "Augment",
    "Clip",
    "ClipCache",
    "EpochSampler",
    "EvaluationSet",
    "Example",
    "Manifest",
    "Statistics",
    "TrainingSet",
    "clip_features",
    "collate",
    "measure",
    "open_manifest",
]

_HOME = {
    "Augment": "augment",
    "CORPORA": "corpora",
    "Clip": "manifest",
    "ClipCache": "dataset",
    "EpochSampler": "sampler",
    "EvaluationSet": "dataset",
    "Example": "dataset",
    "Manifest": "manifest",
    "Statistics": "dataset",
    "TrainingSet": "dataset",
    "clip_features": "dataset",
    "collate": "dataset",
    "measure": "dataset",
    "open_manifest": "corpora",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
