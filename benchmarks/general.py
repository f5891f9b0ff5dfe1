"""How good is a tagger of everyday sound, beside its teacher?

On ESC-50, which neither may have been trained on here: zero-shot, a kind's score being the highest
of the labels that esc50_to_audioset.csv gives it; a linear probe on embeddings over the five folds;
the same zero-shot figure for the loudest 0.3, 1 and 2 s of a clip, at low sample rates and at other
levels. On sounds that were held out, ESC-50 among them: average precision per label, where the
teacher's score of at least --positive makes a positive, also on --further sources by themselves. On
sounds that are nothing: which labels are given. And the time for 10 s of sound on one thread, and
of a whole process.

    python benchmarks/general.py --model general --teacher mn04_as.safetensors --esc50 ESC-50 \
        --held-out held_out.csv --further further.csv --sound DIR --demo demo/recordings \
        --out general.json

Scores are kept in the folder --scores, under a hash of the weights, so that the same call goes on.
"""

import argparse
import csv
import hashlib
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

import audiomamba
from audiomamba import audio, checkpoints
from audiomamba.audio.resample import resample
from audiomamba.infer import Tagger

MAP = Path(__file__).with_name("esc50_to_audioset.csv")
RATE_HZ, CLIP_S, STEP_S = 32_000, 10, 0.05
LENGTHS_S = (0.3, 1.0, 2.0)
RATES_HZ = (8_000, 11_025, 22_050)
LEVELS_DB = (-40, -20, 20)  # of a clip whose peak is at full scale; above 0 it is clipped
MIN_POSITIVES, GOOD = 20, 0.5
SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".opus")

Sound = tuple[Tensor, int]  # samples, and their rate in Hz
Change = Callable[[Tensor, int], Sound]


class Found(NamedTuple):
    """Scores (clips, labels) and embeddings (clips, dim) of clips."""

    scores: np.ndarray
    embeddings: np.ndarray


def open_tagger(name: str) -> Tagger:
    """A model of this package, or a weight file as its authors released it."""
    if Path(name).is_file():
        return Tagger(checkpoints.read_released(Path(name))[0])
    return audiomamba.load(name, all_labels=True)


def loudest(seconds: float) -> Change:
    """The loudest piece of a clip."""

    def cut(samples: Tensor, rate: int) -> tuple[Tensor, int]:
        n, step = min(int(seconds * rate), len(samples)), int(STEP_S * rate)
        power = samples.square().unfold(0, n, step).mean(dim=1)
        first = int(power.argmax()) * step
        return samples[first : first + n], rate

    return cut


def at_rate(new_hz: int) -> Change:
    """A clip as a device of a lower rate records it."""
    return lambda samples, rate: (resample(samples, rate, new_hz), new_hz)


def at_level(decibels: float) -> Change:
    """A clip whose peak is so much below full scale, or clipped."""

    def scale(samples: Tensor, rate: int) -> tuple[Tensor, int]:
        gain = 10 ** (decibels / 20) / samples.abs().max().clamp(min=1e-6)
        return (samples * gain).clamp(-1, 1), rate

    return scale


CHANGES: dict[str, Change] = {
    **{f"loudest {seconds} s": loudest(seconds) for seconds in LENGTHS_S},
    **{f"{rate} Hz": at_rate(rate) for rate in RATES_HZ},
    **{f"peak at {level} dB": at_level(level) for level in LEVELS_DB},
}


def guessed_kinds(labels: Iterable[str], scores: np.ndarray) -> np.ndarray:
    """(clips, labels) to (clips,): the kind that has the label with the highest score."""
    place = {label: index for index, label in enumerate(labels)}
    own: dict[str, list[int]] = {}
    for row in csv.DictReader(MAP.read_text("utf-8").splitlines()):
        own.setdefault(row["category"], []).append(place[row["label"]])
    best = np.stack([scores[:, places].max(axis=1) for places in own.values()], axis=1)
    guesses: np.ndarray = np.array(list(own))[best.argmax(axis=1)]
    return guesses


def probe(embeddings: np.ndarray, kinds: np.ndarray, folds: np.ndarray) -> list[float]:
    """Accuracy of a linear classifier on each fold, learned on the other four."""
    accuracies = []
    for fold in sorted(set(folds)):
        classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.05, max_iter=1000))
        classifier.fit(embeddings[folds != fold], kinds[folds != fold])
        accuracies.append(float(classifier.score(embeddings[folds == fold], kinds[folds == fold])))
    return accuracies


