"""Evaluation of a model on clips with known labels, read as `tag` reads recordings."""

import json
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from audiomamba import checkpoints, metrics
from audiomamba.atomic import write_json
from audiomamba.data import Clip, Clips, Manifest, open_manifest, read_manifest
from audiomamba.data.clip_reader import load_clip
from audiomamba.data.manifest_file import MANIFEST_NAME
from audiomamba.errors import AudioError, AudioMambaError, ConfigError, DataError
from audiomamba.infer import SoundModel, load
from audiomamba.infer.batch import score_many
from audiomamba.infer.device import as_device, use_threads
from audiomamba.metrics import Interval, Metrics
from audiomamba.outputs import sole_writer, writing
from audiomamba.recipes import from_dict
from audiomamba.train.fitting.processes import warn
from audiomamba.train.label_map import LabelMap, read_label_map
from audiomamba.train.split import split_clips

__all__ = ["ClipResult", "Evaluation", "ScoredClips", "describe", "evaluate", "score_clips"]

EVALUATION_NAME = "evaluation.json"  # what a run was found to do on the clips that it held out
FINETUNE_NAME = "finetune.json"
NEGLIGIBLE = 0.01  # of a window: a rest as short as this after a clip's window is left out
N_NAMED = 50  # most wrong, and slowest, clips that are named


@dataclass(frozen=True, kw_only=True)
class ClipResult:
    """What a model made of one clip.

    Args:
        path: the clip's file.
        piece: what tells the clip from others in the file; empty for a file of its own.
        labels: what is in it.
        given: the classes that it was given, with their scores.
        error: the greatest difference between a score and the 0 or 1 that it should be.
        read_s: seconds it took to read and decode.
    """

    path: str
    piece: str
    labels: tuple[str, ...]
    given: Mapping[str, float]
    error: float
    read_s: float


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What evaluate found.

    Args:
        model: the model's folder.
        data: the data set.
        split: the split that was evaluated; None for all clips.
        metrics: the metrics.
        intervals: where 95 % of resampled metrics lie, by the metric's name; may be none.
        most_wrong: clips that were given other classes than theirs, the worst first; at most 50.
        slowest: clips that took the longest to read, the slowest first; at most 50.
        failed: why clips could not be read, one line each.
        seconds: time it took, decoding included.

    Examples:
        >>> from audiomamba.train import finetune
        >>> made = finetune(Path("my-sounds"), Path("model"), probe=True, progress=False)
        >>> made.held_out.split, made.held_out.failed
        ('valid', ())
    """

    model: Path
    data: Path
    split: str | None
    metrics: Metrics
    intervals: Mapping[str, Interval]
    most_wrong: tuple[ClipResult, ...]
    slowest: tuple[ClipResult, ...]
    failed: tuple[str, ...]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return the same as dictionaries, lists, numbers and strings."""
        intervals = {name: asdict(one) for name, one in self.intervals.items()}
        return {
            "model": str(self.model),
            "data": str(self.data),
            "split": self.split,
            "metrics": self.metrics.to_dict(),
            "intervals": {
                name: one for name, one in intervals.items() if math.isfinite(one["low"])
            },
            "most_wrong": [asdict(one) for one in self.most_wrong],
            "slowest": [asdict(one) for one in self.slowest],
            "failed": list(self.failed),
            "seconds": self.seconds,
        }


@dataclass(frozen=True, kw_only=True)
class ScoredClips:
    """Scores of the clips that could be read.

    Args:
        clips: those clips.
        scores: (clips, classes) float32, each from 0 to 1.
        read_s: (clips,) float64, seconds each took to read and decode.
        failed: why the others could not be read, one line each.
    """

    clips: Clips
    scores: np.ndarray
    read_s: np.ndarray
    failed: tuple[str, ...]


