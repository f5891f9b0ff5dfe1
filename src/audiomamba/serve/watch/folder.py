"""New recordings in a folder, once they are complete, each heard once."""

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from audiomamba import audio
from audiomamba.atomic import write_json
from audiomamba.errors import AudioError, AudioMambaError, ConfigError
from audiomamba.infer import (
    EventRule,
    Failed,
    Framing,
    RecordingEvents,
    SoundModel,
    find_events_in_files,
)
from audiomamba.serve.watch.clips import AROUND_S, LONGEST_S, Clips
from audiomamba.serve.watch.events_file import EventsFile, Row
from audiomamba.serve.watch.listening import event_row

__all__ = ["FolderWatch", "Heard"]

Signature = tuple[int, int]  # bytes, and the time of the last change in nanoseconds


class Heard:
    """Which files were heard, on the disk; and how long the events' file was after the last.

    Args:
        path: where this is kept.

    Examples:
        >>> heard = Heard(Path("heard.json"))
        >>> heard.add("a.wav", (100, 7), offset=0)
        >>> Heard(Path("heard.json")).has("a.wav", (100, 7))
        True
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._files: dict[str, Signature] = {}
        self.offset = 0
        try:
            known = json.loads(path.read_text("utf-8", "surrogateescape"))
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path} cannot be read; delete it to hear all files anew") from error
        self.offset = known["offset"]
        self._files = {name: (size, changed) for name, (size, changed) in known["files"].items()}

    def has(self, name: str, signature: Signature) -> bool:
        """Say whether a file was heard as it is now.

        Args:
            name: the file's, in the folder.
            signature: of its content.
        """
        return self._files.get(name) == signature

    def add(self, name: str, signature: Signature, offset: int) -> None:
        """Note that a file was heard.

        Args:
            name: the file's, in the folder.
            signature: of its content.
            offset: bytes in the events' file, with those of this file.
        """
        self._files[name], self.offset = signature, offset
        write_json(self._path, {"offset": offset, "files": self._files})


@dataclass
class FolderWatch:
    """Hears the recordings of a folder as they come.

    Args:
        folder: it is searched to any depth.
        sound_model: the model.
        framing: how recordings become frames.
        rule: how frames become events.
        events: where the lines go.
        heard: which files need not be heard again.
        clips: where the sound of events is kept; None for nowhere.
        tell: is given every line that was written.
        warn: is given why a file cannot be read.
        settle_s: a file is complete when it has not changed for so long.
    """

    folder: Path
    sound_model: SoundModel
    framing: Framing
    rule: EventRule
    events: EventsFile
    heard: Heard
    clips: Clips | None
    tell: Callable[[Row], object]
    warn: Callable[[AudioMambaError], object]
    settle_s: float = 2.0
    _seen: dict[str, tuple[Signature, float]] = field(default_factory=dict)

    def look(self) -> bool:
        """Hear all files that are complete and were not heard.

        Returns:
            Whether there are others that may become complete.
        """
        waiting = False
        for path in self._files():
            name = os.path.relpath(path, self.folder)
            signature = _signature(path)
            if signature is None or self.heard.has(name, signature):
                continue
            if self._is_complete(name, signature):
                self._hear(path, name, signature)
            else:
                waiting = True
        return waiting

    def _files(self) -> list[Path]:
        try:
            return audio.find([self.folder])
        except AudioError:  # there are none yet
            return []

    def _is_complete(self, name: str, signature: Signature) -> bool:
        """Whether a file has not changed for a while: by its time, or as long as it was watched."""
        now = time.monotonic()
        known, since_s = self._seen.get(name, (signature, now))
        if known != signature:
            since_s = now
        self._seen[name] = signature, since_s
        quiet_s = max(now - since_s, time.time() - signature[1] / 1e9)
        return signature[0] > 0 and quiet_s >= self.settle_s

    def _hear(self, path: Path, name: str, signature: Signature) -> None:
        """Write the events of one file, in one piece, and note that it was heard."""
        (found,) = find_events_in_files(self.sound_model, [path], self.framing, self.rule)
        rows: list[Row] = []
        if isinstance(found, Failed):
            self.warn(found.error)
        elif _signature(path) == signature:
            rows = self._rows(found, path, name, began_s=signature[1] / 1e9 - found.seconds)
        else:
            return  # it has changed meanwhile
        written = self.events.since(self.heard.offset)  # before the process was ended by force
        new = [row for row in rows if row not in written]
        self.events.append(new)
        self.heard.add(name, signature, self.events.size)
        self._seen.pop(name, None)
        for row in new:
            self.tell(row)

    def _rows(self, found: RecordingEvents, path: Path, name: str, began_s: float) -> list[Row]:
        rows = []
        for event in found.events:
            row = event_row(event, began_s, name)
            if self.clips is not None:
                samples, rate = _cut(path, event.start_s, event.end_s)
                moment_s = began_s + event.start_s
                row["clip"] = self.clips.keep(event.label, moment_s, samples, rate)
            rows.append(row)
        return rows


def _signature(path: Path) -> Signature | None:
    """What changes when the file does; None where it is gone."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _cut(path: Path, start_s: float, end_s: float) -> tuple[torch.Tensor, int]:
    """The sound around an event, never longer than a clip may be, and its rate."""
    start_s = max(0.0, start_s - AROUND_S)
    seconds = min(end_s + AROUND_S - start_s, LONGEST_S)
    blocks = audio.stream(path)
    rate, position = blocks.sample_rate, 0
    first, last = round(start_s * rate), round((start_s + seconds) * rate)
    kept = []
    for block in blocks:
        kept.append(block[max(0, first - position) : max(0, last - position)])
        position += len(block)
        if position >= last:
            blocks.close()
            break
    return torch.cat(kept), rate