def esc50_clips(folder: Path) -> tuple[list[Path], np.ndarray, np.ndarray]:
    """The clips, their kinds and their folds."""
    rows = list(csv.DictReader((folder / "meta/esc50.csv").read_text("utf-8").splitlines()))
    paths = [folder / "audio" / row["filename"] for row in rows]
    return paths, np.array([r["category"] for r in rows]), np.array([int(r["fold"]) for r in rows])


@torch.inference_mode()
def scores_and_embeddings(tagger: Tagger, clips: Iterable[Sound]) -> Found:
    """What a model finds in clips of one window at most."""
    scores, embeddings = [], []
    for samples, rate in clips:
        (batch,) = tagger.windows((samples.numpy(), rate))
        embedding = tagger.model.embed(*tagger.inputs(batch))
        embeddings.append(embedding[0].numpy())
        scores.append(tagger.logits_to_scores(tagger.model.head(embedding))[0].numpy())
    return Found(np.stack(scores), np.stack(embeddings))


class Memory:
    """What models have found, kept in a folder; None to keep nothing."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def find(self, tagger: Tagger, what: str, clips: Callable[[], Iterable[Sound]]) -> Found:
        """What a model finds in clips, which are read only if that is not known."""
        if self.folder is None:
            return scores_and_embeddings(tagger, clips())
        path = self.folder / f"{weights_hash(tagger)}-{what.replace(' ', '-')}.npz"
        if not path.exists():
            found = scores_and_embeddings(tagger, clips())
            self.folder.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(".part.npz")
            np.savez(part, **found._asdict())
            part.replace(path)
        with np.load(path) as kept:
            return Found(kept["scores"], kept["embeddings"])


def weights_hash(tagger: Tagger) -> str:
    """What tells a model from others."""
    content = hashlib.blake2b(digest_size=8)
    for name, value in sorted(tagger.model.state_dict().items()):
        content.update(name.encode() + value.numpy().tobytes())
    return content.hexdigest()


class Corpus:
    """ESC-50: clips, kinds and folds; the sound is read when it is asked for, and kept."""

    def __init__(self, folder: Path) -> None:
        self.paths, self.kinds, self.folds = esc50_clips(folder)
        self._clips: dict[int, Sound] = {}

    def clip(self, index: int) -> Sound:
        """One clip."""
        if index not in self._clips:
            self._clips[index] = audio.load(self.paths[index], sample_rate=RATE_HZ), RATE_HZ
        return self._clips[index]

    def clips(self) -> Iterable[Sound]:
        """All clips."""
        return map(self.clip, range(len(self.paths)))


def measure_esc50(
    tagger: Tagger, corpus: Corpus, n_changed: int, memory: Memory
) -> tuple[dict[str, Any], np.ndarray]:
    """Zero-shot and probe on all clips, zero-shot on some of them, changed; and all scores."""
    kinds, folds = corpus.kinds, corpus.folds
    scores, embeddings = memory.find(tagger, "esc50", corpus.clips)
    right = guessed_kinds(tagger.labels, scores) == kinds
    accuracies = probe(embeddings, kinds, folds)
    some = np.random.default_rng(0).permutation(len(kinds))[:n_changed]
    changed = {"as they are": float(right[some].mean())}
    for name, change in CHANGES.items():
        found = memory.find(
            tagger,
            f"{len(some)} clips {name}",
            lambda change=change: (change(*corpus.clip(index)) for index in some.tolist()),
        )
        changed[name] = float((guessed_kinds(tagger.labels, found.scores) == kinds[some]).mean())
    return {
        "zero-shot": float(right.mean()),
        "probe": float(np.mean(accuracies)),
        "probe by fold": accuracies,
        "by kind": {kind: float(right[kinds == kind].mean()) for kind in sorted(set(kinds))},
        "labels": label_precision(tagger, scores, kinds),
        "changed clips": len(some),
        "changed": changed,
    }, scores


def label_precision(tagger: Tagger, scores: np.ndarray, kinds: np.ndarray) -> dict[str, float]:
    """Average precision of each label of the map for the clips of the kinds that it stands for."""
    own: dict[str, set[str]] = {}
    for row in csv.DictReader(MAP.read_text("utf-8").splitlines()):
        own.setdefault(row["label"], set()).add(row["category"])
    return {
        label: float(
            average_precision_score(
                np.isin(kinds, sorted(of)), scores[:, tagger.labels.index(label)]
            )
        )
        for label, of in sorted(own.items())
        if not of.isdisjoint(kinds)
    }


def held_out_clips(table: Path, root: Path, n_mixtures: int) -> Iterator[Sound]:
    """10 s of each row's file, from start_s on, and mixtures of two of them at random levels."""
    rows = list(csv.DictReader(table.read_text("utf-8").splitlines()))

    def clip_of(row: dict[str, str]) -> Tensor:
        return ten_seconds(root / row["path"], float(row.get("start_s") or 0))

    yield from ((clip_of(row), RATE_HZ) for row in rows)
    draw = np.random.default_rng(0)
    for _ in range(n_mixtures):
        mixture = torch.zeros(CLIP_S * RATE_HZ)
        for index in draw.choice(len(rows), 2, replace=False):
            clip = clip_of(rows[index])
            clip = clip / clip.square().mean().sqrt().clamp(min=1e-4)
            clip = clip.repeat(1 + len(mixture) // (2 * len(clip)))[: len(mixture)]
            first = int(draw.integers(0, len(mixture) - len(clip) + 1))
            mixture[first : first + len(clip)] += clip * 10 ** (draw.uniform(-8, 8) / 20)
        yield mixture / mixture.abs().max().clamp(min=1e-6) * 0.5, RATE_HZ


def ten_seconds(path: Path, start_s: float) -> Tensor:
    """What a recording holds from a time on, 10 s at most; the rest is not read."""
    first, read, n_read = round(start_s * RATE_HZ), [], 0
    for block in audio.stream(path, sample_rate=RATE_HZ):
        read.append(block)
        n_read += len(block)
        if n_read >= first + CLIP_S * RATE_HZ:
            break
    return torch.cat(read)[first : first + CLIP_S * RATE_HZ]


def agreement(
    labels: tuple[str, ...], student: np.ndarray, teacher: np.ndarray, positive: float
) -> dict[str, Any]:
    """Average precision of each label that has enough positives, and the best thresholds."""
    found = {}
    for index, label in enumerate(labels):
        truth = teacher[:, index] >= positive
        if MIN_POSITIVES <= truth.sum() < len(truth):
            found[label] = {
                "positives": int(truth.sum()),
                "ap": float(average_precision_score(truth, student[:, index])),
            }
    precisions = [one["ap"] for one in found.values()]
    return {
        "clips": len(student),
        "positive from": positive,
        "labels": found,
        "labels measured": len(found),
        f"labels above {GOOD}": sum(ap > GOOD for ap in precisions),
        "mAP": float(np.mean(precisions)) if precisions else None,
    }


@torch.inference_mode()
def speed(taggers: dict[str, Tagger], n_times: int) -> dict[str, dict[str, float]]:
    """Median milliseconds for 10 s on one thread, in turns."""
    torch.set_num_threads(1)
    times: dict[str, dict[str, list[float]]] = {
        name: {"features": [], "network": [], "together": []} for name in taggers
    }
    for _ in range(n_times):
        for name, tagger in taggers.items():
            samples = torch.randn(1, CLIP_S * tagger.front_end.sample_rate)
            start = time.perf_counter()
            features = audio.features(samples, tagger.front_end)
            middle = time.perf_counter()
            tagger.model(features)
            end = time.perf_counter()
            for part, spent in zip(
                times[name], (middle - start, end - middle, end - start), strict=True
            ):
                times[name][part].append(1000 * spent)
    return {
        name: {part: round(median(spent), 2) for part, spent in parts.items()}
        for name, parts in times.items()
    }


def process_time(recording: Path, n_times: int) -> dict[str, float]:
    """Median seconds of `audiomamba tag` as a process of its own: elapsed, and of the processor."""
    elapsed, used = [], []
    for _ in range(n_times):
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "audiomamba", "tag", str(recording)],
            check=True,
            capture_output=True,
        )
        elapsed.append(time.perf_counter() - start)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return {"elapsed": round(median(elapsed), 2), "processor": round(median(used), 2)}


