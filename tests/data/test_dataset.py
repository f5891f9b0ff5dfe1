import numpy as np
import pytest
import soundfile
import torch
from torch.utils.data import DataLoader

from audiomamba import audio
from audiomamba.audio import FrontEnd
from audiomamba.data import (
    Augment,
    Clip,
    ClipCache,
    EpochSampler,
    EvaluationDataset,
    TrainingDataset,
    clip_features,
    collate,
    measure,
)
from audiomamba.errors import DataError

FRONT_END = FrontEnd(n_frames=32, n_mels=16)
EVERYTHING = Augment(
    speed=(0.8, 1.25),
    roll=True,
    gain_db=6.0,
    mixup=0.5,
    mixup_alpha=1.0,
    negatives=0.2,
    n_mel_masks=2,
    mel_mask_bins=4,
    n_frame_masks=2,
    frame_mask_frames=8,
)


@pytest.fixture
def clips(write_wav) -> list[Clip]:
    return [
        Clip(path=write_wav(f"{i}.wav", hz=200 + 100 * i), labels=("ab"[i % 2],)) for i in range(8)
    ]


def training_set(clips, augment=EVERYTHING, seed=0) -> TrainingDataset:
    targets = np.eye(2, dtype=np.float32)[[i % 2 for i in range(len(clips))]]
    return TrainingDataset(ClipCache(clips, 16_000), targets, FRONT_END, augment, seed)


def same(first, second) -> bool:
    if isinstance(first, tuple):
        return all(map(same, first, second))
    return torch.equal(first, second)


def test_an_example_depends_on_seed_epoch_and_clip_alone(clips):
    examples = training_set(clips)
    again = training_set(clips)
    _ = [again[0, i] for i in range(8)]  # draws that went before make no difference
    assert all(same(examples[3, i], again[3, i]) for i in range(8))
    assert not same(examples[3, 0], examples[4, 0])
    assert not same(examples[3, 0], training_set(clips, seed=1)[3, 0])


def test_workers_give_the_same_batches(clips):
    def batches(n_workers: int) -> list:
        sampler = EpochSampler(len(clips), seed=0)
        sampler.set_epoch(2)
        loader = DataLoader(
            training_set(clips), 3, sampler=sampler, num_workers=n_workers, collate_fn=collate
        )
        return list(loader)

    alone, shared = batches(0), batches(2)
    assert len(alone) == len(shared) == 3
    assert all(map(same, alone, shared))


def test_the_order_changes_with_the_epoch_and_leaves_nothing_out():
    sampler = EpochSampler(20, seed=0)
    orders = []
    for epoch in (0, 1, 0):
        sampler.set_epoch(epoch)
        orders.append(list(sampler))
        assert {key[0] for key in orders[-1]} == {epoch}
        assert sorted(key[1] for key in orders[-1]) == list(range(20))
    assert orders[0] == orders[2]
    assert [key[1] for key in orders[0]] != [key[1] for key in orders[1]]


def test_without_augmentation_an_example_is_the_clip(clips):
    example = training_set(clips, Augment())[0, 3]
    waveform = audio.load(clips[3].path, sample_rate=16_000)[: FRONT_END.n_samples]
    torch.testing.assert_close(example.waveform, waveform, atol=2e-5, rtol=0)
    assert example.target.tolist() == [0, 1]
    assert example.clip.item() == 3


def test_mixtures_and_negatives_come_as_often_as_asked(clips):
    examples = training_set(clips, Augment(mixup=0.5, mixup_alpha=1.0, negatives=0.2))
    targets = torch.stack([examples[epoch, i].target for epoch in range(250) for i in range(8)])
    totals = targets.sum(dim=1)
    negative = totals == 0
    assert negative.float().mean().item() == pytest.approx(0.2, abs=0.03)
    torch.testing.assert_close(totals[~negative], torch.ones(int((~negative).sum())))
    mixed = (targets.max(dim=1).values[~negative] < 0.9999).float().mean().item()
    assert mixed == pytest.approx(0.25, abs=0.03)  # half are mixtures, half of those of two classes


