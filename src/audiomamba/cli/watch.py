"""`audiomamba watch`."""

from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audiomamba.cli.options import (
    DEFAULT_MODEL,
    AllLabels,
    Hop,
    LabelFile,
    Level,
    Model,
    Threads,
    Window,
    load_tagger,
)
from audiomamba.errors import ConfigError
from audiomamba.infer.formats.text import json_line
from audiomamba.terminal import print_error

if TYPE_CHECKING:
    from audiomamba.infer import EventRule, Tagger
    from audiomamba.infer.reading import Reading
    from audiomamba.serve.watch.clips import Clips
    from audiomamba.serve.watch.events_file import Row

__all__ = ["EXAMPLES", "watch"]

EXAMPLES = (
    "Examples:\n\n`audiomamba watch recordings/ --events events.jsonl --clips clips/`\n\n"
    "`audiomamba watch --device default --window 2 --events events.jsonl --mqtt home.local`\n\n"
    "`ffmpeg -i rtsp://camera/1 -f s16le -ac 1 -ar 16000 - | audiomamba watch - --raw 16000 "
    "--events events.jsonl`"
)
STDIN = Path("-")
DEFAULT_THRESHOLD = 0.3
Where = Annotated[
    Path | None,
    typer.Argument(
        metavar="[DIR|-]",
        show_default=False,
        help="A folder that recordings come into, at any depth; or - for sound from standard "
        "input, wav or raw.",
    ),
]
Microphone = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="NAME",
        show_default=False,
        help="Listen to this microphone instead: default or hw:1 on Linux, :0 on macOS, "
        "audio=NAME on Windows.",
    ),
]
Events = Annotated[
    Path,
    typer.Option(
        metavar="FILE", help="Append events here, as JSON lines; what is there already stays."
    ),
]
ClipFolder = Annotated[
    Path | None,
    typer.Option("--clips", metavar="DIR", show_default="none", help="Keep the sound of events."),
]
ClipsMb = Annotated[
    float, typer.Option(metavar="MB", help="Delete the oldest clips where all take more.")
]
Mqtt = Annotated[
    str | None,
    typer.Option(metavar="HOST[:PORT]", show_default="none", help="Also publish events by MQTT."),
]
Topic = Annotated[str, typer.Option("--mqtt-topic", metavar="TOPIC", help="Publish them as this.")]
Login = Annotated[
    Path | None,
    typer.Option(
        "--mqtt-login",
        metavar="FILE",
        show_default="none",
        help="A file with USER:PASSWORD for the broker.",
    ),
]
Threshold = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        metavar="SCORE",
        show_default=f"the model's, else {DEFAULT_THRESHOLD}",
        help="An event begins where its score reaches this.",
    ),
]
Raw = Annotated[
    str | None,
    typer.Option(
        metavar="RATE[:TYPE[:CHANNELS]]",
        show_default="wav",
        help="Standard input has no header, as for `audiomamba tag -`.",
    ),
]
Settle = Annotated[
    float,
    typer.Option(min=0, metavar="S", help="A recording is complete when unchanged for so long."),
]
Once = Annotated[
    bool, typer.Option("--once", help="End when all recordings in the folder were heard.")
]
Compute = Annotated[
    str,
    typer.Option("--compute", metavar="cpu|cuda[:N]", help="Where the model computes."),
]


def watch(
    where: Where = None,
    device: Microphone = None,
    events: Events = Path("events.jsonl"),
    clips: ClipFolder = None,
    clips_mb: ClipsMb = 1000.0,
    mqtt: Mqtt = None,
    mqtt_topic: Topic = "audiomamba/events",
    mqtt_login: Login = None,
    model: Model = DEFAULT_MODEL,
    threshold: Threshold = None,
    window: Window = None,
    hop: Hop = None,
    raw: Raw = None,
    settle: Settle = 2.0,
    once: Once = False,
    labels: LabelFile = None,
    level: Level = None,
    all_labels: AllLabels = False,
    compute: Compute = "cpu",
    threads: Threads = None,
) -> None:
    """Watch a folder of recordings or a microphone, and append what is heard to a file.

    Each event is one line of JSON: time, source, label, start_s, end_s, score, and clip where the
    sound is kept. Whatever ends the process, even the power, the same call goes on where it
    stopped: no event is written twice, and of a microphone at most the last second is lost.
    """
    if (where is None) == (device is None):
        raise ConfigError("expected either a folder or -, or a microphone by --device")
    if raw is not None and where != STDIN:
        raise ConfigError("--raw is for standard input; expected - with it")
    from audiomamba import checkpoints, infer
    from audiomamba.infer.reading import Reading
    from audiomamba.outputs import sole_writer

    tagger = load_tagger(
        checkpoints.find(model),
        compute,
        threads,
        label_file=labels,
        level=level,
        all_labels=all_labels,
    )
    rule = infer.EventRule(threshold=threshold or tagger.thresholds or DEFAULT_THRESHOLD)
    reading = Reading(window_s=window, hop_s=hop)
    tagger.check(reading)
    with ExitStack() as stack:
        stack.enter_context(sole_writer(events))
        outputs = _Outputs(
            events=events,
            clips=_clips(clips, clips_mb),
            tell=_teller(stack, mqtt, mqtt_topic, mqtt_login),
        )
        if where is None or where == STDIN:
            _watch_sound(tagger, rule, reading, outputs, device=device, raw=raw)
        else:
            _watch_folder(tagger, rule, reading, outputs, folder=where, settle_s=settle, once=once)