def nothing_heard(model: str) -> dict[str, list[str]]:
    """The labels that a model gives to sounds that are nothing."""
    tagger, draw = audiomamba.load(model), np.random.default_rng(0)
    noise = draw.standard_normal(CLIP_S * RATE_HZ).astype(np.float32)
    walk = np.cumsum(noise)
    time_s = np.arange(len(noise), dtype=np.float32) / RATE_HZ
    sounds = {
        "silence": np.zeros_like(noise),
        "white noise, -60 dB": 0.001 * noise,
        "white noise, -26 dB": 0.05 * noise,
        "brown noise": 0.2 * walk / np.abs(walk).max(),
        "a hum of 50 Hz": 0.1 * np.sin(2 * np.pi * 50 * time_s),
        "a tone of 1 kHz": 0.1 * np.sin(2 * np.pi * 1000 * time_s),
    }
    return {
        name: [f"{tag.label} {tag.score:.2f}" for tag in tagger.tag((sound, RATE_HZ)) if tag.heard]
        for name, sound in sounds.items()
    }


def demo(taggers: dict[str, Tagger], folder: Path) -> dict[str, dict[str, list[str]]]:
    """The first three labels of each recording."""
    paths = sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES)
    return {
        path.name: {
            name: [f"{tag.label} {tag.score:.2f}" for tag in tagger.tag(path)[:3]]
            for name, tagger in taggers.items()
        }
        for path in paths
    }


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="name or folder of the model")
    parser.add_argument("--teacher", required=True, help="the same, or its released file")
    parser.add_argument("--esc50", type=Path, required=True, help="folder of ESC-50")
    parser.add_argument("--held-out", type=Path, required=True, help="table with a column path")
    parser.add_argument("--further", type=Path, help="another, with a column start_s")
    parser.add_argument("--sound", type=Path, help="folder that the paths start from")
    parser.add_argument("--mixtures", type=int, default=1500, help="of sounds of --held-out")
    parser.add_argument("--further-mixtures", type=int, default=1000, help="of those of --further")
    parser.add_argument("--positive", type=float, default=0.2)
    parser.add_argument("--changed", type=int, default=400, help="clips to be changed")
    parser.add_argument("--demo", type=Path, help="folder of recordings")
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--processes", type=int, default=5, help="to be timed")
    parser.add_argument("--scores", type=Path, help="folder where scores are kept")
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args()


