import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import audiomamba
from audiomamba import audio, checkpoints, models
from audiomamba.audio import FrontEnd
from audiomamba.errors import ConfigError, UnknownNameError
from audiomamba.infer import (
    EventRule,
    Failed,
    Framing,
    RecordingEvents,
    Tagger,
    find_events_in_files,
)
from audiomamba.infer.frame_scores import embed_frames, score_frames
from audiomamba.models.ood import OODDetector

RATE = 16_000
RECORDINGS = Path(__file__).parents[2] / "demo" / "recordings"
SMALL = {"n_classes": 3, "n_frames": 64, "n_mels": 32}
# One of each kind: steps of its own length, padded, stretched, windows only.
MODELS = {
    "conv_aum_tiny": {"depth": 1, "dim": 32, "stem": (8, 8, 8)},
    "aum_tiny": {"depth": 1, "dim": 32, "class_token": "none"},
    "cnn_small": {},
    "ast_tiny": {"depth": 1, "dim": 32, "n_heads": 2},
}


def small_tagger(name: str, detector: OODDetector | None = None) -> Tagger:
    torch.manual_seed(0)
    changes = SMALL | MODELS[name]
    model = models.create(name, **changes)
    front_end = FrontEnd(n_frames=64, n_mels=32)
    labels = ("bell", "dog", "rain")
    return Tagger(
        checkpoints.Checkpoint(
            name=name,
            model=model,
            front_end=front_end,
            labels=labels,
            scores="softmax",
            ood_detector=detector,
        )
    )


@pytest.fixture(scope="module", params=list(MODELS))
def tagger(request: pytest.FixtureRequest) -> Tagger:
    return small_tagger(request.param)


@pytest.fixture(scope="module")
def general() -> Tagger:
    return audiomamba.load("general")


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return 0.1 * rng.standard_normal(max(1, round(seconds * RATE)), dtype=np.float32)


@settings(max_examples=25, deadline=None)
@given(n_samples=st.integers(1, 4 * RATE), step_s=st.floats(0.01, 3.0))
def test_any_length_is_covered_with_scores(tagger: Tagger, n_samples: int, step_s: float) -> None:
    line = tagger.timeline((noise(4)[:n_samples], RATE), Framing(step_s=step_s))

    assert line.seconds == n_samples / RATE
    assert len(line.scores) >= line.seconds / step_s - 1e-6
    assert len(line.scores) < line.seconds / step_s + 1
    assert line.scores.isfinite().all()
    assert line.scores.min() >= 0
    assert line.scores.max() <= 1


def test_a_clip_of_one_window_has_the_models_own_steps() -> None:
    tagger = small_tagger("conv_aum_tiny")
    samples = torch.from_numpy(noise(1))[: tagger.front_end.n_samples]
    features = audio.features(samples[None], tagger.front_end)
    with torch.inference_mode():
        steps = tagger.logits_to_scores(tagger.model.frame_logits(features))[0]
        whole = tagger.logits_to_scores(tagger.model(features))

    line = tagger.timeline((samples, RATE), Framing(step_s=0.16))

    torch.testing.assert_close(line.scores[:4], (steps * whole).sqrt()[:4])


def test_a_model_that_scores_windows_only_gives_the_mean_of_those_around() -> None:
    tagger = small_tagger("ast_tiny")
    window_s = tagger.front_end.n_samples / RATE
    samples = noise(window_s)

    line = tagger.timeline((samples, RATE), Framing(step_s=0.05))

    expected = tagger.scores((samples, RATE)).expand(len(line.scores), -1)
    torch.testing.assert_close(line.scores, expected)


def test_what_is_out_of_distribution_scores_less() -> None:
    plain = small_tagger("conv_aum_tiny")
    near, far = OODDetector(1, 32, limit=1e9), OODDetector(1, 32, limit=-1e9)

    known = small_tagger("conv_aum_tiny", near).timeline((noise(2), RATE)).scores
    unknown = small_tagger("conv_aum_tiny", far).timeline((noise(2), RATE)).scores

    torch.testing.assert_close(known, plain.timeline((noise(2), RATE)).scores)
    assert unknown.max() < 1e-6


def test_one_pass_agrees_with_windows_where_the_model_sees_the_same() -> None:
    tagger = small_tagger("conv_aum_tiny")
    recording = (noise(tagger.front_end.clip_s), RATE)

    windows = tagger.timeline(recording)
    native = tagger.timeline(recording, Framing(mode="native"))

    torch.testing.assert_close(native.scores, windows.scores)


def test_one_pass_covers_a_longer_recording() -> None:
    line = small_tagger("conv_aum_tiny").timeline((noise(5.3), RATE), Framing(mode="native"))

    assert line.scores.shape == (53, 3)
    assert line.scores.isfinite().all()


