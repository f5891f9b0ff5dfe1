"""What the validator of the HEAR benchmark checks, and what its API says beyond that."""

import pytest
import torch
from torch import Tensor, nn

from audiomamba import checkpoints, models
from audiomamba.audio import FrontEnd
from audiomamba.errors import ConfigError, UnknownNameError
from audiomamba.hear_benchmark import (
    Model,
    get_scene_embeddings,
    get_timestamp_embeddings,
    load_model,
)
from audiomamba.infer import Tagger


def with_class_token() -> Model:
    """A small untrained model that scores windows only."""
    torch.manual_seed(0)
    checkpoint = checkpoints.Checkpoint(
        name="tiny",
        model=models.create("aum_tiny", n_classes=3, n_frames=32, n_mels=32, depth=1, dim=32),
        front_end=FrontEnd(n_frames=32, n_mels=32),
        labels=("bell", "dog", "rain"),
        scores="sigmoid",
    )
    return Model(Tagger(checkpoint)).eval()


@pytest.fixture(scope="module", params=[load_model, with_class_token], ids=["general", "tiny"])
def model(request: pytest.FixtureRequest) -> Model:
    made: Model = request.param()
    return made


def noise(model: Model, n_sounds: int, seconds: float) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return 2 * torch.rand(n_sounds, int(seconds * model.sample_rate), generator=generator) - 1


def test_the_model_has_what_the_benchmark_asks_for(model: Model) -> None:
    assert isinstance(model, nn.Module)
    assert model.sample_rate == model.tagger.front_end.sample_rate
    assert isinstance(model.scene_embedding_size, int)
    assert isinstance(model.timestamp_embedding_size, int)
    assert not model.training
    assert sum(one.numel() for one in model.parameters())


@pytest.mark.parametrize("seconds", [0.001, 0.3, 1.07, 1.98, 4.0, 11.3])
def test_timestamps_are_even_and_reach_from_end_to_end(model: Model, seconds: float) -> None:
    embeddings, timestamps = get_timestamp_embeddings(noise(model, 2, seconds), model)

    assert embeddings.shape == (*timestamps.shape, model.timestamp_embedding_size)
    assert embeddings.dtype == torch.float32
    assert embeddings.isfinite().all()
    assert timestamps.shape[0] == 2
    assert timestamps[0, 0] <= 50
    if timestamps.shape[1] > 1:
        torch.testing.assert_close(timestamps.diff(), torch.full_like(timestamps[:, 1:], 50.0))
        assert 1000 * seconds - 50 <= timestamps[0, -1] <= 1000 * seconds


def test_a_scene_has_one_embedding_that_can_be_trained_on(model: Model) -> None:
    embeddings = get_scene_embeddings(noise(model, 4, 2.74), model)

    assert embeddings.shape == (4, model.scene_embedding_size)
    assert embeddings.dtype == torch.float32
    probe = nn.Linear(model.scene_embedding_size, 1)
    probe(embeddings).sum().backward()
    assert probe.weight.grad is not None


def test_a_sound_has_the_same_embeddings_in_any_batch(model: Model) -> None:
    sounds = noise(model, 3, 6.2)

    alone = get_scene_embeddings(sounds[1:2], model)
    frames_alone, _ = get_timestamp_embeddings(sounds[1:2], model)

    torch.testing.assert_close(get_scene_embeddings(sounds, model)[1:2], alone)
    torch.testing.assert_close(get_timestamp_embeddings(sounds, model)[0][1:2], frames_alone)


def test_a_sound_moves_in_time_with_its_embeddings() -> None:
    model = load_model()
    quiet = 0.001 * noise(model, 1, 4.0)
    loud = quiet.clone()
    rate = model.sample_rate
    loud[:, 2 * rate : 2 * rate + rate // 2] += 0.5 * noise(model, 1, 0.5)

    changed = get_timestamp_embeddings(loud, model)[0] - get_timestamp_embeddings(quiet, model)[0]

    strength = changed[0].norm(dim=1)
    at_s = 0.025 + 0.05 * float(strength.argmax())
    assert 1.9 < at_s < 2.6


def test_other_shapes_and_names_are_refused(model: Model) -> None:
    with pytest.raises(ConfigError, match=r"shape \(16000,\); expected \(sounds, samples\)"):
        get_scene_embeddings(torch.zeros(16_000), model)
    with pytest.raises(UnknownNameError):
        load_model("nothing")