def main() -> None:
    given = read_arguments()
    taggers = {"model": open_tagger(given.model), "teacher": open_tagger(given.teacher)}
    memory, corpus = Memory(given.scores), Corpus(given.esc50)
    report: dict[str, Any] = {"speed, ms for 10 s": speed(taggers, given.times)}
    if given.demo:
        report["demo"] = demo(taggers, given.demo)
        first = min(path for path in given.demo.iterdir() if path.suffix in SUFFIXES)
        report["audiomamba tag, a process of its own, s"] = process_time(first, given.processes)
    report["sounds that are nothing"] = nothing_heard(given.model)
    measured = {
        name: measure_esc50(tagger, corpus, given.changed, memory)
        for name, tagger in taggers.items()
    }
    report["esc50"] = {name: figures for name, (figures, _) in measured.items()}
    scores = [scores for _, scores in measured.values()]
    labels = taggers["model"].labels
    report["esc50 against the teacher"] = agreement(labels, *scores, given.positive)
    held: dict[str, list[np.ndarray]] = {}
    for name, table, n_mixtures in (
        ("held-out", given.held_out, given.mixtures),
        ("further held-out", given.further, given.further_mixtures),
    ):
        if table:
            clips = partial(held_out_clips, table, given.sound, n_mixtures)
            held[name] = [memory.find(it, name, clips).scores for it in taggers.values()]
            report[f"{name} sources"] = agreement(labels, *held[name], given.positive)
    both = [np.concatenate(of_one) for of_one in zip(*held.values(), strict=True)]
    report["all held-out sources"] = agreement(labels, *both, given.positive)
    together = [np.concatenate(pair) for pair in zip(both, scores, strict=True)]
    report["all held-out sources and esc50"] = agreement(labels, *together, given.positive)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
