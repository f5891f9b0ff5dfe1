"""Soundscapes: held-out clips at known times over background noise, and what a model finds in them.

`make` mixes them, with fixed seeds, out of one fold of ESC-10: sounds of 60 s each, and the times
of their events as CSV. `measure` makes a set of every fold, each read by the run of a
cross-validation that did not see the fold. The settings of the events of a fold are chosen on the
other four; all figures are means over the five folds. It needs the packages sed_eval and
sed_scores_eval.

    audiomamba train esc10/starter --data ESC-10 --out runs/starter --cv
    python benchmarks/soundscapes.py make --data ESC-10 --fold 5 --out soundscapes
    python benchmarks/soundscapes.py measure --data ESC-10 --runs runs/starter \
        --out benchmarks/results/soundscapes.json
"""

import argparse
import csv
import itertools
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dcase_util
import numpy as np
import sed_eval
import soundfile
from background import RATE_HZ, active_parts, background, mixed_at
from scipy.ndimage import median_filter
from sed_scores_eval import intersection_based
from sed_scores_eval.base_modules.scores import create_score_dataframe

import audiomamba
from audiomamba import audio, data
from audiomamba.bench.machine import describe
from audiomamba.infer import Event, EventRule, Framing, Timeline

STEP_S = Framing().step_s
SECONDS = 60.0
N_SOUNDSCAPES = 20
N_EVENTS = 7
FOLDS = (1, 2, 3, 4, 5)
SNR_DB = (0.0, 20.0)
COLLAR_S, SEGMENT_S = 0.2, 1.0
GRID = {
    "threshold": (0.2, 0.3, 0.4, 0.5, 0.6),
    "stay": (0.3, 0.5, 0.7, 1.0),
    "median_s": (0.1, 0.5, 0.9, 1.3),
}
# Detection and ground truth criterion, cross-trigger criterion and weight, as in DCASE's task 4.
PSDS = {"PSDS1": (0.7, 0.3, 0.0), "PSDS2": (0.1, 0.3, 0.5)}
CSV_COLUMNS = ("file", "start_s", "end_s", "label")


@dataclass(frozen=True)
class Soundscape:
    """A file and the events in it."""

    file: Path
    events: list[tuple[float, float, str]]