@pytest.mark.parametrize(("alpha", "sd"), [(1.0, 12**-0.5), (10.0, (1 / (4 * 21)) ** 0.5)])
def test_shares_of_mixtures_follow_the_beta_law(clips, alpha, sd):
    examples = training_set(clips[:2], Augment(mixup=1.0, mixup_alpha=alpha))
    shares = torch.stack([examples[epoch, 0].target for epoch in range(1500)])[:, 0]
    shares = shares[shares < 0.99999]  # mixtures with itself
    assert shares.mean().item() == pytest.approx(0.5, abs=0.03)
    assert shares.std().item() == pytest.approx(sd, rel=0.1)


def test_the_cache_decodes_once(clips, monkeypatch):
    cache = ClipCache(clips, 16_000)
    first = cache.waveform(0)
    monkeypatch.setattr(audio, "load", None)
    np.testing.assert_array_equal(cache.waveform(0), first)
    assert cache.used_bytes == 2 * len(first)


def test_the_cache_keeps_to_its_budget(clips):
    unbounded, bounded = ClipCache(clips, 16_000), ClipCache(clips, 16_000, budget_bytes=40_000)
    for i in range(8):
        np.testing.assert_array_equal(bounded.waveform(i), unbounded.waveform(i))
    assert bounded.used_bytes == 2 * 16_000


def test_quiet_clips_keep_their_resolution(tmp_path):
    path = tmp_path / "quiet.wav"
    quiet = 1e-4 * np.random.default_rng(0).standard_normal(8_000)
    soundfile.write(path, quiet, 16_000, subtype="FLOAT")
    found = ClipCache([Clip(path=path, labels=())], 16_000).waveform(0)
    np.testing.assert_allclose(found, quiet, atol=1e-8)


def test_a_piece_of_a_file_is_that_piece(clips):
    piece = Clip(path=clips[0].path, labels=(), start_s=0.1, end_s=0.3)
    whole = audio.load(clips[0].path, sample_rate=16_000)
    found = clip_features(piece, FRONT_END)
    torch.testing.assert_close(found, audio.features(whole[1600:4800], FRONT_END))


def test_a_piece_outside_the_file_is_refused(clips):
    with pytest.raises(DataError, match=r"piece 2.0-None s is empty; the file is 0.50 s long"):
        clip_features(Clip(path=clips[0].path, labels=(), start_s=2.0), FRONT_END)


def test_evaluation_features_are_the_taggers(clips):
    targets = np.zeros((8, 2), np.float32)
    for budget in (0, 1 << 20):
        clips_of_set = EvaluationDataset(clips, targets, FRONT_END, budget)
        for _ in range(2):
            features, _target = clips_of_set[5]
            waveform = audio.load(clips[5].path, sample_rate=16_000)
            torch.testing.assert_close(features, audio.features(waveform, FRONT_END))


def test_measured_statistics_are_those_of_all_values(clips):
    cache = ClipCache(clips, 16_000)
    found = measure(cache, FRONT_END)
    waveforms = [cache.waveform(i) for i in range(8)]
    log_mel = torch.cat(
        [audio.kaldi_fbank(torch.from_numpy(w - w.mean()), FRONT_END).flatten() for w in waveforms]
    )
    assert found.mean == pytest.approx(log_mel.mean().item(), abs=1e-3)
    assert found.std == pytest.approx(log_mel.std().item(), abs=1e-3)


def test_silent_clips_cannot_be_measured(tmp_path):
    path = tmp_path / "silent.wav"
    soundfile.write(path, np.zeros(8_000), 16_000)
    with pytest.raises(DataError, match="all 1 training clips are silent"):
        measure(ClipCache([Clip(path=path, labels=())], 16_000), FRONT_END)
