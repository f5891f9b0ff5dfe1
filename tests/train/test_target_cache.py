from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.numpy import load_file

from audiomamba.data import Clip, Clips, open_manifest
from audiomamba.data.clip_reader import load_clip
from audiomamba.errors import TrainingError
from audiomamba.train.distillation.target_cache import CLIPS_PER_BATCH, recall
from audiomamba.train.distillation.teachers import Teacher

LABELS = ("low", "middle", "high")


@pytest.fixture
def teacher(save_random, tmp_path) -> Teacher:
    return Teacher("t", save_random(tmp_path / "model"), LABELS, "ce")


@pytest.fixture
def other(save_random, tmp_path) -> Teacher:
    return Teacher("other", save_random(tmp_path / "other", seed=2), LABELS, "ce")


@pytest.fixture
def kept(tmp_path) -> Path:
    return tmp_path / "kept"


@pytest.fixture
def clips(corpus) -> Clips:
    return open_manifest(corpus, "esc10").clips


def heard(teacher: Teacher, clips: Clips) -> np.ndarray:
    """What a teacher says of each clip by itself."""
    rows = []
    for clip in clips:
        waveform = load_clip(clip, teacher.sample_rate)
        rows.append(teacher.hear(waveform[None], torch.tensor([len(waveform)]), 16_000)[0])
    return torch.stack(rows).numpy()


@pytest.fixture
def n_heard(monkeypatch) -> list[int]:
    """How many clips were heard at a time."""
    counts: list[int] = []
    hear = Teacher.hear

    def counted(self, waveforms, lengths, sample_rate):
        counts.append(len(waveforms))
        return hear(self, waveforms, lengths, sample_rate)

    monkeypatch.setattr(Teacher, "hear", counted)
    return counts


@pytest.mark.parametrize("n_workers", [0, 1])
def test_clips_are_heard_once_and_in_any_order(teacher, clips, kept, n_heard, n_workers):
    expected = heard(teacher, clips)
    n_heard.clear()
    found = recall(teacher, clips, kept, n_workers=n_workers)
    assert found.dtype == np.float16
    np.testing.assert_allclose(found, expected, atol=2e-3)
    assert sum(n_heard) == len(clips)
    order = np.random.default_rng(0).permutation(len(clips))
    again = recall(teacher, clips.take(order), kept)
    assert np.array_equal(again, found[order])
    assert sum(n_heard) == len(clips)


def test_files_hold_data_and_nothing_else(teacher, clips, kept):
    recall(teacher, clips, kept)
    (path,) = kept.glob("*/*")
    assert path.parent.name == teacher.fingerprint
    tensors = load_file(path)
    assert tensors["clips"].shape == (len(clips), 16)
    assert tensors["logits"].shape == (len(clips), 3)


def test_what_was_interrupted_goes_on(teacher, clips, kept, n_heard, monkeypatch):
    hear = Teacher.hear

    def interrupted(self, waveforms, lengths, sample_rate):
        if len(n_heard) == 2:
            raise KeyboardInterrupt
        return hear(self, waveforms, lengths, sample_rate)

    with monkeypatch.context() as patch:
        patch.setattr(Teacher, "hear", interrupted)
        with pytest.raises(KeyboardInterrupt):
            recall(teacher, clips, kept)
    assert sum(n_heard) == 2 * CLIPS_PER_BATCH
    found = recall(teacher, clips, kept)
    assert sum(n_heard) == len(clips)
    np.testing.assert_allclose(found, heard(teacher, clips), atol=2e-3)


def test_a_changed_recording_is_heard_anew(teacher, tmp_path, kept, n_heard):
    path = tmp_path / "a.wav"
    rng = np.random.default_rng(0)
    clips = Clips([Clip(path=path, labels=("low",))])
    soundfile.write(path, 0.1 * rng.standard_normal(6_000), 16_000)
    before = recall(teacher, clips, kept)
    soundfile.write(path, 0.5 * np.sin(np.arange(6_000)), 16_000)
    after = recall(teacher, clips, kept)
    assert n_heard == [1, 1]
    assert not np.allclose(before, after, atol=0.01)
    np.testing.assert_allclose(after, heard(teacher, clips), atol=2e-3)


def test_pieces_of_a_recording_are_clips_of_their_own(teacher, clips, kept, n_heard):
    whole = clips[0]
    first, second = replace(whole, end_s=0.2), replace(whole, start_s=0.2)
    found = recall(teacher, Clips([whole, first, second, first]), kept)
    assert sum(n_heard) == 3
    assert np.array_equal(found[1], found[3])
    assert len(np.unique(found, axis=0)) == 3


def test_another_teacher_is_asked_itself(teacher, other, clips, kept):
    found = recall(teacher, clips, kept)
    assert not np.allclose(found, recall(other, clips, kept), atol=0.01)


def test_a_file_that_another_teacher_wrote_is_refused(teacher, other, clips, kept):
    recall(other, clips, kept)
    (kept / other.fingerprint).rename(kept / teacher.fingerprint)
    with pytest.raises(TrainingError, match=r"safetensors: not what t has said; delete it"):
        recall(teacher, clips, kept)


def test_a_damaged_file_is_named(teacher, clips, kept):
    recall(teacher, clips, kept)
    (path,) = kept.glob("*/*")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(TrainingError, match=f"{path.name}: damaged; delete it, and the same"):
        recall(teacher, clips, kept)