@dataclass(frozen=True)
class _Outputs:
    """Where events go."""

    events: Path
    clips: "Clips | None"
    tell: "Callable[[Row], object]"

    def beside(self, suffix: str) -> Path:
        """What is kept beside the file of events."""
        return self.events.with_name(self.events.name + suffix)


def _watch_folder(
    tagger: "Tagger",
    rule: "EventRule",
    reading: "Reading",
    outputs: _Outputs,
    *,
    folder: Path,
    settle_s: float,
    once: bool,
) -> None:
    """Hear the recordings of a folder."""
    from audiomamba.infer import Framing
    from audiomamba.serve.watch.command import watch_folder
    from audiomamba.serve.watch.events_file import EventsFile
    from audiomamba.serve.watch.folder import FolderWatch, Heard

    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder; expected one that recordings come into")
    with closing(EventsFile(outputs.events)) as lines:
        watched = FolderWatch(
            folder,
            tagger,
            Framing(window_s=reading.window_s, hop_s=reading.hop_s),
            rule,
            lines,
            Heard(outputs.beside(".heard.json")),
            outputs.clips,
            outputs.tell,
            print_error,
            settle_s,
        )
        _say(f"watching {folder}")
        watch_folder(watched, once=once)


def _watch_sound(
    tagger: "Tagger",
    rule: "EventRule",
    reading: "Reading",
    outputs: _Outputs,
    *,
    device: str | None,
    raw: str | None,
) -> None:
    """Hear a microphone or standard input."""
    from audiomamba.audio.pipe import RawSound, read_pipe
    from audiomamba.serve.watch.command import watch_sound
    from audiomamba.serve.watch.events_file import EventsFile
    from audiomamba.serve.watch.listening import Listener
    from audiomamba.serve.watch.sound_tail import SoundTail
    from audiomamba.serve.watch.sources import device_blocks

    sound = None if raw is None else RawSound.parse(raw)
    rate = tagger.front_end.sample_rate
    n_samples, _ = tagger.window_and_hop(reading)
    with closing(EventsFile(outputs.events)) as lines:
        tail = SoundTail(outputs.beside(".tail"), longest_s=3 * n_samples / rate)
        listener = Listener(tagger, reading, rule, lines, tail, outputs.clips, outputs.tell)
        if n_recovered := listener.recover():
            _say(f"{n_recovered} events were heard before the last call was cut off")
        if device is None:
            blocks = read_pipe(typer.get_binary_stream("stdin"), rate, sound)
        else:
            blocks = device_blocks(device, rate)
        source = device or "standard input"
        _say(f"listening to {source}")
        watch_sound(listener, blocks, source)


def _clips(folder: Path | None, quota_mb: float) -> "Clips | None":
    from audiomamba.serve.watch.clips import Clips

    return None if folder is None else Clips(folder, quota_mb)


def _teller(
    stack: ExitStack, mqtt: str | None, topic: str, login: Path | None
) -> "Callable[[Row], object]":
    """What is done with each event beside writing it: it is printed, and published if asked for."""
    if mqtt is None:
        return _print
    from audiomamba.serve.watch.broker import Broker

    broker = stack.enter_context(closing(Broker(mqtt, topic, login)))

    def both(row: "Row") -> None:
        _print(row)
        broker.publish(row)

    return both


def _print(row: "Row") -> None:
    typer.echo(json_line(row), nl=False)


def _say(line: str) -> None:
    typer.echo(f"audiomamba: {line}", err=True)
