"""A picture of tagged recordings: a spectrogram each, and its highest tags as bars."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from audiomamba import audio
from audiomamba.audio.mel_scale import to_mel
from audiomamba.errors import ConfigError
from audiomamba.infer.formats.pictures import check_picture, drawable, save_picture
from audiomamba.infer.formats.text import length_text
from audiomamba.infer.results import Tagged
from audiomamba.infer.sound_model import SoundModel

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["MOST_RECORDINGS", "check_tag_picture", "draw_decibels", "draw_tags"]

MOST_RECORDINGS = 24

_MOST_BELOW, _MOST_COLUMNS, _MOST_BARS = 8, 1000, 3
_WIDEST_TITLE, _WIDEST_LABEL = 60, 32  # characters
_RANGE_DB = 70.0  # points further below the loudest one are drawn black
_FIRST_BAR, _OTHER_BAR, _TRACK, _INK = "#c8553d", "#8d99ae", "#edf0f4", "#22303c"


def check_tag_picture(file: Path, n_recordings: int) -> None:
    """Say, before any work is done, if a picture cannot be drawn.

    Args:
        file: where the picture is to go; its suffix says the format.
        n_recordings: how many recordings it is to show, at most MOST_RECORDINGS.

    Raises:
        MissingDependencyError: matplotlib is not installed.
        ConfigError: there are too many recordings, the format is unknown, or the file's folder
            does not exist.
    """
    check_picture(file)
    if n_recordings > MOST_RECORDINGS:
        raise ConfigError(
            f"a picture of {n_recordings} recordings was asked for; "
            f"expected at most {MOST_RECORDINGS}"
        )


def draw_tags(recordings: Sequence[Tagged], sound_model: SoundModel, file: Path) -> None:
    """Draw for every recording its spectrogram over the seconds, and its highest tags as bars.

    Args:
        recordings: the tagged recordings, 1 to MOST_RECORDINGS; they are read again.
        sound_model: the model that tagged them.
        file: where the picture goes.

    Raises:
        MissingDependencyError: matplotlib is not installed.
        ConfigError: as for check_tag_picture.
        AudioError: a recording cannot be read any more.
    """
    check_tag_picture(file, len(recordings))
    from matplotlib.figure import Figure

    n_beside = 1 if len(recordings) <= _MOST_BELOW else 2
    n_below = math.ceil(len(recordings) / n_beside)
    figure = Figure(figsize=(9.0 * n_beside, 0.4 + 1.25 * n_below), layout="constrained")
    grid = figure.subplots(n_below, 2 * n_beside, squeeze=False, width_ratios=[2.2, 1] * n_beside)
    cells = grid.reshape(-1, 2)
    for (left, right), tagged in zip(cells, recordings, strict=False):
        _draw_spectrogram(left, sound_model.read(tagged.file), sound_model.front_end)
        left.set_title(
            f"{drawable(tagged.file.name, _WIDEST_TITLE)}   {length_text(tagged.seconds)}",
            loc="left",
            fontsize=9,
            color=_INK,
            parse_math=False,
        )
        _draw_bars(right, tagged)
    for axes in cells[len(recordings) :].flat:
        axes.set_axis_off()
    save_picture(figure, file)


def _draw_spectrogram(axes: "Axes", samples: Tensor, front_end: audio.FrontEnd) -> None:
    """Log-mel values over time, in decibels below the loudest point."""
    seconds = len(samples) / front_end.sample_rate
    shift_ms = max(front_end.frame_shift_ms, 1000 * seconds / _MOST_COLUMNS)
    log_mel = audio.log_mel_spectrogram(samples, replace(front_end, frame_shift_ms=shift_ms))
    draw_decibels(axes, audio.to_decibels(log_mel, front_end).T, seconds, front_end)
    axes.xaxis.set_major_formatter("{x:g} s")


def draw_decibels(axes: "Axes", decibels: Tensor, until: float, front_end: audio.FrontEnd) -> None:
    """Draw a spectrogram with its frequencies at the side.

    Args:
        axes: where it is drawn.
        decibels: (mels, columns).
        until: time at its end, in the unit of the axis; it begins at 0.
        front_end: the settings that its mel bands are made with.
    """
    top = float(decibels.max())
    axes.imshow(
        decibels.numpy(),
        origin="lower",
        aspect="auto",
        cmap="magma",
        vmin=top - _RANGE_DB,
        vmax=top,
        extent=(0.0, until, 0.0, 1.0),
        interpolation="antialiased",
    )
    low, high = (to_mel(hz, front_end) for hz in (front_end.low_hz, front_end.highest_hz))
    ticks_hz = [hz for hz in (500, 2000, 8000) if front_end.low_hz < hz <= front_end.highest_hz]
    axes.set_yticks(
        [(to_mel(hz, front_end) - low) / (high - low) for hz in ticks_hz],
        [f"{hz / 1000:g} kHz" for hz in ticks_hz],
    )
    axes.tick_params(labelsize=7, colors=_INK, length=2)
    axes.spines[:].set_visible(False)


def _draw_bars(axes: "Axes", tagged: Tagged) -> None:
    """The highest tags as bars from 0 to 1, each named above its bar."""
    axes.set_xlim(0, 1)
    axes.set_ylim(_MOST_BARS - 0.3, -0.75)
    axes.set_yticks([])
    axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    axes.tick_params(labelsize=7, colors=_INK, length=2)
    axes.spines[:].set_visible(False)
    for index, tag in enumerate(tagged.tags[:_MOST_BARS]):
        color = _OTHER_BAR if index else _FIRST_BAR
        axes.barh(index, 1, height=0.28, color=_TRACK)
        axes.barh(index, tag.score, height=0.28, color=color)
        above = index - 0.24
        label = drawable(tag.label, _WIDEST_LABEL)
        for x, side, text in ((0, "left", label), (1, "right", f"{tag.score:.2f}")):
            axes.text(
                x, above, text, ha=side, va="bottom", fontsize=8, color=_INK, parse_math=False
            )
