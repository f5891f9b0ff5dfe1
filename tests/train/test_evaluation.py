from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch

from audiomamba import checkpoints, infer, metrics, models, train
from audiomamba.audio import FrontEnd
from audiomamba.data import open_manifest
from audiomamba.errors import AudioError, DataError
from audiomamba.models.ood import OODDetector
from audiomamba.train.evaluation import score_clips

LABELS = ("hiss", "hum")


@pytest.fixture
def checkpoint() -> checkpoints.Checkpoint:
    """An untrained model whose window is 0.495 s."""
    torch.manual_seed(0)
    model = models.create("aum_tiny", n_classes=2, n_frames=48, n_mels=32, depth=1, dim=32)
    front_end = FrontEnd(n_frames=48, n_mels=32)
    return checkpoints.Checkpoint(
        name="tiny", model=model, front_end=front_end, labels=LABELS, scores="softmax"
    )


@pytest.fixture
def tagger(checkpoint) -> infer.Tagger:
    return infer.Tagger(checkpoint)


@pytest.fixture
def folder(tmp_path):
    """Clips of up to five windows."""
    for number, label in enumerate(LABELS):
        (tmp_path / label).mkdir()
        for take, seconds in enumerate((0.2, 0.7, 2.3)):
            sound = 0.1 * np.random.default_rng(take).standard_normal(round(16_000 * seconds))
            sound = np.cumsum(sound) / 50 if number else sound
            soundfile.write(tmp_path / label / f"{take}.wav", sound, 16_000)
    return tmp_path


def test_clips_are_scored_as_tag_scores_recordings(tagger, folder):
    clips = open_manifest(folder).clips
    scored = score_clips(tagger, clips)
    for clip, row in zip(clips, scored.scores, strict=True):
        np.testing.assert_allclose(row, tagger.scores(clip.path).numpy(), atol=1e-5)


def test_a_rest_that_says_nothing_is_left_out(tagger, folder):
    sound, rate = soundfile.read(folder / "hiss" / "2.wav")
    n_window = tagger.front_end.n_samples
    for n_more, same in ((n_window // 200, True), (n_window // 2, False)):
        soundfile.write(folder / "hiss" / "1.wav", sound[: n_window + n_more], rate)
        scored = score_clips(tagger, open_manifest(folder).clips)
        window = tagger.scores((torch.from_numpy(sound[:n_window]).float(), rate)).numpy()
        assert np.allclose(scored.scores[1], window, atol=1e-4) == same


def test_any_baseline_is_evaluated_and_unreadable_clips_are_named(tagger, folder, tmp_path):
    (folder / "hum" / "3.wav").write_bytes(b"no sound" * 400)
    model = folder.parent / f"{folder.name}-cnn"
    checkpoint = checkpoints.Checkpoint(
        name="cnn",
        model=models.create("cnn_small", n_classes=2, n_frames=48, n_mels=32),
        front_end=tagger.front_end,
        labels=LABELS,
        scores="softmax",
    )
    checkpoints.save(model, checkpoint)
    found = train.evaluate(model, folder)
    assert found.metrics.n_clips == 6
    assert [reason.partition(":")[0] for reason in found.failed] == [str(tmp_path / "hum/3.wav")]
    assert found.intervals["accuracy"].low <= found.metrics.accuracy
    wrong = {one.path for one in found.most_wrong}
    assert len(wrong) == round(6 * (1 - found.metrics.accuracy))
    assert [one.read_s for one in found.slowest] == sorted(
        (one.read_s for one in found.slowest), reverse=True
    )
    assert not (model / "evaluation.json").exists()  # it is no run


def test_out_of_distribution_detection_lowers_the_scores(checkpoint, tagger, folder):
    clips = open_manifest(folder).clips
    plain = score_clips(tagger, clips).scores
    detector = OODDetector(n_classes=2, dim=32, limit=1.0)
    careful = infer.Tagger(replace(checkpoint, ood_detector=detector))
    lowered = score_clips(careful, clips).scores
    np.testing.assert_allclose(plain.sum(axis=1), 1, rtol=1e-5)
    assert (lowered.sum(axis=1) < 0.9).all()
    np.testing.assert_array_equal(lowered.argmax(axis=1), plain.argmax(axis=1))


def test_other_labels_are_refused_in_one_line(folder):
    (folder / "hum").rename(folder / "purr")
    with pytest.raises(DataError, match="does not know the label 'hiss' and 1 more labels of"):
        train.evaluate("general", folder)


def test_nothing_that_can_be_read_is_an_error(tagger, folder):
    for path in folder.rglob("*.wav"):
        path.write_bytes(b"no sound" * 400)
    with pytest.raises(AudioError, match="none of 6 clips can be read"):
        score_clips(tagger, open_manifest(folder).clips)


def test_all_clips_wrong_still_gives_plain_data():
    found = metrics.compute(np.eye(2)[::-1], np.eye(2), LABELS).to_dict()
    assert found["d_prime"] is None
    assert found["f1_macro"] == 0.0
