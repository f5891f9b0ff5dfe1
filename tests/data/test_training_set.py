import numpy as np
import pytest
import torch

from audiomamba import audio
from audiomamba.audio import FrontEnd
from audiomamba.data import Augment, Clip, ClipCache, TrainingDataset, collate

FRONT_END = FrontEnd(n_frames=32, n_mels=16)


@pytest.fixture
def clips(write_wav) -> list[Clip]:
    """Two clips, of more and of less than the model's input."""
    return [
        Clip(path=write_wav("long.wav", hz=300, seconds=0.5), labels=("a",)),
        Clip(path=write_wav("short.wav", hz=900, seconds=0.2), labels=("b",)),
    ]


def training_set(clips, **augment) -> TrainingDataset:
    cache = ClipCache(clips, 16_000)
    return TrainingDataset(cache, np.eye(2, dtype=np.float32), FRONT_END, Augment(**augment), 0)


def test_a_short_clip_is_padded_and_says_how_long_it_is(clips):
    examples = training_set(clips, short_clips="pad")
    long, short = examples[0, 0], examples[0, 1]
    assert (long.n_samples, short.n_samples) == (FRONT_END.n_samples, 3200)
    assert short.waveform[3200:].eq(0).all()
    batch = collate([long, short])
    features = audio.features(batch.waveform, FRONT_END, batch.n_samples)
    sound = torch.from_numpy(examples.cache.waveform(1))
    expected = audio.features(sound, FRONT_END)  # as evaluation has it
    torch.testing.assert_close(features[1], expected, atol=2e-3, rtol=1e-3)


def test_mixtures_of_waveforms_have_the_length_of_the_first(clips):
    examples = training_set(clips, short_clips="pad", mixup=1.0)
    lengths = {examples[epoch, 1].n_samples.item() for epoch in range(20)}
    assert lengths == {3200}


def test_cutmix_shares_labels_by_area(clips):
    examples = training_set(clips, cutmix=1.0)
    pasted = 0
    for epoch in range(100):
        example = examples[epoch, 0]
        first, last, low, high = example.second.box.tolist()
        left = 1 - (last - first) * (high - low) / (32 * 16)
        assert example.target.sum().item() == pytest.approx(1, abs=1e-6)
        assert example.target[0].item() == pytest.approx(left, abs=1e-6) or example.target[0] == 1
        assert example.second.share == 1
        pasted += left < 1 and example.second.waveform.abs().max().item() > 0
    assert pasted > 80


def test_mixup_of_features_weighs_labels_and_spectrograms_alike(clips):
    examples = training_set(clips, mixup=1.0, mixup_of="features", mixup_alpha=10.0)
    drawn = [examples[epoch, 0] for epoch in range(1500)]
    shares = torch.stack([example.second.share for example in drawn])
    assert shares.mean().item() == pytest.approx(0.5, abs=0.01)
    assert shares.std().item() == pytest.approx((1 / (4 * 21)) ** 0.5, rel=0.06)
    other = [example for example in drawn if example.target[1] > 0]
    assert len(other) / len(drawn) == pytest.approx(0.5, abs=0.05)
    assert all(example.target[0].item() == pytest.approx(example.second.share) for example in other)
    first = examples.cache.waveform(0)[: FRONT_END.n_samples]
    np.testing.assert_allclose(drawn[0].waveform, first)  # the waveforms stay apart


def test_features_are_mixed_as_often_as_asked(clips):
    examples = training_set(clips, mixup=0.5, mixup_of="features", cutmix=0.25)
    drawn = [examples[epoch, 0].second for epoch in range(2000)]
    mixed = np.mean([second.share.item() < 1 for second in drawn])
    pasted = np.mean([second.box[1].item() > second.box[0].item() for second in drawn])
    assert pasted == pytest.approx(0.25, abs=0.03)
    assert mixed == pytest.approx(0.75 * 0.5, abs=0.045)


def test_without_mixing_of_features_no_second_clip_travels_along(clips):
    assert training_set(clips, mixup=1.0)[0, 0].second.waveform.numel() == 0


def test_a_clip_that_comes_again_is_another_example(clips):
    examples = training_set(clips, gain_db=6.0)
    assert torch.equal(examples[3, 0].waveform, examples[3, 0, 0].waveform)
    assert not torch.equal(examples[3, 0, 0].waveform, examples[3, 0, 1].waveform)
