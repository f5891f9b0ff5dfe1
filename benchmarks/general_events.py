"""Does the timeline of a tagger of everyday sound say what is heard, and nothing else?

The soundscapes are those of soundscapes.py, made of ESC-10, which the tagger was not trained on:
100 of a minute, over pink noise; and the same sounds again with silence between them. A kind of
ESC-10 is heard where a label is that esc50_to_audioset.csv gives it. An event is right if its label
is one of these, or above or below one in the ontology, for a sound that is there; a sound is found
if a right event overlaps it. The window and the lowest threshold of events are chosen on two folds
and judged on the other three. It needs the packages sed_eval and sed_scores_eval.

    python benchmarks/general_events.py --model general --data ESC-10 \
        --out benchmarks/results/general/events.json
"""

import argparse
import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import soundfile
import torch
from background import RATE_HZ
from soundscapes import FOLDS, Soundscape, f_measures, make, means, psds, smooth

import audiomamba
from audiomamba import audio, checkpoints
from audiomamba.bench.machine import describe
from audiomamba.infer import Event, EventRule, Framing, Tagger, Timeline

MAP = Path(__file__).with_name("esc50_to_audioset.csv")
CHOSEN_ON, JUDGED_ON = (1, 2), (3, 4, 5)
WINDOWS_S = (10.0, 4.0, 2.0, 1.0)
FLOORS = (0.0, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4)
MEDIANS_S = (0.3, 0.9)
SLACK_S = 0.5  # of the edges of a sound
FADE_S = 0.02

Sets = Mapping[int, list[Soundscape]]


class Kinds(NamedTuple):
    """What labels say of the kinds of ESC-10.

    Args:
        named: for each kind the labels that mean it.
        related: for each kind these, and those above and below them.
    """

    named: dict[str, set[str]]
    related: dict[str, set[str]]


def read_kinds(model: str, labels: Sequence[str], kinds: set[str]) -> Kinds:
    """The labels of kinds, among those that are shown."""
    parents = checkpoints.load(checkpoints.find(model)).parents or {}

    def above(label: str) -> set[str]:
        own = set(parents.get(label, ()))
        return own.union(*map(above, own))

    named: dict[str, set[str]] = {kind: set() for kind in sorted(kinds)}
    for row in csv.DictReader(MAP.read_text("utf-8").splitlines()):
        if row["category"] in kinds:
            named[row["category"]].add(row["label"])
    related = {}
    for kind, of in named.items():
        higher = of.union(*map(above, of))
        related[kind] = {label for label in labels if label in higher or above(label) & of}
    return Kinds({kind: of & set(labels) for kind, of in named.items()}, related)


def in_silence(folder: Path, made: Sequence[Soundscape]) -> list[Soundscape]:
    """The same soundscapes, silent wherever no sound is."""
    quiet = []
    for one in made:
        samples = audio.load(one.file, sample_rate=RATE_HZ).numpy()
        gain, n_fade = np.zeros_like(samples), int(FADE_S * RATE_HZ)
        for start_s, end_s, _ in one.events:
            gain[round(start_s * RATE_HZ) : round(end_s * RATE_HZ)] = 1
        gain = np.convolve(gain, np.ones(n_fade) / n_fade, mode="same")
        file = folder / f"quiet-{one.file.name}"
        soundfile.write(file, samples * gain, RATE_HZ, subtype="PCM_16")
        quiet.append(Soundscape(file, one.events))
    return quiet


def judge(
    found: Sequence[Sequence[Event]], soundscapes: Sequence[Soundscape], kinds: Kinds
) -> dict[str, float]:
    """How many events are right, and how many sounds are found."""
    n_right = n_events = n_found = n_sounds = 0
    for events, one in zip(found, soundscapes, strict=True):
        heard = np.zeros(len(one.events), dtype=bool)
        for event in events:
            tells_of = [
                event.label in kinds.related[kind]
                and event.start_s < end_s + SLACK_S
                and event.end_s > start_s - SLACK_S
                for start_s, end_s, kind in one.events
            ]
            heard |= np.array(tells_of)
            n_right += any(tells_of)
        n_events += len(events)
        n_found += int(heard.sum())
        n_sounds += len(one.events)
    right, complete = n_right / max(1, n_events), n_found / n_sounds
    return {
        "events that are right": round(right, 3),
        "sounds that are found": round(complete, 3),
        "harmonic mean": round(2 * right * complete / max(1e-9, right + complete), 3),
        "wrong events a minute": round((n_events - n_right) / len(soundscapes), 2),
    }