def make(folder: Path, corpus: Path, fold: int, *, n: int = N_SOUNDSCAPES) -> list[Soundscape]:
    """Mix soundscapes out of the clips of a fold, and write them with their events."""
    folder.mkdir(parents=True, exist_ok=True)
    clips = [c for c in data.open_manifest(corpus, "esc10").clips if c.split == str(fold)]
    rng = np.random.default_rng(1000 + fold)
    order = itertools.chain.from_iterable(rng.permutation(len(clips)) for _ in itertools.count())
    made = [
        _make_one(
            folder / f"fold-{fold}-{number:02}.flac",
            [clips[next(order)] for _ in range(N_EVENTS)],
            rng,
        )
        for number in range(n)
    ]
    with (folder / "reference.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(CSV_COLUMNS)
        for one in made:
            rows.writerows([one.file.name, f"{a:.3f}", f"{b:.3f}", c] for a, b, c in one.events)
    return made


def _make_one(file: Path, clips: list[data.Clip], rng: np.random.Generator) -> Soundscape:
    """One soundscape; its clips follow one another with random pauses."""
    mix = background(round(SECONDS * RATE_HZ), rng)
    sounds, lengths = [], []
    for clip in clips:
        samples = audio.load(clip.path, sample_rate=RATE_HZ).numpy()
        parts = active_parts(samples)
        first, last = parts[0][0], parts[-1][1]
        sounds.append(
            (
                samples[round(first * RATE_HZ) : round(last * RATE_HZ)],
                [(a - first, b - first) for a, b in parts],
            )
        )
        lengths.append(last - first)
    pauses = rng.dirichlet(np.ones(len(clips) + 1)) * (SECONDS - sum(lengths) - 0.5 * len(clips))
    events, now = [], 0.0
    for clip, (sound, parts), pause in zip(clips, sounds, pauses, strict=False):
        now = round((now + pause + 0.25) * RATE_HZ) / RATE_HZ
        at = round(now * RATE_HZ)
        noise = mix[at : at + len(sound)]
        mix[at : at + len(sound)] += mixed_at(sound, noise, rng.uniform(*SNR_DB), parts)[
            : len(noise)
        ]
        events += [(now + a, now + b, clip.labels[0]) for a, b in parts]
        now += len(sound) / RATE_HZ + 0.25
    mix /= max(1.0, np.abs(mix).max() / 0.99)
    soundfile.write(file, mix, RATE_HZ, subtype="PCM_16")
    return Soundscape(file, events)


def f_measures(
    found: list[list[Event]], soundscapes: list[Soundscape], labels: tuple[str, ...]
) -> dict[str, float]:
    """Event-based F1 with a collar on onsets, and segment-based F1; overall and mean of classes."""
    by_event = sed_eval.sound_event.EventBasedMetrics(
        list(labels), t_collar=COLLAR_S, evaluate_onset=True, evaluate_offset=False
    )
    by_segment = sed_eval.sound_event.SegmentBasedMetrics(list(labels), time_resolution=SEGMENT_S)
    for events, soundscape in zip(found, soundscapes, strict=True):
        estimated = [(event.start_s, event.end_s, event.label) for event in events]
        lists = [
            dcase_util.containers.MetaDataContainer(
                [
                    {"file": soundscape.file.name, "onset": a, "offset": b, "event_label": label}
                    for a, b, label in rows
                ]
            )
            for rows in (soundscape.events, estimated)
        ]
        by_event.evaluate(*lists)
        by_segment.evaluate(*lists)
    result = {}
    for name, metrics in (("event F1", by_event), ("segment F1", by_segment)):
        result[name] = metrics.results_overall_metrics()["f_measure"]["f_measure"]
        per_class = metrics.results_class_wise_average_metrics()["f_measure"]["f_measure"]
        result[f"{name}, mean of classes"] = per_class
    return {name: round(float(value), 3) for name, value in result.items()}


def psds(
    scores: list[np.ndarray], soundscapes: list[Soundscape], labels: tuple[str, ...]
) -> dict[str, float]:
    """Polyphonic sound detection scores, over all thresholds at once."""
    frames = {
        one.file.stem: create_score_dataframe(
            of_one.astype(np.float64), np.arange(len(of_one) + 1) * STEP_S, list(labels)
        )
        for one, of_one in zip(soundscapes, scores, strict=True)
    }
    truth = {one.file.stem: one.events for one in soundscapes}
    lengths = {one.file.stem: SECONDS for one in soundscapes}
    result = {}
    for name, (detection, cross_trigger, weight) in PSDS.items():
        result[name] = intersection_based.psds(
            frames,
            truth,
            lengths,
            dtc_threshold=detection,
            gtc_threshold=detection,
            cttc_threshold=cross_trigger if weight else None,
            alpha_ct=weight,
            alpha_st=1.0,
        )[0]
    return {name: round(float(value), 3) for name, value in result.items()}


def read_all(
    runs: Path, sets: Mapping[int, list[Soundscape]], framing: Framing
) -> tuple[dict[int, list[Timeline]], float]:
    """Timelines of all soundscapes, and seconds of sound per second of work."""
    lines, seconds = {}, 0.0
    for fold, soundscapes in sets.items():
        tagger = audiomamba.load(runs / f"fold-{fold}")
        tagger.timeline(soundscapes[0].file, framing)
        began = time.perf_counter()
        lines[fold] = [tagger.timeline(one.file, framing) for one in soundscapes]
        seconds += time.perf_counter() - began
    return lines, SECONDS * sum(map(len, lines.values())) / seconds


def smooth(lines: list[Timeline], rule: EventRule) -> list[np.ndarray]:
    """The scores as the events are made of them."""
    width = 2 * (round(rule.median_s / STEP_S) // 2) + 1
    return [median_filter(one.scores.numpy(), (width, 1), mode="nearest") for one in lines]


def means(found: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: round(float(np.mean([one[name] for one in found])), 3) for name in found[0]}


def measure(runs: Path, sets: Mapping[int, list[Soundscape]], framing: Framing) -> dict[str, Any]:
    """Judge each fold with the settings that are best on the others, and with the defaults."""
    lines, speed = read_all(runs, sets, framing)
    labels = next(iter(lines.values()))[0].labels
    rules = [
        EventRule(**dict(zip(GRID, values, strict=True)))
        for values in itertools.product(*GRID.values())
    ]
    judged = {
        fold: [
            f_measures([line.events(rule) for line in lines[fold]], soundscapes, labels)
            for rule in rules
        ]
        for fold, soundscapes in sets.items()
    }
    totals = {
        fold: np.array([one["event F1"] + one["segment F1"] for one in of_fold])
        for fold, of_fold in judged.items()
    }
    best = {
        fold: int(sum(totals[other] for other in sets if other != fold).argmax()) for fold in sets
    }
    tuned = [judged[fold][place] for fold, place in best.items()]
    overall = rules[int(sum(totals.values()).argmax())]
    defaults = [
        f_measures([line.events() for line in lines[fold]], sets[fold], labels) for fold in sets
    ]
    areas = [psds(smooth(lines[fold], rules[best[fold]]), sets[fold], labels) for fold in sets]
    return {
        "framing": asdict(framing),
        "tuned on the other folds": means(tuned) | means(areas),
        "of each fold": [one | area for one, area in zip(tuned, areas, strict=True)],
        "default settings": means(defaults),
        "best settings on all folds": {name: getattr(overall, name) for name in GRID},
        "seconds of sound per second": round(speed, 1),
    }


def measure_all(runs: Path, corpus: Path) -> dict[str, Any]:
    with TemporaryDirectory() as name:
        sets = {fold: make(Path(name) / f"{fold}", corpus, fold) for fold in FOLDS}
        modes = {mode: measure(runs, sets, Framing(mode=mode)) for mode in ("windows", "native")}
    return {
        "command": "python benchmarks/soundscapes.py measure",
        "soundscapes": {
            "number": N_SOUNDSCAPES * len(FOLDS),
            "seconds": SECONDS,
            "events": sum(len(one.events) for made in sets.values() for one in made),
            "SNR in dB": SNR_DB,
            "background": "pink noise whose level changes slowly",
        },
        "collar of onsets in s": COLLAR_S,
        "segments in s": SEGMENT_S,
        "PSDS: detection criterion, cross-trigger criterion, weight of cross triggers": PSDS,
        "default settings": asdict(EventRule()),
        "modes": modes,
        **describe("cpu"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    mix = commands.add_parser("make", help="write soundscapes and reference.csv")
    mix.add_argument("--out", type=Path, required=True)
    test = commands.add_parser("measure", help="find events in soundscapes, and judge them")
    test.add_argument("--runs", type=Path, required=True, help="folder of a cross-validation")
    test.add_argument("--out", type=Path)
    mix.add_argument("--fold", type=int, default=5)
    for command in (mix, test):
        command.add_argument("--data", type=Path, required=True, help="ESC-10")
    args = parser.parse_args()
    if args.command == "make":
        make(args.out, args.data, args.fold)
        return
    text = json.dumps(measure_all(args.runs, args.data), indent=2) + "\n"
    print(text, end="")
    if args.out:
        args.out.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
