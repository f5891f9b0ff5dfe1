"""`audiomamba tag -`: sound from standard input."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from audiomamba.terminal import Interruptible

if TYPE_CHECKING:
    from audiomamba.infer import Tag, Tagger
    from audiomamba.infer.events import Event
    from audiomamba.infer.files import Choice
    from audiomamba.infer.live import Moment

__all__ = ["Events", "Raw", "tag_live"]

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
        "window later; they begin at the threshold.",
    ),
]


def tag_live(
    tagger: "Tagger", choice: "Choice", raw: str | None, *, events: bool, as_json: bool
) -> None:
    """Tag sound from standard input until it ends, or until Ctrl-C.

    Args:
        tagger: the model.
        choice: how windows are cut, and which tags are shown.
        raw: what the samples are, where they come without a header.
        events: whether to show events, not windows.
        as_json: whether to write JSON lines.
    """
    from audiomamba.audio.pipe import RawSound, read_pipe
    from audiomamba.infer.events import Event, EventRule
    from audiomamba.infer.live import hear, listen

    sound = None if raw is None else RawSound.parse(raw)
    stdin = typer.get_binary_stream("stdin")
    rule = EventRule(threshold=choice.threshold) if choice.threshold else EventRule()
    with Interruptible(read_pipe(stdin, tagger.front_end.sample_rate, sound)) as blocks:
        heard = hear(tagger, blocks, choice, rule) if events else listen(tagger, blocks, choice)
        for one in heard:
            tags = [one] if isinstance(one, Event) else one.tags
            typer.echo(_json(one, tags) if as_json else _table(one, tags), nl=False)
    if blocks.interrupted:
        raise typer.Exit(INTERRUPTED)


def _table(heard: "Event | Moment", tags: Sequence["Event | Tag"]) -> str:
    """A line per tag: start and end in seconds, the score, the label."""
    times = f"{heard.start_s:10.2f} {heard.end_s:10.2f}"
    return "".join(f"{times}  {tag.score:.2f}  {tag.label}\n" for tag in tags)


def _json(heard: "Event | Moment", tags: Sequence["Event | Tag"]) -> str:
    """A line per window or event."""
    scores = [{"label": tag.label, "score": round(tag.score, 4)} for tag in tags]
    row = {"start": round(heard.start_s, 3), "end": round(heard.end_s, 3), "tags": scores}
    return json.dumps(row, ensure_ascii=False) + "\n"
