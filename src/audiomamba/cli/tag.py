"""`audiomamba tag`."""

import sys
import time
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from audiomamba import __version__
from audiomamba.cli.options import (
    DEFAULT_MODEL,
    AllLabels,
    Device,
    Hop,
    LabelFile,
    Level,
    Model,
    Threads,
    Window,
    load_tagger,
)
from audiomamba.cli.recordings import FoundFiles, find_files, inputs_of
from audiomamba.cli.tag_live import Events, Raw, tag_standard_input
from audiomamba.errors import ConfigError
from audiomamba.infer.formats.format import choose_by_name, suffixes_of
from audiomamba.infer.formats.pictures import PICTURE_FORMATS
from audiomamba.infer.formats.tags import TAG_TABLES, TAG_TEXTS, TagLayout
from audiomamba.infer.formats.text import length_text
from audiomamba.outputs import claimed, refuse_inputs
from audiomamba.terminal import print_error, progress_bar

if TYPE_CHECKING:
    from audiomamba.infer import Failed, Tagged, Tagger
    from audiomamba.infer.formats.tags import TagText
    from audiomamba.infer.reading import TagOptions

__all__ = ["EXAMPLES", "tag"]

DEFAULT_TOP = 3
STDIN = "-"
EXAMPLES = (
    "Examples:\n\n`audiomamba tag dog.ogg`\n\n"
    "`audiomamba tag archive/ --out tags.parquet`\n\n"
    "`arecord -f S16_LE -r 16000 -t raw | audiomamba tag - --raw 16000`"
)


Recordings = Annotated[
    list[str],
    typer.Argument(
        metavar="FILE|DIR|-...",
        show_default=False,
        help="Recordings, and folders that are searched for recordings to any depth; or - for "
        "sound from standard input, wav or raw (a file of that name is ./-).",
    ),
]
Top = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        show_default=f"{DEFAULT_TOP}, or all with --threshold, or 1 of -",
        help="Show at most this many tags per recording.",
    ),
]
Threshold = Annotated[
    float, typer.Option(min=0, max=1, metavar="SCORE", help="Show tags that score at least this.")
]
PrintedAs = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="|".join(one.name for one in TAG_TEXTS),
        show_default="table",
        help="How tags are printed: for reading; as JSON lines, an object per recording; as CSV "
        "with a row per tag.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="The same as --format json.")]
Csv = Annotated[bool, typer.Option("--csv", help="The same as --format csv-rows.")]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        metavar="FILE",
        help=f"Write a table with a row per recording, {suffixes_of(TAG_TABLES)}, also for those "
        "that fail. A call that was cut off, even killed, goes on when it is made again.",
    ),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace the table of another call, or a picture.")
]
ReadAs = Annotated[
    str,
    typer.Option(
        metavar="windows|native",
        help="Read recordings in windows, or each in one pass, where the model can.",
    ),
]
Picture = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help=f"Also draw spectrograms with their tags: {suffixes_of(PICTURE_FORMATS)}.",
    ),
]


