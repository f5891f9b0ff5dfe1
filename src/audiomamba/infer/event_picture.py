"""A picture of a recording's events: its spectrogram above, a lane for each class below."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from audiomamba import audio
from audiomamba.errors import ConfigError
from audiomamba.infer.formats.pictures import check_picture, drawable, save_picture
from audiomamba.infer.formats.text import length_text
from audiomamba.infer.results import Event, RecordingEvents
from audiomamba.infer.tag_picture import draw_decibels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["MOST_COLUMNS", "MOST_LANES", "Pictured", "Spectrogram", "draw_events"]

MOST_COLUMNS = 2000  # even, so that all columns can be joined in pairs
MOST_LANES = 20

_BLOCK_S = 4.0
_COARSE = 4  # of a long recording, frames this many times as far apart are looked at
_SMALLEST_POWER = 1e-12
_WIDTH, _SPECTROGRAM_HEIGHT, _LANE_HEIGHT, _EDGES_HEIGHT = 12.0, 2.4, 0.26, 0.8  # inches
_WIDEST_TITLE, _WIDEST_LABEL = 100, 32  # characters
_NARROWEST = 1 / 600  # of the width; what is shorter would not be seen
_FAINTEST = 0.35  # opacity of an event with score 0
_BAR, _LANE, _INK = "#c8553d", "#edf0f4", "#22303c"
_UNITS = ((180.0, 1.0, "s"), (7200.0, 60.0, "min"), (float("inf"), 3600.0, "h"))


class Spectrogram:
    """The spectrogram of a recording that comes block by block, in at most MOST_COLUMNS columns.

    Args:
        front_end: the model's; its mel bands are drawn.
    """

    def __init__(self, front_end: audio.FrontEnd) -> None:
        self.front_end = front_end
        self._pending: list[Tensor] = []
        self._n_pending = 0
        self._columns = torch.zeros(0, front_end.n_mels)  # mean power
        self._rest = torch.zeros(0, front_end.n_mels)  # frames that do not fill a column yet
        self._per_column = 1

    def listen(self, samples: Tensor) -> None:
        """Take the next samples.

        Args:
            samples: (samples,) at the front end's rate.
        """
        self._pending.append(samples)
        self._n_pending += len(samples)
        if self._n_pending >= _BLOCK_S * self.front_end.sample_rate:
            self._take(torch.cat(self._pending))

    def finish(self) -> Tensor:
        """Take the end of the recording.

        Returns:
            Decibels (mels, columns).
        """
        samples = torch.cat(self._pending)
        self._take(F.pad(samples, (0, max(0, self.front_end.window_samples - len(samples)))))
        if len(self._rest):
            self._columns = torch.cat([self._columns, self._rest.mean(dim=0, keepdim=True)])
        return 10 * self._columns.clamp(min=_SMALLEST_POWER).log10().T

    def _take(self, samples: Tensor) -> None:
        """Turn samples into frames, and these into columns; what is left over waits for more."""
        front_end = self.front_end
        log_mel = audio.log_mel_spectrogram(samples, front_end)
        decibels = audio.to_decibels(log_mel, front_end)
        n_frames = min(len(decibels), max(1, len(samples) // front_end.shift_samples))
        kept = samples[n_frames * front_end.shift_samples :]
        self._pending, self._n_pending = [kept], len(kept)
        self._fill(10 ** (decibels[:n_frames] / 10))
        while len(self._columns) > MOST_COLUMNS:
            self._halve()

    def _fill(self, frames: Tensor) -> None:
        """Join frames into columns."""
        frames = torch.cat([self._rest, frames])
        n_columns = len(frames) // self._per_column
        whole = frames[: n_columns * self._per_column]
        columns = whole.unflatten(0, (n_columns, self._per_column)).mean(dim=1)
        self._columns = torch.cat([self._columns, columns])
        self._rest = frames[len(whole) :]

    def _halve(self) -> None:
        """Join columns in pairs; in a long recording, look at fewer frames from here on."""
        odd = self._columns[len(self._columns) // 2 * 2 :]
        self._rest = torch.cat([odd.expand(len(odd) * self._per_column, -1), self._rest])
        self._columns = self._columns[: len(self._columns) // 2 * 2].unflatten(0, (-1, 2)).mean(1)
        self._per_column *= 2
        if self._per_column == _COARSE * _COARSE:
            shift_ms = _COARSE * self.front_end.frame_shift_ms
            self.front_end = replace(self.front_end, frame_shift_ms=shift_ms)
            self._per_column = _COARSE
            self._rest = self._rest[: len(self._rest) // _COARSE * _COARSE]
            self._rest = self._rest.unflatten(0, (-1, _COARSE)).mean(1)


def draw_events(found: RecordingEvents, spectrogram: Spectrogram, file: Path) -> None:
    """Draw a spectrogram, and below it a lane for each class that was heard.

    Args:
        found: the events of a recording. The classes heard longest have lanes, MOST_LANES of them
            at most; how many others there are is noted.
        spectrogram: listened to the whole recording; it is finished here.
        file: where the picture goes; its suffix says the format.

    Raises:
        MissingDependencyError: matplotlib is not installed.
        ConfigError: the format is unknown, or the file's folder does not exist.
    """
    check_picture(file)
    from matplotlib.figure import Figure

    unit_s, unit = next((size, name) for limit, size, name in _UNITS if found.seconds < limit)
    lanes, n_left_out = _lanes(found.events)
    lanes_height = _LANE_HEIGHT * max(2, len(lanes))
    height = _SPECTROGRAM_HEIGHT + lanes_height + _EDGES_HEIGHT
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    above, below = figure.subplots(
        2, 1, sharex=True, height_ratios=[_SPECTROGRAM_HEIGHT, lanes_height]
    )
    until = found.seconds / unit_s
    draw_decibels(above, spectrogram.finish(), until, spectrogram.front_end)
    above.tick_params(labelbottom=False)
    title = f"{drawable(found.file.name, _WIDEST_TITLE)}   {length_text(found.seconds)}"
    above.set_title(title, loc="left", fontsize=9, color=_INK, parse_math=False)
    _draw_lanes(below, lanes, until, unit_s)
    note = f"   and {n_left_out} more classes" if n_left_out else ""
    below.set_xlabel(f"time in {unit}{note}", fontsize=8, color=_INK)
    save_picture(figure, file)


class Pictured:
    """Draws the one recording of a call as it is read, if a picture was asked for.

    Args:
        file: where the picture goes; None for no picture.
        n_recordings: how many recordings there are.
        front_end: the model's.

    Raises:
        MissingDependencyError: matplotlib is not installed.
        ConfigError: there are several recordings, or as for draw_events.
    """

    def __init__(self, file: Path | None, n_recordings: int, front_end: audio.FrontEnd) -> None:
        self._file, self._spectrogram = file, Spectrogram(front_end)
        if file is None:
            return
        check_picture(file)
        if n_recordings > 1:
            raise ConfigError(
                f"a picture of events shows one recording, and {n_recordings} were given; "
                "call once for each"
            )

    def listen(self, samples: Tensor) -> None:
        """Take the next samples.

        Args:
            samples: (samples,) at the front end's rate.
        """
        if self._file is not None:
            self._spectrogram.listen(samples)

    def draw(self, found: RecordingEvents) -> None:
        """Draw the recording, which was listened to as a whole.

        Args:
            found: its events.
        """
        if self._file is not None:
            draw_events(found, self._spectrogram, self._file)


def _lanes(events: Sequence[Event]) -> tuple[dict[str, list[Event]], int]:
    """The events of the classes heard longest, in the order of their starts; how many are left."""
    found: dict[str, list[Event]] = {}
    for event in events:
        found.setdefault(event.label, []).append(event)
    by_length = sorted(
        found, key=lambda label: -sum(event.end_s - event.start_s for event in found[label])
    )
    chosen = set(by_length[:MOST_LANES])
    kept = {label: members for label, members in found.items() if label in chosen}
    return kept, len(found) - len(kept)


def _draw_lanes(axes: "Axes", lanes: dict[str, list[Event]], until: float, unit_s: float) -> None:
    """A line of bars per class; the higher the score, the stronger the color."""
    from matplotlib.colors import to_rgba

    for index, members in enumerate(lanes.values()):
        axes.axhspan(index - 0.36, index + 0.36, color=_LANE, linewidth=0)
        bars = [
            (
                event.start_s / unit_s,
                max((event.end_s - event.start_s) / unit_s, until * _NARROWEST),
            )
            for event in members
        ]
        strengths = [_FAINTEST + (1 - _FAINTEST) * event.score for event in members]
        colors = [to_rgba(_BAR, min(1.0, strength)) for strength in strengths]
        axes.broken_barh(bars, (index - 0.36, 0.72), facecolors=colors, linewidth=0)
    if not lanes:
        axes.text(
            0.5, 0.5, "nothing was heard", transform=axes.transAxes, ha="center", va="center",
            fontsize=8, color=_INK,
        )  # fmt: skip
    labels = [drawable(label, _WIDEST_LABEL).replace("$", r"\$") for label in lanes]
    axes.set_yticks(range(len(lanes)), labels)
    axes.set_ylim(max(1, len(lanes)) - 0.5, -0.5)
    axes.set_xlim(0, until)
    axes.tick_params(labelsize=8, colors=_INK, length=2)
    axes.tick_params(axis="y", length=0)
    axes.spines[:].set_visible(False)
