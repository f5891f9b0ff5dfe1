"""Clips with labels: manifests of data sets, reading, augmentation and batches for training.

manifest = open_manifest(Path("ESC-10"), corpus="esc10")
training, held_out = manifest.partition("1")
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from audiomamba.data.augment import Augment
    from audiomamba.data.batches import EpochBatches
    from audiomamba.data.clips import Clip, Clips, LabelVectors
    from audiomamba.data.collection import Collection, prepare_collection
    from audiomamba.data.corpora import CORPORA, get_corpus, list_clips, open_manifest
    from audiomamba.data.corpus import Corpus
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
    from audiomamba.data.fetch import download
    from audiomamba.data.manifest import Manifest
    from audiomamba.data.manifest_file import read_manifest, write_manifest
    from audiomamba.data.preparation import Prepared, prepare
    from audiomamba.data.sampler import EpochSampler
    from audiomamba.data.shards import Sharded, shard

__all__ = [
    "CORPORA",
    "Augment",
    "Clip",
    "ClipCache",
    "Clips",
    "Collection",
    "Corpus",
    "EpochBatches",
    "EpochSampler",
    "EvaluationSet",
    "Example",
    "LabelVectors",
    "Manifest",
    "Prepared",
    "Sharded",
    "Statistics",
    "TrainingSet",
    "clip_features",
    "collate",
    "download",
    "get_corpus",
    "list_clips",
    "measure",
    "open_manifest",
    "prepare",
    "prepare_collection",
    "read_manifest",
    "shard",
    "write_manifest",
]

_HOME = {
    "Augment": "augment",
    "CORPORA": "corpora",
    "Clip": "clips",
    "ClipCache": "dataset",
    "Clips": "clips",
    "Collection": "collection",
    "Corpus": "corpus",
    "EpochBatches": "batches",
    "EpochSampler": "sampler",
    "EvaluationSet": "dataset",
    "Example": "dataset",
    "LabelVectors": "clips",
    "Manifest": "manifest",
    "Prepared": "preparation",
    "Sharded": "shards",
    "Statistics": "dataset",
    "TrainingSet": "dataset",
    "clip_features": "dataset",
    "collate": "dataset",
    "download": "fetch",
    "get_corpus": "corpora",
    "list_clips": "corpora",
    "measure": "dataset",
    "open_manifest": "corpora",
    "prepare": "preparation",
    "prepare_collection": "collection",
    "read_manifest": "manifest_file",
    "shard": "shards",
    "write_manifest": "manifest_file",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