def evaluate(
    model: str | Path,
    data: Path,
    *,
    corpus: str | None = None,
    split: str | None = None,
    label_map: Path | None = None,
    n_resamples: int = 1000,
    device: str = "cpu",
    n_threads: int | None = None,
) -> Evaluation:
    """Evaluate a model on a data set as `tag` reads recordings.

    All windows are read, but for a rest shorter than a hundredth of one, with out-of-distribution
    detection. What is found on clips that a run held out is kept in its folder, for its report.

    Args:
        model: a run's folder, a model's folder, or the name of a model that ships with the package.
        data: the data set.
        corpus: its layout, as for data.open_manifest.
        split: the one to evaluate, such as "1" for fold 1, or "all". None for what the run held
            out, if the model is of a run on this data set, else all clips.
        label_map: where clips have other labels than the model: a table, as read_label_map reads
            it, of which of the model's stand for theirs; the highest of these is a clip's score.
        n_resamples: resamples of the clips for the confidence intervals; 0 for none.
        device: where the model computes: "cpu", "cuda" or "cuda:N".
        n_threads: processor threads; None to leave them as they are.

    Returns:
        The metrics; clips that cannot be read are left out and named.

    Raises:
        DataError: the data set or the table is wrong, or a label is unknown.
        ConfigError: the model is one of images, or there is no such device.
        CheckpointError: the model cannot be loaded.
        UnknownNameError: there is no such model or corpus.

    Examples:
        >>> from audiomamba.train import finetune
        >>> made = finetune(Path("my-sounds"), Path("tones"), probe=True, progress=False)
        >>> evaluate(made.folder, Path("my-sounds"), n_resamples=0).metrics.accuracy
        1.0
    """
    started = time.perf_counter()
    as_device(device)
    use_threads(n_threads)
    folder = Path(checkpoints.find(model))
    sound_model = load(folder, all_labels=True)
    record = _record(folder)
    manifest = _open(data, corpus, record)
    chosen, clips = _choose(manifest, split, folder, record)
    mapped = read_label_map(label_map, sound_model.labels)
    _check_labels(mapped.kinds, label_map or folder, clips, data)
    scored = _score(sound_model.to(device), clips, mapped)
    found = describe(mapped.kinds, scored, n_resamples=n_resamples)
    seconds = time.perf_counter() - started
    done = replace(found, model=folder, data=data, split=chosen, seconds=seconds)
    if split is None and chosen is not None:
        _keep(_home(folder) / EVALUATION_NAME, done)
    return done


def _open(data: Path, corpus: str | None, record: Mapping[str, Any] | None) -> Manifest:
    """The data set's clips, in the layout that is named or that the run's recipe names."""
    if corpus is None and record is not None and record["recipe"]["corpus"] != "own":
        corpus = record["recipe"]["corpus"]
    manifest = open_manifest(data, corpus, check_files=False)
    warn([*manifest.notes, *manifest.warnings()])
    return manifest


def _score(sound_model: SoundModel, clips: Clips, mapped: LabelMap) -> ScoredClips:
    """The scores of clips, of their own labels."""
    scored = score_clips(sound_model, clips)
    return replace(scored, scores=mapped.scores(scored.scores))


def _keep(path: Path, found: Evaluation) -> None:
    """Write down what was found, for reports; where that cannot be done, say so."""
    try:
        with sole_writer(path), writing(path):
            write_json(path, found.to_dict())
    except ConfigError as error:
        warn([f"what is found is not kept for a report: {error}"])


def _check_labels(known: Sequence[str], where: Path, clips: Clips, data: Path) -> None:
    """Refuse clips with a label that the model, or the map, has not."""
    unknown = [label for label in clips.label_names if label not in known]
    if unknown:
        more = f" and {len(unknown) - 1} more labels" if len(unknown) > 1 else ""
        raise DataError(
            f"{where} does not know the label {unknown[0]!r}{more} of {data}; "
            f"it knows {', '.join(known[:5])} ..."
        )


def score_clips(sound_model: SoundModel, clips: Clips) -> ScoredClips:
    """Score clips as `tag` scores recordings, window by window, many at a time.

    Args:
        sound_model: the model.
        clips: the clips.

    Returns:
        Their scores; clips that cannot be read are left out and named.

    Raises:
        AudioError: no clip can be read.
        MissingDependencyError: a decoder is not installed.
    """
    kept: list[int] = []
    read_s: list[float] = []
    failed: list[str] = []
    rate = sound_model.front_end.sample_rate

    def recordings() -> Iterator[tuple[Tensor, int]]:
        for index, clip in enumerate(clips):
            started = time.perf_counter()
            try:
                samples = load_clip(clip, rate)
            except (AudioError, DataError) as error:
                failed.append(str(error))
                continue
            read_s.append(time.perf_counter() - started)
            kept.append(index)
            yield _without_rest(samples, sound_model.front_end.n_samples), rate

    rows: dict[int, np.ndarray] = {}
    for index, found in score_many(sound_model, recordings()):
        if isinstance(found, AudioMambaError):
            raise found
        rows[index] = found.scores.numpy()
    if not rows:
        first = f": {failed[0]}" if failed else ""
        raise AudioError(f"none of {len(clips)} clips can be read{first}")
    return ScoredClips(
        clips=clips.take(np.array(kept)),
        scores=np.stack([rows[index] for index in range(len(kept))]),
        read_s=np.array(read_s),
        failed=tuple(failed),
    )


