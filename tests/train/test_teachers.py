from pathlib import Path

import pytest
import torch

from audiomamba import audio, checkpoints
from audiomamba.audio import FrontEnd
from audiomamba.audio.resample import resample
from audiomamba.errors import ConfigError, UnknownNameError
from audiomamba.recipes import override
from audiomamba.train.distillation.teachers import NEGLIGIBLE, Teacher, find_teachers, fingerprints

LABELS = ("low", "middle", "high")
FRONT_END = FrontEnd(n_frames=48, n_mels=32)
RATE = FRONT_END.sample_rate


def noise(*lengths: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Clips with zeros behind their ends, and their lengths."""
    torch.manual_seed(0)
    waveforms = 0.1 * torch.randn(len(lengths), max(lengths))
    for row, length in zip(waveforms, lengths, strict=True):
        row[length:] = 0
    return waveforms, torch.tensor(lengths)


def logits_of(folder: Path, waveform: torch.Tensor) -> torch.Tensor:
    """What the saved model says of one waveform that is as long as its input."""
    checkpoint = checkpoints.load(folder)
    with torch.no_grad():
        return checkpoint.model(audio.features(waveform, checkpoint.front_end)[None])[0]


def test_a_clip_of_one_window_is_heard_as_the_model_hears_it(save_random, tmp_path):
    folder = save_random(tmp_path)
    waveforms, lengths = noise(FRONT_END.n_samples, FRONT_END.n_samples)
    found = Teacher("t", folder, LABELS, "ce").hear(waveforms, lengths, RATE)
    expected = torch.stack([logits_of(folder, row) for row in waveforms])
    torch.testing.assert_close(found, expected)


def test_a_longer_clip_is_heard_window_by_window(save_random, tmp_path):
    folder, window = save_random(tmp_path), FRONT_END.n_samples
    rest = int(NEGLIGIBLE * window)
    waveforms, lengths = noise(3 * window + rest, window + window // 2)
    teacher = Teacher("t", folder, LABELS, "ce")
    found = teacher.hear(waveforms, lengths, RATE)
    windows = [logits_of(folder, piece) for piece in waveforms[0].split(window)[:3]]
    torch.testing.assert_close(found[0], torch.stack(windows).mean(dim=0))
    first, second = (
        teacher.hear(piece[None], torch.tensor([len(piece)]), RATE)[0]
        for piece in waveforms[1, : lengths[1]].split(window)
    )
    torch.testing.assert_close(found[1], (2 * first + second) / 3, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("model", ["cnn_small", "ast_tiny"])
def test_clips_of_different_lengths_are_heard_as_each_alone(save_random, tmp_path, model):
    changes = {"depth": 1} if model == "ast_tiny" else {}
    teacher = Teacher("t", save_random(tmp_path, model=model, **changes), LABELS, "ce")
    window = FRONT_END.n_samples
    waveforms, lengths = noise(window // 2, 2 * window, window)
    together = teacher.hear(waveforms, lengths, RATE)
    for row, length, found in zip(waveforms, lengths.tolist(), together, strict=True):
        alone = teacher.hear(row[None, :length], torch.tensor([length]), RATE)[0]
        torch.testing.assert_close(found, alone, rtol=1e-3, atol=1e-4)


def test_a_teacher_hears_at_its_own_rate(save_random, tmp_path):
    front_end = FrontEnd(kind="decibel", sample_rate=32_000, n_frames=40, n_mels=24)
    folder = save_random(tmp_path, front_end=front_end)
    waveforms, lengths = noise(6_240)
    found = Teacher("t", folder, LABELS, "ce").hear(waveforms, lengths, RATE)[0]
    expected = logits_of(folder, resample(waveforms[0], RATE, 32_000))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("scores", ["softmax", "sigmoid"])
def test_answers_are_in_the_form_of_the_loss(save_random, tmp_path, scores):
    folder = save_random(tmp_path, scores=scores)
    logits = torch.tensor([[3.0, -1.0, 0.5], [40.0, 0.0, 0.0]])
    p = logits.softmax(dim=1) if scores == "softmax" else logits.sigmoid()
    independent = Teacher("t", folder, LABELS, "bce").answer(logits)
    torch.testing.assert_close(independent.sigmoid(), p, rtol=1e-5, atol=1e-6)
    assert independent.isfinite().all()
    one_of_them = Teacher("t", folder, LABELS, "ce").answer(logits)
    torch.testing.assert_close(one_of_them.softmax(dim=1), p / p.sum(dim=1, keepdim=True))


def test_classes_are_matched_by_name(save_random, tmp_path):
    folder = save_random(tmp_path, labels=("noise", *LABELS))
    logits = torch.tensor([[9.0, 1.0, 2.0, 3.0]])
    found = Teacher("t", folder, ("high", "low", "middle"), "ce").answer(logits)
    assert found.tolist() == [[3.0, 1.0, 2.0]]


def test_a_class_that_a_teacher_does_not_know_is_named(save_random, tmp_path):
    folder = save_random(tmp_path, labels=("low", "middle"))
    message = r"teacher small does not know 'cow' and 1 more classes of the data set; it knows low"
    with pytest.raises(ConfigError, match=message):
        Teacher("small", folder, ("low", "cow", "dog"), "ce")


def test_a_name_may_depend_on_the_fold(save_random, tmp_path, recipe):
    for fold in ("1", "2"):
        save_random(tmp_path / f"fold-{fold}", labels=(*LABELS, fold))
    name = tmp_path / "fold-{fold}"
    asked = override(recipe, [f"distillation.teachers={name},general"])
    found = find_teachers(asked, "2")
    assert list(found) == [str(tmp_path / "fold-2"), "general"]
    assert found[str(tmp_path / "fold-2")] == tmp_path / "fold-2"
    assert fingerprints(asked, "1").keys() == {str(tmp_path / "fold-1"), "general"}
    assert fingerprints(asked, "1") != fingerprints(asked, "2")
    with pytest.raises(UnknownNameError, match="unknown model or model folder"):
        find_teachers(asked, "3")
