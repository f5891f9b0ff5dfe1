"""Model folders in the transformers library; the only tests that load it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from loopback import Hub, Start

import audiomamba
from audiomamba import checkpoints, models
from audiomamba.audio import FrontEnd
from audiomamba.checkpoints import Checkpoint
from audiomamba.models.ood import OODDetector

LABELS = ("bell", "dog", "rain")
RATE = 16_000


def checkpoint_of(scores: str, *, detector: bool) -> Checkpoint:
    torch.manual_seed(0)
    model = models.create("conv_aum_tiny", n_classes=3, n_frames=400, n_mels=64, dim=32, depth=1)
    found = OODDetector(2, 32, 1.5) if detector else None
    if found is not None:
        found.means.normal_()
    return Checkpoint(
        name="small",
        model=model.eval(),
        front_end=FrontEnd(n_frames=400, n_mels=64),
        labels=LABELS,
        scores="softmax" if scores == "softmax" else "sigmoid",
        ood_detector=found,
        hidden=("rain",),
        license="CC0-1.0",
    )


@pytest.fixture(scope="module", params=["sigmoid", "softmax and detector in float16"])
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as save writes it; its window is about 4 s."""
    scores = request.param.split()[0]
    dtype = torch.float16 if "float16" in request.param else torch.float32
    folder = tmp_path_factory.mktemp("models") / scores
    checkpoint = checkpoint_of(scores, detector="detector" in request.param)
    checkpoints.save(folder, checkpoint, dtype=dtype)
    return folder


def sound(seconds: float) -> np.ndarray:
    rng = np.random.default_rng(1)
    return (0.1 * rng.standard_normal(round(seconds * RATE))).astype(np.float32)


def pipeline_of(folder: Path | str, **options: Any) -> Any:
    from transformers import pipeline

    return pipeline("audio-classification", model=str(folder), top_k=None, **options)


def scores_of(tags: list[Any]) -> dict[str, float]:
    return {it["label"]: it["score"] for it in tags}


def test_the_pipeline_gives_what_the_tagger_gives_at_any_length(saved: Path) -> None:
    pipe = pipeline_of(saved, trust_remote_code=True)
    tagger = audiomamba.load(saved, all_labels=True)

    for seconds in (0.3, 5, 12):
        samples = sound(seconds)
        found = scores_of(pipe(samples.copy()))
        expected = {tag.label: tag.score for tag in tagger.tag((samples, RATE))}
        assert found == pytest.approx(expected, abs=1e-6)


def test_clips_of_different_length_in_a_batch_are_as_alone(saved: Path) -> None:
    from transformers import AutoFeatureExtractor, AutoModelForAudioClassification

    import audiomamba.hf

    model = AutoModelForAudioClassification.from_pretrained(saved)
    extractor = AutoFeatureExtractor.from_pretrained(saved)
    clips = [sound(0.3), sound(5)]

    assert isinstance(model, audiomamba.hf.AudioMambaModel)
    inputs = extractor(clips, sampling_rate=RATE, padding=True, return_tensors="pt")
    together = model(**inputs).logits.sigmoid()
    tagger = audiomamba.load(saved, all_labels=True)
    alone = torch.stack([tagger.scores((clip, RATE)) for clip in clips])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-6)


def test_a_model_is_saved_bit_for_bit_in_both_worlds(saved: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForAudioClassification

    import audiomamba.hf

    model = AutoModelForAudioClassification.from_pretrained(saved)
    assert isinstance(model, audiomamba.hf.AudioMambaModel)
    model.save_pretrained(tmp_path / "again")
    again = AutoModelForAudioClassification.from_pretrained(tmp_path / "again")

    first, second = checkpoints.load(saved), checkpoints.load(tmp_path / "again")
    assert (second.labels, second.scores, second.hidden, second.license) == (
        first.labels,
        first.scores,
        first.hidden,
        first.license,
    )
    for one, other in ((first.model, second.model), (model, again)):
        for key, value in one.state_dict().items():
            assert value.dtype == torch.float32 or not value.is_floating_point()
            assert torch.equal(value, other.state_dict()[key])
    assert (tmp_path / "again" / "preprocessor_config.json").is_file()


def test_another_task_gets_a_new_head_and_learns(saved: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForAudioClassification

    import audiomamba.hf

    model = AutoModelForAudioClassification.from_pretrained(
        saved, id2label={0: "a", 1: "b"}, label2id={"a": 0, "b": 1}, ignore_mismatched_sizes=True
    )
    assert isinstance(model, audiomamba.hf.AudioMambaModel)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    inputs = torch.from_numpy(np.stack([sound(1), np.roll(sound(1), 7) * 0.01]))
    losses = []
    model.train()
    for _ in range(4):
        loss = model(input_values=inputs, labels=torch.tensor([0, 1])).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    model.eval().save_pretrained(tmp_path / "new")

    assert losses[-1] < losses[0]
    assert audiomamba.load(tmp_path / "new").labels == ("a", "b")


def test_a_repository_is_a_pipeline(server: Hub, tmp_path: Path, start: Start) -> None:
    saved = tmp_path / "small"
    checkpoints.save(saved, checkpoint_of("sigmoid", detector=False))
    server.put("org/small", {it.name: it.read_bytes() for it in saved.iterdir()})

    process = start(
        "import numpy as np; from transformers import pipeline; "
        "p = pipeline('audio-classification', 'org/small', trust_remote_code=True); "
        "print(p(np.zeros(16000, np.float32))[0]['label'])"
    )
    out, errors = process.communicate(timeout=120)

    assert process.returncode == 0, errors
    assert out.strip() in LABELS
