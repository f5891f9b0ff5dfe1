"""The zoo by the contract of timm, and embeddings by that of scikit-learn."""

from pathlib import Path

import numpy as np
import pytest
import test_from_ast
import torch
from loopback import Hub
from safetensors.torch import save

from audiomamba import checkpoints, infer, models
from audiomamba.errors import CheckpointError, ConfigError, UnknownNameError
from audiomamba.features import Embedder


def test_models_are_listed_by_pattern() -> None:
    assert models.list_models() == models.names()
    assert models.list_models("aum_*") == ["aum_base", "aum_small", "aum_tiny"]
    assert "ast_base_audioset" in models.list_models("ast*", pretrained=True)
    assert models.list_models("nothing*") == []


def test_a_model_is_made_with_trained_weights_and_another_head(folder: Path) -> None:
    model = models.create(str(folder), pretrained=True)
    other = models.create(str(folder), pretrained=True, n_classes=7, drop_path=0.25)

    saved = checkpoints.load(folder).model
    assert model.training
    assert torch.equal(model.head.weight, saved.head.weight)
    assert other.config.n_classes == len(other.head.weight) == 7
    assert other.config.drop_path == 0.25
    for key, value in saved.state_dict().items():
        assert key.startswith("head.") or torch.equal(value, other.state_dict()[key])


def test_the_name_of_a_model_gets_its_first_released_weights(
    server: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    small = models.create("ast_gong_base", dim=32, depth=1, n_heads=1, n_classes=35, n_frames=128)
    state = test_from_ast.hugging_face(small.state_dict())
    commit = server.put("MIT/ast", {"model.safetensors": save(state)})
    record = checkpoints.RELEASED[
        [it.name for it in checkpoints.RELEASED].index("ast_base_audioset")
    ]
    monkeypatch.setitem(record.__dict__, "repo", "MIT/ast")
    monkeypatch.setitem(record.__dict__, "revision", commit)
    monkeypatch.setitem(record.__dict__, "sha256", None)

    model = models.create("ast_gong_base", pretrained=True)

    assert torch.equal(model.state_dict()["pos_embed"], small.state_dict()["pos_embed"])


@pytest.mark.parametrize(
    ("name", "changes", "error", "message"),
    [
        ("htsat_tiny", {}, CheckpointError, "are linked on https://github.com/RetroCirce"),
        ("cnn_small", {}, ConfigError, "nobody has released weights of cnn_small"),
        ("nothing", {}, UnknownNameError, "unknown model or model folder"),
        ("general", {"colour": 1}, UnknownNameError, "unknown field of MobileAuMConfig"),
        ("general", {"dim": 8}, CheckpointError, "the trained general does not fit MobileAuM"),
    ],
)
def test_what_cannot_be_made_is_one_line(
    name: str, changes: dict[str, int], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        models.create(name, pretrained=True, **changes)


def test_embeddings_are_a_step_of_a_scikit_learn_pipeline() -> None:
    from sklearn.base import clone
    from sklearn.exceptions import NotFittedError

    rate = 32_000
    sounds = [np.sin(np.arange(rate) * f).astype(np.float32) for f in (0.05, 0.5)]
    step = clone(Embedder(sample_rate=rate))

    with pytest.raises(NotFittedError):
        step.transform(sounds)
    found = step.fit_transform(sounds)

    expected = infer.load("general").embed((sounds[1], rate)).numpy()
    np.testing.assert_array_equal(found[1], expected)
    np.testing.assert_array_equal(step.transform([(sounds[0], rate)])[0], found[0])
    np.testing.assert_array_equal(step.transform(np.stack(sounds)), found)
    assert list(step.get_feature_names_out()[:2]) == ["embedding0", "embedding1"]
    assert len(step.get_feature_names_out()) == found.shape[1]
