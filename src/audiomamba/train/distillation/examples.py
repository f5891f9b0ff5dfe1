"""Making examples: mixtures of recordings, heard by a teacher, for a student to learn from."""

import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from audiomamba.atomic import write_json
from audiomamba.config import to_plain
from audiomamba.data import Clips, Manifest
from audiomamba.errors import ConfigError, DataError, TrainingError
from audiomamba.progress import Progress
from audiomamba.recipes.mixtures import Mixtures
from audiomamba.train.distillation.degradation import degrade
from audiomamba.train.distillation.example_shards import Example, write_shard
from audiomamba.train.distillation.mixing import Mixer
from audiomamba.train.distillation.pool import Pool, fill_pool
from audiomamba.train.distillation.teacher_model import TeacherModel, TeacherOutput

__all__ = [
    "HELD_OUT",
    "RECORD",
    "TRAINING",
    "ExampleCount",
    "MadeExamples",
    "hold_out",
    "make_examples",
]

TRAINING, HELD_OUT, RECORD = "training", "held-out", "examples.json"
PER_SHARD = 256
ONE_OF = 9  # sources that is held out
GAP_S = (0.19, 0.56)  # between repetitions of a short sound


@dataclass(frozen=True, kw_only=True)
class ExampleCount:
    """How many examples to have.

    Args:
        n_training: files of training examples.
        n_held_out: files of examples of the sources held out.
        per_shard: examples in a file.
        seed: decides the mixtures. Processes with different seeds may write side by side.

    Raises:
        ConfigError: a number is negative, or per_shard is 0.

    Examples:
        >>> ExampleCount(n_training=2).per_shard
        256
    """

    n_training: int
    n_held_out: int = 0
    per_shard: int = PER_SHARD
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.n_training, self.n_held_out, self.seed, self.per_shard - 1) < 0:
            raise ConfigError(
                f"{self}; expected numbers of at least 0, and at least 1 example in a file"
            )


@dataclass(frozen=True, kw_only=True)
class MadeExamples:
    """What make_examples did.

    Args:
        folder: where the examples are.
        n_recordings: recordings to mix, and those held out.
        n_made: examples that this call has made; those that were there are not counted.
        seconds: time spent on these.
    """

    folder: Path
    n_recordings: tuple[int, int]
    n_made: int
    seconds: float


def make_examples(
    manifest: Manifest,
    teacher: str,
    out: Path,
    count: ExampleCount,
    *,
    mixtures: Mixtures = Mixtures(),  # noqa: B008  # immutable
    progress: Progress | None = None,
) -> MadeExamples:
    """Mix recordings, let a teacher hear the mixtures, and keep both in files.

    Files that are there stay: the same call goes on, and one with larger counts adds files. A file
    is determined by its seed and number alone.

    Args:
        manifest: the recordings; labels play no part. Some sources are held out, as by hold_out.
        teacher: as for TeacherModel.
        out: where to; it is made.
        count: how many.
        mixtures: how they are mixed.
        progress: called with how much is done, and of how much: recordings, then files.

    Returns:
        What was done.

    Raises:
        DataError: no recording is left to learn from, or none is held out and examples of such are
            asked for.
        AudioError: a recording cannot be read.
        TrainingError: the folder holds examples of another teacher or other mixtures.
    """
    teacher_model = TeacherModel(teacher)
    _check_record(out, teacher_model, mixtures)
    parts = dict(zip((TRAINING, HELD_OUT), hold_out(manifest.clips), strict=True))
    wanted = {TRAINING: count.n_training, HELD_OUT: count.n_held_out}
    empty = [part for part, clips in parts.items() if wanted[part] and not clips]
    if empty:
        raise DataError(f"no source is left for {empty[0]} examples; expected more sources")
    n_made, seconds = 0, 0.0
    for part, clips in parts.items():
        if not wanted[part]:
            continue
        pool = fill_pool(
            clips, teacher_model, out / "pool" / part, n_windows=mixtures.windows, progress=progress
        )
        maker = _Maker(teacher_model, pool, mixtures)
        (out / part).mkdir(parents=True, exist_ok=True)
        for number in range(wanted[part]):
            path = out / part / f"{count.seed:04}-{number:05}.safetensors"
            if not path.exists():
                start = time.perf_counter()
                # The parts of a seed must differ, also where both are mixed from the same sources.
                draw = np.random.default_rng([count.seed, number, int(part == HELD_OUT)])
                write_shard(path, maker.make(draw, count.per_shard), teacher_model.fingerprint)
                n_made, seconds = n_made + count.per_shard, seconds + time.perf_counter() - start
            if progress is not None:
                progress(number + 1, wanted[part])
    sizes = (len(parts[TRAINING]), len(parts[HELD_OUT]))
    return MadeExamples(folder=out, n_recordings=sizes, n_made=n_made, seconds=seconds)