def test_a_sound_is_found_where_it_is(general: Tagger, tmp_path: Path) -> None:
    clip = audio.load(RECORDINGS / "speech.wav", sample_rate=RATE).numpy()
    samples = 0.01 * noise(30)
    samples[12 * RATE : 12 * RATE + len(clip)] += clip
    soundfile.write(tmp_path / "long.flac", samples, RATE)

    (found,) = find_events_in_files(general, [tmp_path / "long.flac"])

    assert isinstance(found, RecordingEvents)
    (event,) = [event for event in found.events if event.label == "Speech"]
    assert event.start_s == pytest.approx(12, abs=1)
    assert event.end_s == pytest.approx(12 + len(clip) / RATE, abs=1)


def test_the_events_of_a_stream_are_those_of_the_whole(general: Tagger, tmp_path: Path) -> None:
    path = tmp_path / "noise.wav"
    loud = np.repeat(np.random.default_rng(1).random(21), RATE)
    soundfile.write(path, (noise(21) * loud).astype(np.float32), RATE, subtype="FLOAT")
    rule = EventRule(threshold=0.03, stay=0.9)

    (found,) = find_events_in_files(general, [path], rule=rule)

    assert isinstance(found, RecordingEvents)
    assert found.events
    assert found.events == general.timeline(path).events(rule)


def test_a_recording_that_fails_does_not_stop_the_others(general: Tagger, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.wav", tmp_path / "bad.flac"
    soundfile.write(good, noise(1), RATE)
    soundfile.write(bad, noise(30), RATE)
    bad.write_bytes(bad.read_bytes()[: bad.stat().st_size // 2])

    results = list(find_events_in_files(general, [bad, tmp_path / "none.wav", good]))

    assert [type(result) for result in results] == [Failed, Failed, RecordingEvents]


def test_the_listener_hears_every_sample_once(tagger: Tagger) -> None:
    heard: list[Tensor] = []
    samples = noise(3.21)

    list(score_frames(tagger, (samples, RATE), listener=heard.append))

    np.testing.assert_array_equal(torch.cat(heard).numpy(), samples)


def test_frames_are_given_out_while_the_recording_is_read(general: Tagger, tmp_path: Path) -> None:
    path = tmp_path / "noise.wav"
    soundfile.write(path, noise(120), RATE)

    sizes = [len(block) for block in score_frames(general, path)]

    assert sum(sizes) == 1200
    assert max(sizes) <= general.front_end.clip_s / Framing().step_s


PEAK = """
import resource, sys
from audiomamba.cli import app
try:
    app(["timeline", sys.argv[1], "--picture", sys.argv[1] + ".png"])
except SystemExit as end:
    assert not end.code
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_recording(tmp_path: Path) -> None:
    peaks = []
    for minutes in (2, 20):
        path = tmp_path / f"{minutes}.flac"
        with soundfile.SoundFile(path, "w", RATE, 1) as file:
            for minute in range(minutes):
                file.write(noise(60, seed=minute))
        done = subprocess.run(
            [sys.executable, "-c", PEAK, path], capture_output=True, text=True, check=True
        )
        peaks.append(int(done.stderr))

    assert peaks[1] < 1.1 * peaks[0]


def test_embeddings_of_moments_have_the_models_dimension(tagger: Tagger) -> None:
    frames = embed_frames(tagger, (noise(2), RATE))

    embeddings = torch.cat(list(frames))

    assert embeddings.shape[0] == 20
    assert frames.seconds == 2
    assert embeddings.isfinite().all()


@pytest.mark.parametrize(
    ("name", "framing", "message"),
    [
        ("conv_aum_tiny", {"step_s": 0.001}, "step of 0.001 s was asked for; .* frames of 0.01 s"),
        ("conv_aum_tiny", {"step_s": float("nan")}, "step of nan s"),
        ("conv_aum_tiny", {"window_s": 5.0}, "a window of 5.0 s"),
        ("conv_aum_tiny", {"hop_s": 2.0}, "a hop of 2.0 s"),
        ("conv_aum_tiny", {"mode": "native", "hop_s": 0.1}, "mode 'native', which has none"),
        ("ast_tiny", {"mode": "native"}, "ast_tiny cannot score .* in one pass; use windows"),
    ],
)
def test_framings_that_do_not_fit_are_refused(
    name: str, framing: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        small_tagger(name).timeline((noise(1), RATE), Framing(**framing))


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="unknown mode 'nativ'; did you mean native"):
        Framing(mode="nativ")


def test_the_steps_of_a_model_need_not_be_those_of_the_frames(general: Tagger) -> None:
    recording = (noise(7), RATE)

    fine = general.timeline(recording, Framing(step_s=0.02)).scores
    coarse = general.timeline(recording, replace(Framing(), step_s=0.1)).scores

    torch.testing.assert_close(fine[2::5], coarse, atol=1e-5, rtol=1e-5)
