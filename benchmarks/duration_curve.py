"""A needle in a haystack: is a sound still found when the recording around it gets longer?

A held-out clip of ESC-10 stands once in 1 to 1800 s of background noise, at a random place; the
clip counts as found if its label has the highest score. The same recordings are given to models
that were trained alike, each without the clips' fold:

    mean        windows that follow one another, their scores averaged: what `audiomamba tag` does
    highest     windows that overlap by half, the highest score of each class; a last window that
                is not full is left out
    native      one pass over the recording, for the models that can

Every result is written as soon as it is there; what --out already holds is not done again.

    python benchmarks/duration_curve.py --data ESC-10 --runs starter=runs/starter/fold-5 \
        aum-tiny=runs/aum-tiny/fold-5 ast-tiny=runs/ast-tiny/fold-5 \
        --out benchmarks/results/duration_curve.json --plot docs/plots/duration_curve.svg
"""

import argparse
import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from background import RATE_HZ, active_parts, background, mixed_at
from torch import Tensor

import audiomamba
from audiomamba import audio, data
from audiomamba.bench.machine import describe
from audiomamba.infer import Reading, Tagger
from audiomamba.infer.windows import WindowBatch

LENGTHS_S = (1, 5, 10, 30, 60, 300, 1800)
MODES = ("mean", "highest", "native")
FOLD, CLIPS_PER_CLASS, SNR_DB = 5, 2, 10.0
COLORS = ("#c8553d", "#22303c", "#588b8b", "#e0a458")
STYLES = {"mean": "-", "highest": "--", "native": ":"}


class Needle(NamedTuple):
    samples: np.ndarray
    parts: list[tuple[float, float]]
    label: str


class CachingTagger(Tagger):
    """A tagger that scores a window once: most are background, and the same in all recordings."""

    def __init__(self, tagger: Tagger) -> None:
        self.__dict__.update(tagger.__dict__)
        self._known: dict[bytes, Tensor] = {}

    def score_windows(self, batch: WindowBatch) -> Tensor:
        keys = [hashlib.sha1(row.numpy().tobytes()).digest() for row in batch.samples]
        new = [place for place, key in enumerate(keys) if key not in self._known]
        if new:
            scores = super().score_windows(WindowBatch(*(part[new] for part in batch)))
            self._known.update((keys[place], row) for place, row in zip(new, scores, strict=True))
        return torch.stack([self._known[key] for key in keys])


def needles(corpus: Path) -> list[Needle]:
    """The first clips of each class of the fold."""
    found: dict[str, list[Needle]] = {}
    for clip in data.open_manifest(corpus, "esc10").clips:
        of_class = found.setdefault(clip.labels[0], [])
        if clip.split == str(FOLD) and len(of_class) < CLIPS_PER_CLASS:
            samples = audio.load(clip.path, sample_rate=RATE_HZ).numpy()
            of_class.append(Needle(samples, active_parts(samples), clip.labels[0]))
    return [needle for of_class in found.values() for needle in of_class]


def haystacks(length_s: int, chosen: list[Needle]) -> Iterator[tuple[np.ndarray, str]]:
    """Each needle in the same background, at a place of its own."""
    n_samples = length_s * RATE_HZ
    noise = background(n_samples, np.random.default_rng(length_s))
    places = np.random.default_rng(length_s + 1).random(len(chosen))
    for needle, place in zip(chosen, places, strict=True):
        mix, sound = noise.copy(), needle.samples
        if n_samples < len(sound):  # what fits, from the first sound on
            first = min(round(needle.parts[0][0] * RATE_HZ), len(sound) - n_samples)
            scaled = mixed_at(sound, noise, SNR_DB, needle.parts)
            yield mix + scaled[first : first + n_samples], needle.label
            continue
        at = int(place * (n_samples - len(sound)))
        mix[at : at + len(sound)] += mixed_at(
            sound, noise[at : at + len(sound)], SNR_DB, needle.parts
        )
        yield mix, needle.label


def scores(tagger: Tagger, samples: np.ndarray, mode: str) -> Tensor:
    """The scores (classes,) of a recording."""
    recording = (samples, RATE_HZ)
    if mode != "highest":
        return tagger.scores(recording, mode="native" if mode == "native" else "windows")
    half_s = tagger.front_end.n_samples // 2 / RATE_HZ
    batches = list(tagger.windows(recording, Reading(hop_s=half_s)))
    full = [batch for batch in batches if (batch.lengths == batch.samples.shape[1]).all()]
    return torch.cat([tagger.score_windows(batch) for batch in full or batches]).amax(dim=0)


def measure(tagger: Tagger, length_s: int, mode: str, chosen: list[Needle]) -> dict[str, float]:
    """The share of needles that are found."""
    n_found, began = 0, time.perf_counter()
    for samples, label in haystacks(length_s, chosen):
        best = int(scores(tagger, samples, mode).argmax())
        n_found += tagger.labels[best] == label
    result = {"accuracy": round(n_found / len(chosen), 3)}
    if mode == "native":  # the others score the background once for all recordings
        result["s per recording"] = round((time.perf_counter() - began) / len(chosen), 3)
    return result


def draw(results: dict[str, Any], file: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = figure.subplots()
    names = list(dict.fromkeys(key.split(", ")[0] for key in results))
    for key, by_length in results.items():
        name, mode = key.split(", ")
        lengths = sorted(by_length, key=int)
        axes.plot(
            [int(length) for length in lengths],
            [by_length[length]["accuracy"] for length in lengths],
            STYLES[mode],
            color=COLORS[names.index(name)],
            label=key,
            marker="o",
            markersize=3,
        )
    axes.set_xscale("log")
    axes.set_xticks(LENGTHS_S, [str(length) for length in LENGTHS_S])
    axes.minorticks_off()
    axes.axhline(0.1, color="#8d99ae", linewidth=0.8)
    axes.text(1, 0.11, "chance", fontsize=7, color="#8d99ae")
    axes.set_ylim(0, 1)
    axes.set_xlabel("seconds of background around a 5-s clip (1: the clip is cut)", fontsize=8)
    axes.set_ylabel("clips found", fontsize=8)
    axes.tick_params(labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.2)
    axes.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="ESC-10")
    parser.add_argument("--runs", nargs="+", required=True, metavar="NAME=RUN")
    parser.add_argument("--longest", type=int, default=LENGTHS_S[-1], help="in seconds")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--plot", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    chosen = needles(args.data)
    record: dict[str, Any] = {
        "command": "python benchmarks/duration_curve.py",
        "clips": len(chosen),
        "fold": FOLD,
        "SNR in dB": SNR_DB,
        "results": {},
        **describe("cpu"),
    }
    if args.out.exists():
        record["results"] = json.loads(args.out.read_text("utf-8"))["results"]
    for name, run in (one.split("=", 1) for one in args.runs):
        tagger = CachingTagger(audiomamba.load(run))
        for mode in MODES:
            if mode == "native" and not tagger.model.config.one_pass:
                continue
            found = record["results"].setdefault(f"{name}, {mode}", {})
            for length_s in LENGTHS_S:
                if str(length_s) in found or length_s > args.longest:
                    continue
                found[str(length_s)] = measure(tagger, length_s, mode, chosen)
                print(name, mode, length_s, found[str(length_s)], flush=True)
                args.out.write_text(json.dumps(record, indent=2) + "\n", "utf-8")
    if args.plot:
        draw(record["results"], args.plot)


if __name__ == "__main__":
    main()
