"""Damage in the middle of a recording: it is named, the rest can be had, nothing is invented."""

import io
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiomamba import audio
from audiomamba.errors import AudioError

RATE = 16_000
SECONDS = 20
BLOCK = 4_096  # samples of a part of a flac


def sound() -> np.ndarray:
    samples = 0.1 * np.random.default_rng(0).standard_normal(SECONDS * RATE)
    return samples * (0.2 + np.linspace(0, 1, SECONDS * RATE))


def written(kind: str, subtype: str | None = None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, sound(), RATE, format=kind, subtype=subtype)
    return file.getvalue()


def with_hole(data: bytes, how: str, n_bytes: int = 600) -> bytes:
    hole, at = bytearray(data), len(data) // 2
    changed = {
        "zeros": bytes(n_bytes),
        "noise": np.random.default_rng(1).bytes(n_bytes),
        "a bit": bytes([hole[at] ^ 0x10]) + data[at + 1 : at + n_bytes],
        "missing": b"",
    }
    hole[at : at + n_bytes] = changed[how]
    return bytes(hole)


def read(data: bytes) -> tuple[np.ndarray, list[AudioError]]:
    """What can be read, and what is said."""
    damages: list[AudioError] = []
    blocks = list(audio.stream(data, on_damage=damages.append))
    return np.concatenate(blocks), damages


@pytest.mark.parametrize("how", ["zeros", "noise", "a bit", "missing"])
def test_of_a_flac_all_parts_but_the_damaged_ones_are_read_sample_for_sample(how: str) -> None:
    data = written("FLAC")
    whole = audio.load(data, sample_rate=RATE).numpy()
    damaged = with_hole(data, how)

    with pytest.raises(AudioError, match=r"only 19\.\d\d s of 20\.00 s can be read"):
        audio.load(damaged, sample_rate=RATE)

    found, (damage,) = read(damaged)
    assert "damaged" in str(damage)
    n_lost = len(whole) - len(found)
    assert n_lost in (BLOCK, 2 * BLOCK)
    n_before = next(start for start in range(0, len(whole), BLOCK) if found[start] != whole[start])
    np.testing.assert_array_equal(found[:n_before], whole[:n_before])
    np.testing.assert_array_equal(found[n_before:], whole[n_before + n_lost :])


@pytest.mark.parametrize(
    ("kind", "subtype", "least_s"),
    [("MP3", None, 18.5), ("OGG", "VORBIS", 17.9), ("OGG", "OPUS", 17.9)],
)
@pytest.mark.parametrize("how", ["zeros", "missing"])
def test_what_follows_the_damage_is_read_in_other_formats(
    kind: str, subtype: str | None, least_s: float, how: str
) -> None:
    data = written(kind, subtype)
    whole = audio.load(data, sample_rate=audio.stream(data).sample_rate).numpy()
    damaged = with_hole(data, how, 4_000)

    with pytest.raises(AudioError, match="damaged"):
        audio.load(damaged, sample_rate=RATE)

    found, (damage,) = read(damaged)
    assert "s of 20.00 s can be read" in str(damage)
    n_end = 2 * RATE  # the ends are the same sound
    assert least_s < len(found) / len(whole) * SECONDS < SECONDS
    middle = slice(-n_end - n_end // 2, -n_end // 2)
    lag = np.argmax(np.correlate(whole[-2 * n_end :], found[middle], "valid"))
    pair = whole[-2 * n_end :][lag : lag + n_end], found[middle]
    assert np.corrcoef(*pair)[0, 1] > 0.9


def test_a_container_is_read_beyond_a_damaged_packet(write: Callable[..., Path]) -> None:
    data = bytearray(write("a.m4a", sound(), RATE).read_bytes())
    at = data.index(b"mdat") + 40_000
    data[at : at + 600] = b"\xff" * 600
    with pytest.raises(AudioError, match="damaged"):
        audio.load(bytes(data), sample_rate=RATE)
    found, damages = read(bytes(data))
    assert len(damages) == 1
    assert len(found) > 0.9 * SECONDS * RATE


@pytest.mark.parametrize("kind", ["FLAC", "MP3"])
def test_of_which_less_than_three_quarters_can_be_read_is_refused(kind: str) -> None:
    data = written(kind)
    for part in (0.3, 0.6):
        with pytest.raises(AudioError, match=r"only \d+\.\d\d s of 20\.00 s can be read"):
            read(data[: round(part * len(data))])
    found, damages = read(data[: len(data) * 9 // 10])
    assert len(damages) == 1
    assert 17 < len(found) / RATE < 19


def test_a_flac_without_pyav_is_refused_as_damaged(monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = with_hole(written("FLAC"), "zeros")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(AudioError, match="damaged or cut short, only"):
        audio.load(damaged, sample_rate=RATE)


def test_what_is_whole_is_not_called_damaged() -> None:
    for kind, subtype in (("FLAC", None), ("MP3", None), ("OGG", "VORBIS"), ("WAV", None)):
        found, damages = read(written(kind, subtype))
        assert damages == []
        assert len(found) == SECONDS * RATE