def hold_out(clips: Clips) -> tuple[Clips, Clips]:
    """Divide recordings by their sources.

    Args:
        clips: the recordings.

    Returns:
        Those to learn from, and those of the sources held out: one of nine, by a hash of its name.
        Where all recordings are of one source, or nothing is known of it, each is its own.
    """
    sources = list(clips.groups())
    if len(set(sources)) == 1:
        sources = [clip.name for clip in clips]
    is_held = np.array([_hash(source) % ONE_OF == 0 for source in sources], dtype=bool)
    return clips.take(np.flatnonzero(~is_held)), clips.take(np.flatnonzero(is_held))


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())


def _check_record(out: Path, teacher_model: TeacherModel, mixtures: Mixtures) -> None:
    """Write what the examples are of; refuse a folder with others."""
    about = {"teacher": teacher_model.fingerprint, "mixtures": to_plain(mixtures)}
    path = out / RECORD
    out.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        write_json(path, about)
        return
    try:
        own = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(f"{path}: cannot be read: {error}") from error
    for name, value in json.loads(json.dumps(about)).items():
        if own.get(name) != value:
            raise TrainingError(f"{path}: the examples there have another {name}; name another DIR")


class _Maker:
    """Makes examples from a pool."""

    def __init__(self, teacher_model: TeacherModel, pool: Pool, mixtures: Mixtures) -> None:
        self.teacher_model, self.mixtures = teacher_model, mixtures
        self.mixer = Mixer(
            pool, mixtures, teacher_model.checkpoint.labels, teacher_model.sample_rate
        )

    def make(self, draw: np.random.Generator, n_examples: int) -> list[Example]:
        """Make so many."""
        return [self._one(draw) for _ in range(n_examples)]

    def _one(self, draw: np.random.Generator) -> Example:
        mixed = self.mixer.mix(draw)
        heard = self._heard(draw, torch.from_numpy(mixed.sound))
        worse = degrade(
            draw, mixed.sound, self.teacher_model.sample_rate, self.mixtures.degradation
        )
        features, _ = self.teacher_model.features([torch.from_numpy(worse)])
        logits, embedding = (one[0].numpy() for one in heard)
        return Example(features[0].numpy(), logits, embedding, mixed.names)

    def _heard(self, draw: np.random.Generator, sound: torch.Tensor) -> TeacherOutput:
        """What the teacher says; of a short sound, of it repeated with gaps and without."""
        rate, n_long = (
            self.teacher_model.sample_rate,
            round(self.mixtures.short_s * self.teacher_model.sample_rate),
        )
        if len(sound) >= n_long:
            return self.teacher_model.hear([sound])
        gap = torch.zeros(int(draw.uniform(*GAP_S) * rate))
        again = [
            one.repeat(-(-n_long // len(one)))[:n_long] for one in (sound, torch.cat([sound, gap]))
        ]
        logits, embeddings = self.teacher_model.hear(again)
        scores = logits.sigmoid().mean(dim=0, keepdim=True)
        return TeacherOutput(
            scores.clamp(1e-6, 1 - 1e-6).logit(), embeddings.mean(dim=0, keepdim=True)
        )
