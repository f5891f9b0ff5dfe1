"""Recordings read in one pass."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from audiomamba import audio, infer
from audiomamba.audio import frames
from audiomamba.errors import ConfigError, UnknownNameError
from audiomamba.infer import Failed, Reading, Tagged, Tagger, tag_files
from audiomamba.ops import chunking
from audiomamba.ops.mamba import in_chunks

RATE = 16_000


@pytest.fixture(params=["model_folder", "any_length_folder"])
def tagger(request: pytest.FixtureRequest) -> Tagger:
    return infer.load(request.getfixturevalue(request.param))


def noise(n_samples: int, seed: int = 0) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal(n_samples).astype(np.float32)


@pytest.mark.parametrize("n_samples", [1, 399, 3000, 5360])
def test_a_recording_of_at_most_a_window_scores_as_in_windows(tagger: Tagger, n_samples: int):
    recording = (noise(n_samples), RATE)
    torch.testing.assert_close(
        tagger.scores(recording, mode="native"), tagger.scores(recording), rtol=1e-5, atol=1e-6
    )


def test_a_long_recording_is_the_models_input_as_a_whole(tagger: Tagger):
    samples = torch.from_numpy(noise(50_000))
    front_end = replace(tagger.front_end, n_frames=tagger.front_end.frames_in(len(samples)))
    with torch.inference_mode():
        expected = tagger.logits_to_scores(tagger.model(audio.features(samples, front_end)[None]))[
            0
        ]
    scored = tagger.score_recording((samples, RATE), Reading(mode="native"))
    torch.testing.assert_close(scored.scores, expected)
    assert scored.seconds == len(samples) / RATE
    assert not scored.note


def test_reading_in_chunks_changes_nothing(tagger: Tagger, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = (noise(100_000), RATE)
    expected = tagger.scores(recording, mode="native")
    for name, n_tokens in (("CHUNK_TOKENS", 8), ("MANY_TOKENS", 16), ("MANY_TOKENS_IN_SLICES", 16)):
        monkeypatch.setattr(in_chunks, name, n_tokens)
    monkeypatch.setattr(chunking, "CHUNK_COLUMNS", 48)
    monkeypatch.setattr(frames, "CHUNK_FRAMES", 50)
    found = tagger.scores(recording, mode="native")
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_files_are_read_natively_too(tagger: Tagger, tmp_path: Path):
    files = [tmp_path / "one.wav", tmp_path / "none.wav", tmp_path / "two.wav"]
    for seed, n_samples in ((0, 20_000), (2, 9000)):
        soundfile.write(files[seed], noise(n_samples, seed), RATE)
    one, none, two = tag_files(tagger, files, mode="native")
    assert isinstance(none, Failed)
    for file, found in ((files[0], one), (files[2], two)):
        assert isinstance(found, Tagged)
        assert list(found.tags) == tagger.tag(file, mode="native")


def test_what_does_not_fit_native_reading_is_refused(tagger: Tagger, monkeypatch):
    recording = (noise(9000), RATE)
    with pytest.raises(ConfigError, match="windows were asked for in mode 'native'"):
        tagger.tag(recording, mode="native", hop_s=0.1)
    with pytest.raises(UnknownNameError, match="unknown mode 'nativ'; did you mean native"):
        tagger.tag(recording, mode="nativ")  # type: ignore[arg-type]
    monkeypatch.setattr(type(tagger.model.config), "one_pass", False)
    with pytest.raises(ConfigError, match="cannot read a recording of any length in one pass"):
        tagger.tag(recording, mode="native")
