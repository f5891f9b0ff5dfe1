import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

import audiomamba
from audiomamba import audio, checkpoints, models
from audiomamba.errors import AudioError, ConfigError, UnknownNameError
from audiomamba.infer import Tagger
from audiomamba.infer.windows import WindowBatch

RATE = 16_000


@pytest.fixture(scope="module")
def tagger(model_folder: Path) -> Tagger:
    return audiomamba.load(model_folder)


def noise(seconds: float, rate: int = RATE, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return 0.1 * rng.standard_normal(round(seconds * rate), dtype=np.float32)


def test_scores_every_label_once_and_the_highest_first(tagger: Tagger) -> None:
    tags = tagger.tag((noise(0.3), RATE))

    assert {tag.label for tag in tags} == set(tagger.labels)
    scores = [tag.score for tag in tags]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score < 1 for score in scores)


def test_a_path_an_open_file_and_samples_give_the_same(tagger: Tagger, tmp_path: Path) -> None:
    path = tmp_path / "noise.wav"
    soundfile.write(path, noise(0.4), RATE, subtype="FLOAT")

    expected = tagger.scores((noise(0.4), RATE))

    torch.testing.assert_close(tagger.scores(path), expected)
    torch.testing.assert_close(tagger.scores(str(path)), expected)
    torch.testing.assert_close(tagger.scores(io.BytesIO(path.read_bytes())), expected)
    torch.testing.assert_close(tagger.scores((torch.from_numpy(noise(0.4)), RATE)), expected)


def test_channels_are_averaged_and_the_rate_is_changed(tagger: Tagger, tmp_path: Path) -> None:
    left, right = noise(0.4, 44_100, seed=1), noise(0.4, 44_100, seed=2)
    path = tmp_path / "stereo.wav"
    soundfile.write(path, np.stack([left, right], 1), 44_100, subtype="FLOAT")

    from_file = tagger.scores(path)

    stereo = (np.stack([left, right], 1), 44_100)
    torch.testing.assert_close(tagger.scores(stereo), from_file)
    torch.testing.assert_close(tagger.scores(((left + right) / 2, 44_100)), from_file)


def test_a_short_recording_is_scored_as_the_model_itself_scores_it(model_folder: Path) -> None:
    checkpoint = checkpoints.load(model_folder)
    samples = torch.from_numpy(noise(0.2))
    with torch.inference_mode():
        logits = checkpoint.model(audio.features(samples[None], checkpoint.front_end))[0]

    torch.testing.assert_close(Tagger(checkpoint).scores((samples, RATE)), logits.sigmoid())


def test_softmax_scores_add_up_to_one(model_folder: Path) -> None:
    tagger = Tagger(replace(checkpoints.load(model_folder), scores="softmax"))

    assert tagger.scores((noise(1.0), RATE)).sum() == pytest.approx(1)


