from .augment import Augment as Augment
from .batches import EpochBatches as EpochBatches
from .clips import Clip as Clip, Clips as Clips, LabelVectors as LabelVectors
from .collection import Collection as Collection, prepare_collection as prepare_collection
from .corpora import (
    CORPORA as CORPORA,
    get_corpus as get_corpus,
    list_clips as list_clips,
    open_manifest as open_manifest,
)
from .corpus import Corpus as Corpus
from .dataset import (
    ClipCache as ClipCache,
    EvaluationDataset as EvaluationDataset,
    Example as Example,
    Statistics as Statistics,
    TrainingDataset as TrainingDataset,
    clip_features as clip_features,
    collate as collate,
    measure as measure,
)
from .fetch import download as download
from .manifest import Manifest as Manifest
from .manifest_file import read_manifest as read_manifest, write_manifest as write_manifest
from .preparation import Prepared as Prepared, prepare as prepare
from .remote_shards import link as link
from .sampler import EpochSampler as EpochSampler
from .shards import Sharded as Sharded, shard as shard