def rule_of(tagger: Tagger, floor: float, median_s: float) -> EventRule:
    """A tagger's own thresholds, none below a floor."""
    thresholds = {label: max(floor, own) for label, own in tagger.thresholds.items()}
    return EventRule(threshold=thresholds, median_s=median_s)


def of_kinds(lines: Sequence[Timeline], kinds: Kinds) -> list[Timeline]:
    """Timelines of kinds: the highest score of the labels that name them."""
    return [
        replace(
            line,
            labels=tuple(kinds.named),
            scores=torch.stack(
                [
                    line.scores[:, [line.labels.index(label) for label in of]].amax(1)
                    if of
                    else torch.zeros(len(line.scores))
                    for of in kinds.named.values()
                ],
                1,
            ),
        )
        for line in lines
    ]


def kind_events(events: Sequence[Event], kinds: Kinds) -> list[Event]:
    """Events of labels as those of kinds; what overlaps is one."""
    found: list[Event] = []
    for kind, of in kinds.named.items():
        last: Event | None = None
        for event in sorted((e for e in events if e.label in of), key=lambda e: e.start_s):
            if last is not None and event.start_s <= last.end_s:
                last = replace(last, end_s=max(last.end_s, event.end_s))
                found[-1] = last
            else:
                last = replace(event, label=kind)
                found.append(last)
    return found


def as_in_soundscapes(
    lines: Sequence[Timeline], made: list[Soundscape], kinds: Kinds, rule: EventRule
) -> dict[str, float]:
    """The figures of soundscapes.py for the kinds."""
    events = [kind_events(line.events(rule), kinds) for line in lines]
    names = tuple(kinds.named)
    areas = psds(smooth(of_kinds(lines, kinds), rule), made, names)
    return f_measures(events, made, names) | areas


def measure(tagger: Tagger, sets: Sets, kinds: Kinds) -> dict[str, Any]:
    """Choose a window, a floor and a median on two folds, and judge them on the others."""
    lines = {
        window_s: {
            fold: [tagger.timeline(one.file, Framing(window_s=window_s)) for one in made]
            for fold, made in sets.items()
        }
        for window_s in WINDOWS_S
    }

    def figures(folds: Sequence[int], window_s: float, rule: EventRule) -> dict[str, float]:
        found = [line.events(rule) for fold in folds for line in lines[window_s][fold]]
        return judge(found, [one for fold in folds for one in sets[fold]], kinds)

    settings = [(w, f, m) for w in WINDOWS_S for f in FLOORS for m in MEDIANS_S]
    tried = [(figures(CHOSEN_ON, w, rule_of(tagger, f, m)), (w, f, m)) for w, f, m in settings]
    best = max(tried, key=lambda one: one[0]["harmonic mean"])[1]
    judged = {}
    for name, (window_s, floor, median_s) in (
        ("own thresholds, windows of 10 s", (10.0, 0.0, 0.9)),
        ("own thresholds, windows of 2 s", (2.0, 0.0, 0.9)),
        ("none below 0.2, windows of 10 s", (10.0, 0.2, 0.9)),
        ("none below 0.2, windows of 2 s", (2.0, 0.2, 0.9)),
        ("chosen", best),
    ):
        rule = rule_of(tagger, floor, median_s)
        by_fold = [as_in_soundscapes(lines[window_s][k], sets[k], kinds, rule) for k in JUDGED_ON]
        judged[name] = figures(JUDGED_ON, window_s, rule) | means(by_fold)
    return {
        "chosen on folds 1 and 2": dict(zip(("window_s", "floor", "median_s"), best, strict=True)),
        "judged on folds 3 to 5": judged,
        "tried on folds 1 and 2": [
            dict(zip(("window_s", "floor", "median_s"), setting, strict=True)) | one
            for one, setting in tried
        ],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="general")
    parser.add_argument("--data", type=Path, required=True, help="ESC-10")
    parser.add_argument("--number", type=int, default=20, help="soundscapes of a fold")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    tagger = audiomamba.load(args.model)
    with TemporaryDirectory() as name:
        folder = Path(name)
        noisy = {k: make(folder / f"{k}", args.data, k, n=args.number) for k in FOLDS}
        quiet = {k: in_silence(folder, made) for k, made in noisy.items()}
        sounding = {kind for made in noisy.values() for one in made for _, _, kind in one.events}
        kinds = read_kinds(args.model, tagger.labels, sounding)
        report = {
            "over pink noise": measure(tagger, noisy, kinds),
            "in silence": measure(tagger, quiet, kinds),
        }
    command = f"python benchmarks/general_events.py --data ESC-10 --number {args.number}"
    record = {"command": command, **report, **describe("cpu")}
    args.out.write_text(json.dumps(record, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