def describe(
    labels: Sequence[str],
    scored: ScoredClips,
    thresholds: Sequence[float] | None = None,
    *,
    n_resamples: int = 1000,
) -> Evaluation:
    """Compare the scores of clips with their labels.

    Args:
        labels: the classes.
        scored: the clips and their scores.
        thresholds: as for metrics.compute.
        n_resamples: as for evaluate.

    Returns:
        The metrics, with empty paths.

    Raises:
        DataError: scores are not finite.
    """
    targets = scored.clips.label_vectors(labels).dense()
    found = metrics.compute(scored.scores, targets, labels, thresholds)
    single = found.confusion is not None
    results = _results(scored, labels, None if single else _limits(found))
    wrong = [one for one in results if set(one.given) != set(one.labels)]
    intervals: Mapping[str, Interval] = {}
    if n_resamples:
        intervals = metrics.bootstrap(scored.scores, targets, n_resamples=n_resamples)
    return Evaluation(
        model=Path(),
        data=Path(),
        split=None,
        metrics=found,
        intervals=intervals,
        most_wrong=tuple(sorted(wrong, key=lambda one: -one.error)[:N_NAMED]),
        slowest=tuple(sorted(results, key=lambda one: -one.read_s)[:N_NAMED]),
        failed=scored.failed,
        seconds=0.0,
    )


def _limits(found: Metrics) -> np.ndarray:
    """The thresholds that the metrics were made with."""
    return np.array([one.threshold for one in found.classes])


def _results(
    scored: ScoredClips, labels: Sequence[str], limits: np.ndarray | None
) -> list[ClipResult]:
    """What the model made of each clip: the class of the highest score, or all above limits."""
    results = []
    targets = scored.clips.label_vectors(labels)
    for index, (clip, scores) in enumerate(zip(scored.clips, scored.scores, strict=True)):
        given = scores >= (scores.max() if limits is None else limits)
        chosen = np.flatnonzero(given).tolist()
        results.append(
            ClipResult(
                path=os.path.abspath(clip.path),  # noqa: PTH100 (keeps links)
                piece=clip.name.removeprefix(clip.path.name),
                labels=clip.labels,
                given={labels[number]: round(float(scores[number]), 4) for number in chosen},
                error=round(float(np.abs(scores - targets[index]).max()), 4),
                read_s=round(float(scored.read_s[index]), 4),
            )
        )
    return results


def _without_rest(samples: Tensor, n_window: int) -> Tensor:
    """A clip without a rest after its window that is too short to say anything."""
    if n_window < len(samples) <= n_window * (1 + NEGLIGIBLE):
        return samples[:n_window]
    return samples


def _home(folder: Path) -> Path:
    """The run that a model folder belongs to, or the folder itself."""
    for home in (folder, folder.parent):
        if (home / "run.json").is_file() or (home / FINETUNE_NAME).is_file():
            return home
    return folder


def _record(folder: Path) -> Mapping[str, Any] | None:
    """The record of the run that a model folder belongs to, if any."""
    path = _home(folder) / "run.json"
    if not path.is_file():
        return None
    record: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return record


def _choose(
    manifest: Manifest, split: str | None, folder: Path, record: Mapping[str, Any] | None
) -> tuple[str | None, Clips]:
    """The split to evaluate and its clips."""
    if split == "all":
        return None, manifest.clips
    if split is not None:
        return split, manifest.select(split)
    if (_home(folder) / FINETUNE_NAME).is_file():
        return _held_out_by_finetune(_home(folder), manifest)
    if record is None or record["data"]["fingerprint"] != manifest.fingerprint:
        return None, manifest.clips
    recipe = from_dict(record["recipe"])
    held = split_clips(manifest, record["data"]["held_out"], recipe.seed)
    return (held.name, held.held_out) if held.held_out else (None, manifest.clips)


def _held_out_by_finetune(home: Path, manifest: Manifest) -> tuple[str | None, Clips]:
    """The clips that finetune held out, if they are all there; else all clips."""
    facts = json.loads((home / FINETUNE_NAME).read_text(encoding="utf-8"))
    own = read_manifest(home / MANIFEST_NAME)
    wanted = {_mark(clip) for clip in own.select(facts["held_out"])}
    indices = [index for index, clip in enumerate(manifest.clips) if _mark(clip) in wanted]
    if len(indices) != len(wanted):
        return None, manifest.clips
    return facts["held_out"], manifest.clips.take(np.array(indices))


def _mark(clip: Clip) -> tuple[str, str, float, float | None]:
    """What tells a clip from all others."""
    return os.path.realpath(clip.path), clip.key, clip.start_s, clip.end_s
