"""`audiomamba tag -`: sound from standard input."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from audiomamba.infer.formats.text import json_line
from audiomamba.terminal import Interruptible

if TYPE_CHECKING:
    from audiomamba.infer import Event, SoundModel
    from audiomamba.infer.reading import TagOptions
    from audiomamba.infer.results import TaggedWindow

__all__ = ["Events", "Raw", "tag_standard_input"]

INTERRUPTED = 130
Raw = Annotated[
    str | None,
    typer.Option(
        metavar="RATE[:TYPE[:CHANNELS]]",
        show_default="wav",
        help="Standard input has no header: samples per second, u8, s16, s24, s32, f32 or f64 "
        "(lowest byte first), channels; 16000 is 16000:s16:1.",
    ),
]


Events = Annotated[
    bool,
    typer.Option(
        "--events",
        help="Of standard input: show events, each when it is over, which is certain about a "
        "window later; they begin at --threshold, or at the model's own.",
    ),
]


def tag_standard_input(
    sound_model: "SoundModel",
    options: "TagOptions",
    raw: str | None,
    *,
    events: bool,
    as_json: bool,
) -> None:
    """Tag sound from standard input until it ends, or until Ctrl-C.

    Args:
        sound_model: the model.
        options: the windows, and which tags are shown.
        raw: what the samples are, where they come without a header.
        events: whether to show events, not windows.
        as_json: whether to write JSON lines.
    """
    from audiomamba.audio.pipe import RawSound, read_pipe
    from audiomamba.infer.live import find_events_live, live_rule, tag_live

    sound = None if raw is None else RawSound.parse(raw)
    stdin = typer.get_binary_stream("stdin")
    found: Iterator[Event | TaggedWindow]
    with Interruptible(read_pipe(stdin, sound_model.front_end.sample_rate, sound)) as blocks:
        if events:
            found = find_events_live(
                sound_model, blocks, options, live_rule(sound_model, options.threshold)
            )
        else:
            found = tag_live(sound_model, blocks, options)
        for one in found:
            typer.echo(json_line(one.to_dict()) if as_json else _table_lines(one), nl=False)
    if blocks.interrupted:
        raise typer.Exit(INTERRUPTED)


def _table_lines(found: "Event | TaggedWindow") -> str:
    """A line per tag: start and end in seconds, the score, the label."""
    row = found.to_dict()
    times = f"{row['start_s']:10.2f} {row['end_s']:10.2f}"
    tags = row.get("tags", [row])  # an event has its own label and score
    return "".join(f"{times}  {tag['score']:.2f}  {tag['label']}\n" for tag in tags)
