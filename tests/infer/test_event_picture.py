from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.image import imread

from audiomamba import audio
from audiomamba.audio import FrontEnd
from audiomamba.errors import ConfigError
from audiomamba.infer import Event, RecordingEvents
from audiomamba.infer.event_picture import (
    MOST_COLUMNS,
    MOST_LANES,
    Pictured,
    Spectrogram,
    draw_events,
)

RATE = 16_000


def noise(seconds: float) -> torch.Tensor:
    return 0.1 * torch.randn(int(seconds * RATE), generator=torch.Generator().manual_seed(0))


def listened(samples: torch.Tensor, block: int = 65_536, **changes: object) -> Spectrogram:
    spectrogram = Spectrogram(FrontEnd(**changes))
    for part in samples.split(block):
        spectrogram.listen(part)
    return spectrogram


def drawn(events: list[Event], seconds: float, file: Path) -> np.ndarray:
    heard = RecordingEvents(Path("garden $1$.flac"), seconds, 0.1, events)
    draw_events(heard, listened(noise(seconds)), file)
    return np.asarray(imread(file))


def test_a_short_recording_has_the_spectrogram_of_its_frames() -> None:
    samples, front_end = noise(3), FrontEnd()

    columns = listened(samples).finish()

    log_mel = audio.log_mel_spectrogram(samples, front_end)
    expected = audio.to_decibels(log_mel, front_end).T
    assert columns.shape[0] == front_end.n_mels
    torch.testing.assert_close(columns[:, :290], expected[:, :290], atol=0.5, rtol=0)


@settings(max_examples=15, deadline=None)
@given(
    seconds=st.floats(0.0001, 200),
    block=st.integers(1000, 200_000),
    kind=st.sampled_from(["kaldi", "decibel", "epic_sounds"]),
)
def test_any_recording_fits_into_the_columns(seconds: float, block: int, kind: str) -> None:
    samples = noise(seconds)[: max(1, int(seconds * RATE))]
    samples = samples if len(samples) else torch.zeros(1)

    columns = listened(samples, block, kind=kind).finish()

    assert 1 <= columns.shape[1] <= MOST_COLUMNS + 1
    assert columns.isfinite().all()


@pytest.mark.parametrize("seconds", [30, 90, 300])
def test_a_burst_is_bright_at_its_time(seconds: int) -> None:
    samples = 0.001 * noise(seconds)
    at = seconds * RATE * 3 // 4
    samples[at : at + RATE] *= 500

    columns = listened(samples).finish()

    brightest = float(columns.mean(0).argmax()) / columns.shape[1] * seconds
    assert 0.75 * seconds - 0.2 <= brightest <= 0.75 * seconds + 1.2


def test_the_picture_grows_with_the_classes_up_to_a_limit(tmp_path: Path) -> None:
    def many(n_classes: int) -> list[Event]:
        return [Event(f"class $_{n}", n / 10, n / 10 + 1, 0.5) for n in range(n_classes)]

    few, more, most, beyond = (
        drawn(many(n), 5.0, tmp_path / f"{n}.png") for n in (3, 9, MOST_LANES, MOST_LANES + 9)
    )

    assert few.shape[0] < more.shape[0] < most.shape[0]
    assert beyond.shape == most.shape


def test_silence_and_an_hour_are_drawn(tmp_path: Path) -> None:
    silent = drawn([], 2.0, tmp_path / "silent.png")
    long = RecordingEvents(
        Path("long.flac"), 36_000.0, 0.1, [Event("dog", 17_000.0, 17_000.2, 0.9)]
    )

    draw_events(long, listened(noise(60)), tmp_path / "long.png")

    picture = np.asarray(imread(tmp_path / "long.png"))[..., :3]
    bar = (np.abs(picture - np.array([0xC8, 0x55, 0x3D]) / 255) < 0.12).all(axis=2)
    lane = bar[-picture.shape[0] // 4 :]
    assert silent.shape[1] == picture.shape[1]
    assert lane.sum() >= 10, "an event of 0.2 s in ten hours is not to be seen"


def test_a_picture_of_several_recordings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="shows one recording, and 2 were given"):
        Pictured(tmp_path / "a.png", 2, FrontEnd())
    with pytest.raises(ConfigError, match=r"a\.txt: no format for a picture has this suffix"):
        Pictured(tmp_path / "a.txt", 1, FrontEnd())
