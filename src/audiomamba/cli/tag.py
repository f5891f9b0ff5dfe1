"""`audiomamba tag`."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audiomamba.cli.options import Model, Threads
from audiomamba.errors import AudioError, ConfigError
from audiomamba.terminal import complain, output, progress_bar

if TYPE_CHECKING:
    from audiomamba.infer import Tagger
    from audiomamba.infer.write import Writer

__all__ = ["EXAMPLES", "tag"]

DEFAULT_TOP = 3
EXAMPLES = (
    "Examples:\n\n`audiomamba tag dog.ogg`\n\n"
    "`audiomamba tag archive/ --threshold 0.5 --csv --out tags.csv`"
)


def tag(
    recordings: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE|DIR...",
            show_default=False,
            help="Recordings, and folders that are searched for recordings to any depth.",
        ),
    ],
    model: Model = "starter",
    top: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            show_default=f"{DEFAULT_TOP}, or all with --threshold",
            help="Show at most this many tags per recording.",
        ),
    ] = None,
    threshold: Annotated[
        float,
        typer.Option(min=0, max=1, metavar="SCORE", help="Show tags that score at least this."),
    ] = 0.0,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="JSON lines: an object per recording: file, seconds, tags."),
    ] = False,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="CSV: a row per tag: file, seconds, label, score.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="Write the tags there, not to stdout."),
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Also draw spectrograms with their tags: .png, .svg or .pdf.",
        ),
    ] = None,
    threads: Threads = None,
) -> None:
    """Say what is heard in recordings.

    Every tag has a score from 0 to 1. A recording that is longer than the model's input is tagged
    piece by piece, and the scores are averaged. A recording that cannot be read is named on
    stderr; the others are done.
    """
    if as_json and as_csv:
        raise ConfigError("--json and --csv were both given; expected one of them")
    import torch

    from audiomamba import infer
    from audiomamba.infer.picture import check, draw

    if threads is not None:
        torch.set_num_threads(threads)
    tagger = infer.load(model)
    files, n_failed = _find(recordings)
    if picture is not None:
        check(picture, len(files))
    if top is None and not threshold:
        top = DEFAULT_TOP
    writer = _writer(files, tagger, as_json=as_json, as_csv=as_csv)
    tagged: list[infer.Tagged] = []
    with output(out) as stream, progress_bar("tagging", len(files)) as advance:
        for result in infer.tag_files(tagger, files, top=top, threshold=threshold):
            if isinstance(result, infer.Failed):
                complain(result.error)
                n_failed += 1
            else:
                stream.write("" if tagged else writer.header())
                stream.write(writer.write(result))
                stream.flush()
                tagged.append(result)
            advance()
    if picture is not None and tagged:
        draw(tagged, tagger, picture)
    if n_failed:
        raise typer.Exit(1)


def _find(recordings: Iterable[Path]) -> tuple[list[Path], int]:
    """The files to tag, and how many arguments led to none."""
    from audiomamba import audio

    files: list[Path] = []
    n_failed = 0
    for path in recordings:
        try:
            files += audio.find([path])
        except AudioError as error:
            complain(error)
            n_failed += 1
    return files, n_failed


def _writer(files: list[Path], tagger: "Tagger", *, as_json: bool, as_csv: bool) -> "Writer":
    """What turns tags into text."""
    from audiomamba.infer import write

    if as_json:
        return write.JsonWriter()
    if as_csv:
        return write.CsvWriter()
    return write.TableWriter([str(file) for file in files], tagger.labels)
