"""The front end of exported graphs is the package's own."""

from dataclasses import replace

import pytest
import torch
from exporting_models import RECORDINGS

from audiomamba import audio
from audiomamba.audio import FrontEnd
from audiomamba.exporting.front_end import FrontEndGraph
from audiomamba.infer.recording import read_blocks

FRONT_ENDS = {
    "kaldi": FrontEnd(n_frames=198),
    "kaldi, other frames": FrontEnd(n_frames=150, frame_length_ms=20.1, frame_shift_ms=7.3),
    "decibel": FrontEnd(kind="decibel", n_mels=64, frame_length_ms=64, n_frames=201),
    "decibel, odd window": FrontEnd(kind="decibel", n_mels=64, frame_length_ms=63.9375),
    "epic_sounds": FrontEnd(kind="epic_sounds", frame_length_ms=10, frame_shift_ms=5, low_hz=0.0),
    "efficientat": FrontEnd(kind="efficientat", low_hz=0.0, high_hz=7500.0, n_frames=200),
}


@pytest.fixture(scope="module")
def sound() -> torch.Tensor:
    return torch.cat(list(read_blocks(RECORDINGS / "speech.wav", 16_000))).repeat(3)


@pytest.mark.parametrize("n_samples", [1, 300, 500, 5_001, 31_999, 32_000])
@pytest.mark.parametrize("name", FRONT_ENDS)
def test_features_are_the_same(name: str, n_samples: int, sound: torch.Tensor) -> None:
    front_end = FRONT_ENDS[name]
    given = sound[: 2 * n_samples].view(2, n_samples)
    n_least = max(n_samples, front_end.window_samples)  # as taggers read shorter sound
    waveforms = torch.nn.functional.pad(given, (0, n_least - n_samples))
    padded = FrontEndGraph(front_end, any_length=False)(given)
    _close(padded, audio.features(waveforms, front_end))

    as_it_is = FrontEndGraph(front_end, any_length=True)(given)
    frames = replace(front_end, n_frames=front_end.frames_in(n_least))
    _close(as_it_is, audio.features(waveforms, frames))


def _close(found: torch.Tensor, expected: torch.Tensor) -> None:
    """Where a band holds little but rounding, its logarithm may differ more."""
    assert found.shape == expected.shape
    difference = (found - expected).abs()
    assert difference.max() < 0.05
    assert difference.mean() < 1e-4
