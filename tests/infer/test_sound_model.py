"""How a model takes its input: padding, device, what is around a step."""

from collections.abc import Callable
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from audiomamba import checkpoints, models
from audiomamba.audio import FrontEnd
from audiomamba.infer import Framing, Reading, Tagger
from audiomamba.infer.frame_scores import embed_frames, mean_around
from audiomamba.models.base import FrameSteps
from audiomamba.models.ood import OODDetector

RATE = 16_000
LABELS = ("bell", "dog", "rain")
SMALL = {"n_classes": 3, "n_frames": 64, "n_mels": 32}
# One that is padded to its input, one that reads short sound as it is.
MODELS = {
    "aum_tiny": {"depth": 1, "dim": 32, "class_token": "none"},
    "conv_aum_tiny": {"depth": 1, "dim": 32, "stem": (8, 8, 8)},
}


@pytest.fixture(params=list(MODELS))
def tagger(request: pytest.FixtureRequest) -> Tagger:
    torch.manual_seed(0)
    return Tagger(
        checkpoints.Checkpoint(
            name=request.param,
            model=models.create(request.param, **(SMALL | MODELS[request.param])),
            front_end=FrontEnd(n_frames=64, n_mels=32),
            labels=LABELS,
            scores="sigmoid",
        )
    )


def noise(n_samples: int) -> np.ndarray:
    return 0.1 * np.random.default_rng(0).standard_normal(n_samples).astype(np.float32)


@pytest.mark.parametrize("n_samples", [1, 399, 800, 3000, 10_000])
def test_in_one_pass_a_short_recording_has_the_timeline_that_it_has_in_windows(
    tagger: Tagger, n_samples: int
) -> None:
    recording = (noise(n_samples), RATE)

    native = tagger.timeline(recording, Framing(mode="native"))

    assert n_samples <= tagger.front_end.n_samples
    torch.testing.assert_close(native.scores, tagger.timeline(recording).scores)


def test_the_mean_around_a_step_is_over_as_many_steps_as_the_models_input_has() -> None:
    class Steps(nn.Module):
        def frame_steps(self, _n_frames: int) -> FrameSteps:
            return FrameSteps(count=5, n_frames=1.0)

    class Model:
        model = Steps()
        front_end = FrontEnd()

    values = torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0])[None, :, None]

    found = mean_around(Model(), values)[0, :, 0]  # type: ignore[arg-type]

    expected = [7 / 3, 15 / 4, 31 / 5, 62 / 5, 124 / 5, 120 / 4, 112 / 3]  # two on each side
    torch.testing.assert_close(found, torch.tensor(expected))
    torch.testing.assert_close(mean_around(Model(), values[:, :5]), torch.tensor([[[6.2]]]))  # type: ignore[arg-type]


def test_a_moment_of_a_long_recording_is_judged_by_a_windows_length_around_it(
    tagger: Tagger,
) -> None:
    """The score in one pass, computed by hand from the logits of the steps."""
    recording = (noise(40_000), RATE)
    features = tagger.one_pass_inputs(torch.from_numpy(recording[0]))
    with torch.inference_mode():
        logits = tagger.model.frame_logits(features)[0]
    steps = tagger.model.frame_steps(features.shape[1])
    half = tagger.model.frame_steps(tagger.front_end.n_frames).count // 2
    whole = [
        logits[max(0, index - half) : index + half + 1].mean(0).sigmoid()
        for index in range(steps.count)
    ]
    expected = (logits[: steps.count].sigmoid() * torch.stack(whole)).sqrt()
    step_s = steps.n_frames * tagger.front_end.frame_shift_ms / 1000

    found = tagger.timeline(recording, Framing(mode="native", step_s=step_s)).scores

    torch.testing.assert_close(found[: steps.count], expected, atol=1e-5, rtol=1e-4)


CALLS: dict[str, Callable[[Tagger, tuple[np.ndarray, int]], object]] = {
    "tag": lambda tagger, recording: tagger.tag(recording),
    "tag natively": lambda tagger, recording: tagger.tag(recording, mode="native"),
    "score": lambda tagger, recording: tagger.score_recording(recording, Reading(hop_s=0.1)),
    "timeline": lambda tagger, recording: tagger.timeline(recording),
    "timeline natively": lambda tagger, recording: tagger.timeline(
        recording, Framing(mode="native")
    ),
    "embed": lambda tagger, recording: tagger.embed(recording),
    "embed frames": lambda tagger, recording: list(embed_frames(tagger, recording)),
}


@pytest.mark.parametrize("detects", [False, True])
@pytest.mark.parametrize("call", CALLS)
def test_every_way_of_reading_brings_the_input_to_the_models_device(
    call: str, detects: bool, tagger: Tagger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the device "meta", which has shapes and no values, mixing devices fails as on a GPU."""
    monkeypatch.setattr("audiomamba.infer.sound_model.as_device", torch.device)
    tagger.ood_detector = OODDetector(3, 32, limit=1.0) if detects else None
    tagger.to("meta")
    devices = set()
    cpu = Tensor.cpu

    def back(tensor: Tensor) -> Tensor:
        devices.add(tensor.device.type)
        return torch.zeros_like(tensor, device="cpu") if tensor.is_meta else cpu(tensor)

    monkeypatch.setattr(Tensor, "cpu", back)
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # knows no "meta"

    CALLS[call](tagger, (noise(25_000), RATE))

    assert "meta" in devices
