"""Long sound is analysed in stretches of frames, with the same result."""

import pytest
import torch

from audiomamba import audio
from audiomamba.audio import FrontEnd, frames


@pytest.mark.parametrize("kind", ["kaldi", "decibel", "epic_sounds"])
@pytest.mark.parametrize("n_frames", [1, 7, 64, 1000])
def test_stretches_give_what_the_whole_gives(kind, n_frames, monkeypatch):
    front_end = FrontEnd(kind=kind, n_mels=32)
    waveforms = torch.randn(2, 20_000, generator=torch.Generator().manual_seed(0))
    expected = audio.log_mel_spectrogram(waveforms, front_end)
    monkeypatch.setattr(frames, "CHUNK_FRAMES", n_frames)
    found = audio.log_mel_spectrogram(waveforms, front_end)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)


def test_no_more_frames_than_a_stretch_are_computed_at_once():
    seen: list[int] = []

    def compute(part: torch.Tensor) -> torch.Tensor:
        seen.append(part.shape[-2])
        return part.sum(dim=-1, keepdim=True)

    long = torch.randn(2 * frames.CHUNK_FRAMES + 5, 3)
    torch.testing.assert_close(frames.frame_by_frame(long, compute), long.sum(-1, keepdim=True))
    assert seen == [frames.CHUNK_FRAMES, frames.CHUNK_FRAMES, 5]
