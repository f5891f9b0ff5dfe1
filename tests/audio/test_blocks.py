"""Recordings that are read block by block."""

import io
import os
import signal
import time
import tracemalloc
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch

from audiomamba import audio
from audiomamba.errors import AudioError

RATE = 16_000


@pytest.mark.parametrize("sample_rate", [16_000, 44_100])
@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3", "a.m4a"])
def test_the_blocks_joined_are_the_whole(write, tone, name, sample_rate):
    path = write(name, np.stack([tone(997, 44_100, 5.0)] * 2, axis=1), 44_100)

    blocks = list(audio.stream(path, sample_rate=sample_rate))

    assert len(blocks) > 2
    assert all(block.ndim == 1 and block.dtype == torch.float32 for block in blocks)
    assert torch.equal(torch.cat(blocks), audio.load(path, sample_rate=sample_rate))


def test_without_a_rate_the_recording_keeps_its_own(write, tone):
    blocks = audio.stream(write("a.wav", tone(500, 44_100, 2.0), 44_100))
    assert (blocks.sample_rate, blocks.declared_s) == (44_100, 2.0)
    assert sum(map(len, blocks)) == 88_200


def test_memory_does_not_grow_with_the_length(write, tone):
    paths = [write(f"{n}.flac", np.tile(tone(500, 44_100), n), 44_100) for n in (10, 100)]
    peaks = []
    for path in paths:
        tracemalloc.start()
        for _ in audio.stream(path, sample_rate=RATE):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


def n_open() -> int:
    """How many files this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("n_blocks", [0, 1])
@pytest.mark.parametrize("name", ["a.wav", "a.mp3", "a.m4a"])
def test_a_file_that_is_not_read_to_its_end_is_closed(write, tone, name, n_blocks):
    path = write(name, tone(500, 44_100, 10.0), 44_100)
    n_before = n_open()
    blocks = audio.stream(path, sample_rate=RATE)
    for _ in range(n_blocks):
        next(blocks)
    assert n_open() > n_before
    blocks.close()
    assert n_open() == n_before
    assert list(blocks) == []


class Interrupted(BaseException):
    """As KeyboardInterrupt, which would end the tests."""


def test_an_interruption_is_not_lost_while_a_file_is_read(write, tone):
    """What is raised while libsndfile calls back into Python would be lost."""
    path, rng = write("a.flac", np.tile(tone(500, RATE), 100), RATE), np.random.default_rng(0)

    def interrupt(*_: object) -> None:
        raise Interrupted

    handler = signal.signal(signal.SIGALRM, interrupt)
    try:
        for _ in range(20):
            with pytest.raises(Interrupted):
                read_until_interrupted(path, after_s=rng.uniform(1e-3, 1e-2))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)


def read_until_interrupted(path: Path, after_s: float) -> None:
    """Read for so long that the interruption comes long before the end."""
    with closing(audio.stream(path, sample_rate=RATE)) as blocks:
        signal.setitimer(signal.ITIMER_REAL, after_s)
        until_s = time.monotonic() + 20 * after_s
        for _ in blocks:
            if time.monotonic() > until_s:
                return


def test_what_is_wrong_at_the_end_comes_after_the_blocks(write):
    path = write("a.flac", np.random.default_rng(0).uniform(-0.3, 0.3, 30 * RATE), RATE)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    blocks = audio.stream(path, sample_rate=RATE)
    read = []
    with pytest.raises(AudioError, match="cut short"):
        read.extend(blocks)
    assert sum(map(len, read)) > 10 * RATE


def test_a_missing_file_is_an_error_at_once(tmp_path):
    with pytest.raises(AudioError, match="no such file"):
        audio.stream(tmp_path / "none.wav")


def test_a_pipe_that_is_named_is_read(write, tone):
    path = write("a.wav", tone(500, RATE, 0.1), RATE)
    read_end, write_end = os.pipe()
    with os.fdopen(write_end, "wb") as file:
        file.write(path.read_bytes())
    try:
        waveform = audio.load(Path(f"/dev/fd/{read_end}"), sample_rate=RATE)
    finally:
        os.close(read_end)
    assert len(waveform) == RATE // 10


def test_an_mp3_that_a_second_decoder_has_to_finish_is_one_recording(write, tone):
    """libsndfile ends where a second mp3 file begins; the samples before are not given twice."""
    once = write("a.mp3", tone(500, 44_100, 10.0), 44_100)
    expected = audio.load(once, sample_rate=44_100)
    twice = audio.load(io.BytesIO(once.read_bytes() * 2), sample_rate=44_100)
    assert len(twice) == pytest.approx(2 * len(expected), abs=3000)
    assert torch.equal(twice[: len(expected) // 2], expected[: len(expected) // 2])
