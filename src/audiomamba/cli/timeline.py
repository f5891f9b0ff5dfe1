"""`audiomamba timeline`."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

from audiomamba.cli.options import (
    DEFAULT_MODEL,
    AllLabels,
    Device,
    LabelFile,
    Level,
    Model,
    Threads,
    load_tagger,
)
from audiomamba.cli.recordings import Overwrite, Recordings, find_files, inputs_of
from audiomamba.errors import ConfigError
from audiomamba.infer.formats.events import EVENT_FORMATS, EventText, choose_event_format
from audiomamba.infer.formats.format import suffixes_of
from audiomamba.infer.formats.pictures import PICTURE_FORMATS
from audiomamba.outputs import claimed, writing
from audiomamba.terminal import print_error, progress_bar

if TYPE_CHECKING:
    from audiomamba.infer import Failed, RecordingEvents, Tagger
    from audiomamba.infer.event_picture import Pictured
    from audiomamba.infer.events import PerClass

__all__ = ["EXAMPLES", "timeline"]

DEFAULT_THRESHOLD = 0.3

EXAMPLES = (
    "Examples:\n\n`audiomamba timeline garden.flac --picture garden.png`\n\n"
    "`audiomamba timeline night.wav --threshold 0.4 --threshold dog=0.7 --out night.txt`"
)

Threshold = Annotated[
    list[str] | None,
    typer.Option(
        metavar="SCORE|LABEL=SCORE",
        show_default=f"the model's own, or {DEFAULT_THRESHOLD}",
        help="An event begins at this score. May be given several times, for single classes.",
    ),
]
Stay = Annotated[
    float,
    typer.Option(metavar="SHARE", help="An event goes on at this share of the threshold."),
]
Median = Annotated[
    list[str] | None,
    typer.Option(
        metavar="S|LABEL=S",
        show_default="0.9",
        help="Smooth scores over this many seconds. May be given several times.",
    ),
]
Shortest = Annotated[float, typer.Option(metavar="S", help="Drop events shorter than this.")]
Gap = Annotated[
    float, typer.Option(metavar="S", help="Join events of a class at most this far apart.")
]
Step = Annotated[float, typer.Option(metavar="S", help="Seconds between scores.")]
ReadAs = Annotated[
    str,
    typer.Option(
        metavar="windows|native",
        help="Read overlapping windows, or all in one pass, where the model can.",
    ),
]
Window = Annotated[
    float | None,
    typer.Option(metavar="S", show_default="the model's", help="Seconds in a window."),
]
Hop = Annotated[
    float | None,
    typer.Option(
        metavar="S",
        show_default="half a window, or a tenth where the model scores windows only",
        help="Seconds from one window's start to the next's.",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        metavar="FILE",
        help="Write the events there when all are found; the suffix says how: "
        f"{suffixes_of(EVENT_FORMATS)} (.txt for Audacity).",
    ),
]
WrittenAs = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="|".join(one.name for one in EVENT_FORMATS),
        show_default="by the suffix of --out, else table",
        help="How events are written.",
    ),
]
Picture = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Also draw the spectrogram of one recording, with a lane of events for each "
        f"class: {suffixes_of(PICTURE_FORMATS)}.",
    ),
]


def timeline(
    recordings: Recordings,
    model: Model = DEFAULT_MODEL,
    threshold: Threshold = None,
    stay: Stay = 0.7,
    median: Median = None,
    shortest: Shortest = 0.2,
    gap: Gap = 0.2,
    step: Step = 0.1,
    mode: ReadAs = "windows",
    window: Window = None,
    hop: Hop = None,
    out: Out = None,
    written_as: WrittenAs = None,
    picture: Picture = None,
    overwrite: Overwrite = False,
    labels: LabelFile = None,
    level: Level = None,
    all_labels: AllLabels = False,
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Say what is heard in recordings from when to when.

    Recordings may be of any length. An event's score, from 0 to 1, is the highest that its class
    reaches in it. A recording that cannot be read is named on stderr; the others are done.
    """
    from audiomamba import checkpoints, infer
    from audiomamba.infer.event_picture import Pictured
    from audiomamba.infer.reading import as_mode

    chosen = choose_event_format(out, written_as)
    folder = checkpoints.find(model)
    tagger = load_tagger(
        folder, device, threads, label_file=labels, level=level, all_labels=all_labels
    )
    rule = infer.EventRule(
        threshold=_thresholds(threshold or [], tagger),
        stay=stay,
        median_s=_per_class("--median", median or ["0.9"], tagger.labels),
        shortest_s=shortest,
        gap_s=gap,
    )
    framing = infer.Framing(step_s=step, mode=as_mode(mode), window_s=window, hop_s=hop)
    files, n_failed = find_files(recordings)
    pictured = Pictured(picture, len(files), tagger.front_end)
    writer = chosen(list(map(str, files)), tagger.labels)
    results = infer.find_events_in_files(tagger, files, framing, rule, listener=pictured.listen)
    outputs = [path for path in (out, picture) if path is not None]
    with (
        claimed(outputs, inputs_of(files, folder, labels), overwrite=overwrite),
        progress_bar("listening", len(files)) as advance,
    ):
        n_failed += _write(results, writer, out, pictured, advance)
    if n_failed:
        raise typer.Exit(1)


def _thresholds(given: Sequence[str], tagger: "Tagger") -> "PerClass":
    """The thresholds that were given; of the classes without one those of the model."""
    if not (given or tagger.thresholds):
        return DEFAULT_THRESHOLD
    chosen = _per_class("--threshold", given, tagger.labels)
    return {**tagger.thresholds, **chosen} if isinstance(chosen, dict) else chosen


def _write(
    results: Iterable["RecordingEvents | Failed"],
    writer: EventText,
    out: Path | None,
    pictured: "Pictured",
    advance: Callable[[], None],
) -> int:
    """Write events as they are found; returns how many files failed."""
    from audiomamba.infer import Failed

    n_failed = 0
    stream: IO[str] | None = None
    with ExitStack() as stack:
        for result in results:
            wrong = result.error if isinstance(result, Failed) else result.damage
            if wrong is not None:
                print_error(wrong)
                n_failed += 1
            if not isinstance(result, Failed):
                if stream is None:  # nothing is opened before there is something to write
                    stream = stack.enter_context(_stream(out))
                    stream.write(writer.header())
                stream.write(writer.lines(result.to_dict()))
                stream.flush()
                pictured.draw(result)
            advance()
    return n_failed


@contextmanager
def _stream(out: Path | None) -> Iterator[IO[str]]:
    """What events are written to: stdout, or a file that is there when the block ends."""
    if out is None:
        yield sys.stdout
        return
    from audiomamba.atomic import replacing

    with (
        writing(out),
        replacing(out) as part,
        part.open("w", encoding="utf-8", errors="backslashreplace") as stream,
    ):
        yield stream


def _per_class(option: str, given: Sequence[str], labels: Sequence[str]) -> "PerClass":
    """A number for all classes, or numbers by label, from NUMBER and LABEL=NUMBER."""
    numbers: dict[str, float] = {}
    for one in given:
        label, _, number = one.rpartition("=")
        try:
            numbers[label] = float(number)
        except ValueError:
            raise ConfigError(
                f"{option} {one!r} is not understood; expected a number or LABEL=NUMBER"
            ) from None
    if "" not in numbers:
        return numbers
    for_all = numbers.pop("")
    return dict.fromkeys(labels, for_all) | numbers if numbers else for_all