def tag(
    recordings: Recordings,
    model: Model = DEFAULT_MODEL,
    top: Top = None,
    threshold: Threshold = 0.0,
    window: Window = None,
    hop: Hop = None,
    mode: ReadAs = "windows",
    printed_as: PrintedAs = None,
    as_json: Json = False,
    as_csv: Csv = False,
    out: Out = None,
    overwrite: Overwrite = False,
    picture: Picture = None,
    raw: Raw = None,
    events: Events = False,
    labels: LabelFile = None,
    level: Level = None,
    all_labels: AllLabels = False,
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Say what is heard in recordings.

    Every tag has a score from 0 to 1. A recording longer than the model's input is tagged window by
    window, and the scores are averaged. One that cannot be read is named on stderr; the others are
    done. A model that `finetune` made knows from which score on each class is heard: a * after the
    score, "heard" in JSON.

    Of sound from standard input every window, one a second, is shown as soon as it is heard.
    """
    text_format = _text_format(printed_as, as_json=as_json, as_csv=as_csv)
    if live := STDIN in recordings:
        _check_live(recordings, raw, others=[out, picture, mode != "windows"], text=text_format)
    else:
        _check_output(out, picture, overwrite=overwrite, text=text_format, lives=[raw, events])
    chosen = choose_by_name(TAG_TEXTS, text_format or "table")
    from audiomamba import checkpoints
    from audiomamba.infer.reading import TagOptions, as_mode

    top, mode = _top(top, threshold, live=live), as_mode(mode)
    options = TagOptions(top=top, threshold=threshold, window_s=window, hop_s=hop, mode=mode)
    folder = checkpoints.find(model)
    tagger = load_tagger(
        folder, device, threads, label_file=labels, level=level, all_labels=all_labels
    )
    tagger.check(options)
    if live:
        tag_standard_input(tagger, options, raw, events=events, as_json=text_format == "json")
        return
    if out is None:
        files, n_failed = find_files(map(Path, recordings))
        inputs = inputs_of(files, folder, labels)
        with claimed([picture] if picture else [], inputs, overwrite=overwrite):
            n_failed += _print(tagger, files, options, chosen, picture)
    else:
        refuse_inputs([out], inputs_of([], folder, labels))
        n_failed = _write(tagger, recordings, options, out, folder=folder, overwrite=overwrite)
    if n_failed:
        raise typer.Exit(1)


def _top(asked: int | None, threshold: float, *, live: bool) -> int | None:
    """How many tags are shown at most: what was asked for, or what suits the rest of the call."""
    if asked is not None or threshold:
        return asked
    return 1 if live else DEFAULT_TOP


def _text_format(printed_as: str | None, *, as_json: bool, as_csv: bool) -> str | None:
    """The format of standard output that was asked for, in one way at most."""
    asked = {"--format": printed_as, "--json": as_json and "json", "--csv": as_csv and "csv-rows"}
    return _only_one(asked)


def _only_one(asked: Mapping[str, str | Literal[False] | None]) -> str | None:
    """The format that was asked for by one of these options; None if by none."""
    given = {option: name for option, name in asked.items() if name}
    if len(given) > 1:
        raise ConfigError(f"{' and '.join(given)} were both given; expected one of them")
    return next(iter(given.values()), None)


def _check_live(
    recordings: Sequence[str], raw: str | None, others: Sequence[object], text: str | None
) -> None:
    """Refuse what does not go with standard input."""
    from audiomamba.audio.pipe import RawSound

    if len(recordings) > 1 or any(others) or text not in (None, "table", "json"):
        raise ConfigError(
            "- stands alone, with no recordings, --out, --picture or --mode, and no format but "
            "table and json"
        )
    if raw is not None:
        RawSound.parse(raw)


def _check_output(
    out: Path | None,
    picture: Path | None,
    *,
    overwrite: bool,
    text: str | None,
    lives: Sequence[object],
) -> None:
    """Refuse options that exclude each other."""
    if out is not None and (text or picture):
        raise ConfigError(
            "--out takes its format from the name; expected it without --format, --json, --csv and "
            "--picture"
        )
    if overwrite and not (out or picture):
        raise ConfigError("--overwrite was given without --out; expected both")
    if any(lives):
        raise ConfigError("--raw and --events are for standard input; expected - as the recording")


def _print(
    tagger: "Tagger",
    files: list[Path],
    options: "TagOptions",
    chosen: "type[TagText]",
    picture: Path | None,
) -> int:
    """Write the tags to stdout, and draw them if asked for; returns how many files failed."""
    from audiomamba.infer import Tagged
    from audiomamba.infer.batch import tag_in_order
    from audiomamba.infer.tag_picture import check_tag_picture, draw_tags

    if picture is not None:
        check_tag_picture(picture, len(files))
    n_labels = len(tagger.labels)
    writer = chosen(
        TagLayout(
            files=list(map(str, files)),
            labels=tagger.labels,
            n_tags=min(options.top or n_labels, n_labels),
            heard=bool(tagger.thresholds),
        )
    )
    count = Count()
    drawn: list[Tagged] = []
    is_first = True
    with progress_bar("tagging", len(files), count.speed) as advance:
        for result in tag_in_order(tagger, files, options):
            if isinstance(result, Tagged):
                sys.stdout.write(writer.header() if is_first else "")
                sys.stdout.write(writer.lines(result.to_dict()))
                sys.stdout.flush()
                is_first = False
                drawn += [result] if picture is not None else []
            count.take(result)
            advance()
    count.tell_notes()
    if picture is not None and drawn:
        draw_tags(drawn, tagger, picture)
    return count.n_failed


def _write(
    tagger: "Tagger",
    recordings: list[str],
    options: "TagOptions",
    out: Path,
    *,
    folder: Path,
    overwrite: bool,
) -> int:
    """Write a table of tags; returns how many files failed."""
    from audiomamba import checkpoints
    from audiomamba.infer.tag_table import TaggedTable

    found = FoundFiles(map(Path, recordings), keep_missing=True)
    files = iter(found)
    first = next(files, None)
    if first is None:
        return found.n_failed
    about = {"audiomamba": __version__, "model_sha256": checkpoints.fingerprint(folder)}
    every = chain([first], files)
    table = TaggedTable(tagger, every, out, options, about=about, overwrite=overwrite)
    if table.n_failed is not None:
        typer.echo(f"audiomamba: {out} is complete already; --overwrite tags anew", err=True)
        return found.n_failed + table.n_failed
    count, n_todo = Count(), table.n_todo
    try:
        with progress_bar("tagging", n_todo, count.speed) as advance:
            for result in table.results():
                count.take(result)
                advance()
    except KeyboardInterrupt:
        left = n_todo - count.n_files
        typer.echo(f"audiomamba: {left} recordings are left; the same call goes on", err=True)
        raise
    count.tell_notes()
    typer.echo(f"audiomamba: {count.summary()}", err=True)
    return found.n_failed + (table.n_failed or 0)


class Count:
    """What was done so far, and how fast."""

    def __init__(self) -> None:
        self.n_files = self.n_failed = self._n_notes = 0
        self._sound_s = 0.0
        self._began_s = time.perf_counter()

    def take(self, result: "Tagged | Failed") -> None:
        """Count a result; one that failed is named on stderr."""
        from audiomamba.infer import Failed

        self.n_files += 1
        wrong = result.error if isinstance(result, Failed) else result.damage
        if wrong is not None:
            print_error(wrong)
            self.n_failed += 1
        if not isinstance(result, Failed):
            self._sound_s += result.seconds
            self._n_notes += bool(result.note)

    def speed(self) -> str:
        """Say how many files are done in a second, and the share of the sound's time it takes."""
        took_s = time.perf_counter() - self._began_s
        factor = f", real-time factor {took_s / self._sound_s:.2g}" if self._sound_s else ""
        return f"{self.n_files / took_s:.3g} files/s{factor}"

    def summary(self) -> str:
        """Say in a line what was done."""
        took_s = time.perf_counter() - self._began_s
        failed = f", {self.n_failed} failed" if self.n_failed else ""
        return (
            f"{self.n_files} recordings{failed}, {length_text(self._sound_s)} of sound, "
            f"in {length_text(took_s)}: {self.speed()}"
        )

    def tell_notes(self) -> None:
        """Say on stderr how many results rest on little sound."""
        if self._n_notes:
            which = "1 recording is" if self._n_notes == 1 else f"{self._n_notes} recordings are"
            typer.echo(
                f"audiomamba: note: {which} shorter than half of a window, so the scores rest on "
                "little sound",
                err=True,
            )
