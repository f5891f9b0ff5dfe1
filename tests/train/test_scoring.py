from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch

from audiomamba import models, train
from audiomamba.audio import FrontEnd
from audiomamba.checkpoints import Checkpoint
from audiomamba.data import Clip, Clips, EvaluationDataset
from audiomamba.infer import Tagger
from audiomamba.train.evaluation import score_clips
from audiomamba.train.fitting.scoring import predict

RATE_HZ = 16_000
SECONDS = (0.3, 0.495, 0.02, 1.0, 0.3, 0.71)  # the input is 0.495 s long
FRONT_END = FrontEnd(n_frames=48, n_mels=32)
SMALL = {
    "conv_aum_tiny": {"stem": (8, 8, 8), "dim": 16, "depth": 1},
    "cnn_small": {},
    "mambaout_femto": {"dims": (8, 8, 16, 16)},
    "aum_tiny": {"dim": 16, "depth": 1},
}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Clips:
    """Clips that are shorter and longer than the model's input, one than its analysis window."""
    folder, rng = tmp_path_factory.mktemp("clips"), np.random.default_rng(0)
    for place, seconds in enumerate(SECONDS):
        sound = 0.1 * rng.standard_normal(round(seconds * RATE_HZ))
        soundfile.write(folder / f"{place}.wav", sound, RATE_HZ)
    return Clips([Clip(path=folder / f"{place}.wav", labels=()) for place in range(len(SECONDS))])


@pytest.mark.parametrize("name", SMALL)
def test_a_run_scores_short_clips_as_tagging_does(clips, name):
    torch.manual_seed(0)
    model = models.create(name, **SMALL[name], n_classes=3, n_mels=32, n_frames=48).eval()
    model.head.bias.data.zero_()
    targets = np.zeros((len(clips), 3), np.float32)

    def logits(*, pad: bool) -> torch.Tensor:
        return predict(model, EvaluationDataset(clips, targets, FRONT_END, pad=pad), 4)

    model.head.weight.data /= logits(pad=True).std()  # so that clips get scores of their own
    labels = ("a", "b", "c")
    tagger = Tagger(
        Checkpoint(name=name, model=model, front_end=FRONT_END, labels=labels, scores="sigmoid")
    )
    expected = score_clips(tagger, clips).scores
    one_window = [place for place, seconds in enumerate(SECONDS) if seconds <= 0.5]
    any_length = model.config.any_length
    found = logits(pad=not any_length).sigmoid().numpy()
    np.testing.assert_allclose(found[one_window], expected[one_window], atol=2e-5)
    difference = np.abs(found - logits(pad=True).sigmoid().numpy()).max(axis=1)
    assert (difference < 1e-4).tolist() == [not any_length or seconds > 0.4 for seconds in SECONDS]


def test_held_out_figures_are_those_that_evaluate_finds(recipe, corpus, tmp_path):
    """Clips of 0.375 s, in an input of 0.96 s."""
    front_end = replace(recipe.front_end, n_frames=96)
    short = replace(recipe, model="cnn_small", model_changes={}, front_end=front_end)
    fitted = train.fit(short, corpus, tmp_path, fold=1, n_threads=1, progress=False)
    found = train.evaluate(tmp_path / "last", corpus, split="1", n_resamples=0).metrics
    for name in ("accuracy", "mean_average_precision", "mean_auc"):
        assert getattr(found, name) == pytest.approx(fitted.metrics[f"ema_{name}"])