def test_windows_are_weighted_by_the_seconds_that_they_cover(tagger: Tagger) -> None:
    n_window = tagger.front_end.n_samples
    samples = torch.from_numpy(noise(2.0))[: 3 * n_window + n_window // 2]
    parts = [tagger.scores((part, RATE)) for part in samples.split(n_window)]

    weights = torch.tensor([1, 1, 1, (n_window // 2) / n_window])
    expected = (torch.stack(parts) * weights[:, None]).sum(0) / weights.sum()
    torch.testing.assert_close(tagger.scores((samples, RATE)), expected)


def test_the_number_of_windows_in_a_batch_changes_nothing(
    tagger: Tagger, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = (noise(6.0), RATE)
    expected = tagger.scores(samples)

    monkeypatch.setattr("audiomamba.infer.sound_model.WINDOWS_PER_BATCH", 1)

    torch.testing.assert_close(tagger.scores(samples), expected)


@settings(deadline=None, max_examples=40)
@example(n_samples=1)
@example(n_samples=399)
@example(n_samples=5361)
@given(n_samples=st.integers(1, 17_000))
@pytest.mark.parametrize("name", ["model_folder", "any_length_folder"])
def test_any_length_from_one_sample_has_finite_scores(
    name: str, n_samples: int, request: pytest.FixtureRequest
) -> None:
    tagger = audiomamba.load(request.getfixturevalue(name))

    scored = tagger.score_recording((noise(1.1)[:n_samples], RATE))

    assert scored.scores.isfinite().all()
    assert scored.seconds == n_samples / RATE


def test_no_sound_is_an_error(tagger: Tagger) -> None:
    with pytest.raises(AudioError, match="no samples"):
        tagger.tag((noise(0), RATE))


def test_a_note_says_where_scores_rest_on_under_half_a_window(tagger: Tagger) -> None:
    half = tagger.front_end.n_samples // 2  # 0.1675 s

    assert tagger.score_recording((noise(1)[:half], RATE)).note == ""
    note = tagger.score_recording((noise(1)[: half - 1], RATE)).note
    assert note == "0.167 s of sound, under half of a window of 0.335 s"


def test_overlapping_windows_are_averaged_so_that_every_sample_counts_alike(
    tagger: Tagger,
) -> None:
    samples = noise(1.0)
    n_samples, hop = round(0.3 * RATE), round(0.1 * RATE)
    starts = range(0, RATE - n_samples + hop, hop)
    counts, sums = torch.zeros(RATE), torch.zeros(RATE, 3)
    for start in starts:
        counts[start : start + n_samples] += 1
        sums[start : start + n_samples] += tagger.scores((samples[start : start + n_samples], RATE))

    found = tagger.scores((samples, RATE), window_s=0.3, hop_s=0.1)

    torch.testing.assert_close(found, (sums / counts[:, None]).mean(0))


@pytest.mark.parametrize(
    ("lengths", "reason"),
    [
        ({"window_s": 0.4}, "a window of 0.4 s was asked for; tiny takes 0.025 to 0.335 s"),
        ({"window_s": 0.02}, "tiny takes 0.025 to 0.335 s"),
        ({"window_s": float("nan")}, "a window of nan s"),
        ({"hop_s": 0.0}, "a hop of 0.0 s was asked for"),
        ({"hop_s": 0.34}, "so that nothing is left out"),
        ({"window_s": 0.1, "hop_s": 0.2}, "at most the window's 0.1 s"),
    ],
)
def test_lengths_that_cannot_be_are_refused(
    tagger: Tagger, lengths: dict[str, float], reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason):
        tagger.tag((noise(1.0), RATE), **lengths)


def test_windows_of_different_lengths_in_a_batch_score_as_alone(
    model_folder: Path, any_length_folder: Path
) -> None:
    lengths = torch.tensor([5360, 1, 4000, 399, 2401, 2400])
    for folder in (model_folder, any_length_folder):
        tagger = audiomamba.load(folder)
        samples = torch.zeros(6, 5360)
        for row, length in zip(samples, lengths.tolist(), strict=True):
            row[:length] = torch.from_numpy(noise(1, seed=length)[:length])

        together = tagger.score_windows(WindowBatch(samples, torch.zeros(6).long(), lengths))

        alone = [
            tagger.scores((row[:length], RATE))
            for row, length in zip(samples, lengths, strict=True)
        ]
        torch.testing.assert_close(together, torch.stack(alone), rtol=1e-5, atol=1e-7)


def test_samples_that_are_not_numbers_are_an_error(tagger: Tagger) -> None:
    samples = noise(0.3)
    samples[100] = np.nan

    with pytest.raises(AudioError, match="NaN"):
        tagger.tag((samples, RATE))


@pytest.mark.parametrize("shape", [(), (2, 100, 2)])
def test_samples_of_another_shape_are_an_error(tagger: Tagger, shape: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match=r"expected floating point \(samples,\)"):
        tagger.tag((np.zeros(shape, np.float32), RATE))


def test_whole_numbers_are_an_error(tagger: Tagger) -> None:
    with pytest.raises(ConfigError, match="int16"):
        tagger.tag((np.zeros(8000, np.int16), RATE))


def test_an_unknown_name_is_an_error_that_offers_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean general"):
        audiomamba.load("generl")


def test_a_model_of_any_length_reads_a_short_recording_without_padding() -> None:
    torch.manual_seed(0)
    size = {"n_classes": 2, "n_mels": 32, "n_frames": 64, "dim": 16, "stem": (4, 6, 8)}
    checkpoint = checkpoints.Checkpoint(
        name="any",
        model=models.create("conv_aum_tiny", depth=1, **size),
        front_end=audio.FrontEnd(n_mels=32, n_frames=64),
        labels=("a", "b"),
        scores="softmax",
    )
    tagger = Tagger(checkpoint)
    samples = torch.from_numpy(noise(0.3))
    bare = replace(checkpoint.front_end, n_frames=28)  # 1 + (4800 - 400) // 160
    with torch.inference_mode():
        logits = checkpoint.model(audio.features(samples[None], bare))[0]

    torch.testing.assert_close(tagger.scores((samples, RATE)), logits.softmax(-1))


@pytest.mark.parametrize("kind", ["decibel", "epic_sounds"])
def test_other_front_ends_tag_recordings_of_any_length(model_folder: Path, kind: str) -> None:
    checkpoint = checkpoints.load(model_folder)
    front_end = replace(checkpoint.front_end, kind=kind)
    tagger = Tagger(replace(checkpoint, front_end=front_end))
    for seconds in (0.03, 0.31, 0.5, 2.0):
        parts = torch.from_numpy(noise(seconds)).split(front_end.n_samples)
        parts = [part for part in parts if len(part) >= front_end.window_samples]
        with torch.inference_mode():
            scores = [checkpoint.model(audio.features(part[None], front_end))[0] for part in parts]
        weights = torch.tensor([float(len(part)) for part in parts])
        expected = (torch.stack(scores).sigmoid() * weights[:, None]).sum(0) / weights.sum()
        found = tagger.scores((noise(seconds), RATE))
        torch.testing.assert_close(found, expected)
