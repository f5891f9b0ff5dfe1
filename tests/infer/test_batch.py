"""Recordings that share batches are scored as alone."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import audiomamba
from audiomamba.errors import AudioError, ConfigError
from audiomamba.infer import Reading, Scored, Tagger
from audiomamba.infer.batch import N_BUCKETS, score_many
from audiomamba.infer.sound_model import WINDOWS_PER_BATCH

RATE = 16_000


def write_all(folder: Path, lengths: list[int]) -> list[Path]:
    """Recordings of these lengths in samples, each of another noise."""
    files = []
    for place, length in enumerate(lengths):
        files.append(folder / f"{place}.wav")
        samples = 0.1 * np.random.default_rng(place).standard_normal(length)
        soundfile.write(files[-1], samples, RATE, subtype="FLOAT")
    return files


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    rng = np.random.default_rng(0)
    lengths = [1, 2, 399, 400, 5360, 5361, 100_000, *rng.integers(1, 20_000, 30).tolist()]
    return write_all(tmp_path_factory.mktemp("many"), lengths)


@pytest.mark.parametrize("lengths", [{}, {"window_s": 0.2, "hop_s": 0.07}])
@pytest.mark.parametrize("name", ["model_folder", "any_length_folder"])
def test_every_recording_gets_what_it_gets_alone(
    name: str, lengths: dict[str, float], files: list[Path], request: pytest.FixtureRequest
) -> None:
    tagger = audiomamba.load(request.getfixturevalue(name))

    found = dict(score_many(tagger, files, Reading(**lengths)))

    assert sorted(found) == list(range(len(files)))
    for place, file in enumerate(files):
        alone, together = tagger.score_recording(file, Reading(**lengths)), found[place]
        assert isinstance(together, Scored)
        assert (together.seconds, together.window_s) == (alone.seconds, alone.window_s)
        torch.testing.assert_close(together.scores, alone.scores, rtol=1e-5, atol=1e-7)


def test_short_recordings_share_batches(model_folder: Path, files: list[Path]) -> None:
    tagger, sizes = audiomamba.load(model_folder), []
    score = tagger.score_windows
    tagger.score_windows = lambda batch: sizes.append(len(batch.starts)) or score(batch)  # type: ignore[method-assign]

    n_windows = sum(len(batch.starts) for file in files for batch in tagger.windows(file))
    list(score_many(tagger, files))

    assert sum(sizes) == n_windows
    assert len(sizes) <= n_windows / WINDOWS_PER_BATCH + N_BUCKETS


@pytest.mark.parametrize("slow", [0, 1])  # every second recording, which one thread would read
def test_batches_do_not_depend_on_how_fast_recordings_are_read(
    any_length_folder: Path, files: list[Path], slow: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tagger = audiomamba.load(any_length_folder)
    expected = dict(score_many(tagger, files))
    blocks = Tagger.blocks

    def slowly(self: Tagger, recording: Path, **options: object) -> Iterator[torch.Tensor]:
        if int(recording.stem) % 2 == slow:
            time.sleep(0.01)
        return blocks(self, recording, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Tagger, "blocks", slowly)
    found = dict(score_many(tagger, files))

    assert list(found) == list(expected)
    for index, one in found.items():
        assert isinstance(one, Scored)
        other = expected[index]
        assert isinstance(other, Scored)
        assert torch.equal(one.scores, other.scores)


def test_what_cannot_be_read_is_told_and_the_rest_is_done(
    model_folder: Path, files: list[Path], tmp_path: Path
) -> None:
    cut_short = tmp_path / "cut.flac"
    soundfile.write(cut_short, np.random.default_rng(0).uniform(-0.3, 0.3, 60 * RATE), RATE)
    cut_short.write_bytes(cut_short.read_bytes()[: cut_short.stat().st_size // 2])
    given = [files[0], cut_short, tmp_path / "none.wav", *files[1:]]

    found = dict(score_many(audiomamba.load(model_folder), given))

    assert sorted(found) == list(range(len(given)))
    errors = {place: found[place] for place in found if not isinstance(found[place], Scored)}
    assert {place: type(error) for place, error in errors.items()} == {1: AudioError, 2: AudioError}
    assert "cut short" in str(errors[1])


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("read")]


def test_no_thread_is_left_behind_where_results_are_not_wanted_any_more(
    model_folder: Path, files: list[Path]
) -> None:
    results = score_many(audiomamba.load(model_folder), files * 20)
    next(results)
    assert readers()

    results.close()

    assert not readers()


def test_what_a_reader_does_not_expect_is_raised(
    model_folder: Path, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **_options: object) -> Iterator[torch.Tensor]:
        raise ZeroDivisionError

    monkeypatch.setattr(Tagger, "blocks", broken)
    with pytest.raises(ZeroDivisionError):
        list(score_many(audiomamba.load(model_folder), files))
    assert not readers()


def test_lengths_that_cannot_be_are_refused_before_any_file_is_read(model_folder: Path) -> None:
    with pytest.raises(ConfigError, match="a hop of 9 s"):
        list(score_many(audiomamba.load(model_folder), [Path("none.wav")], Reading(hop_s=9)))
    assert not readers()
