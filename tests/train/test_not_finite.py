"""Real models made to fail: the first layer is named, and the clips."""

import pytest
import torch
from torch import nn

from audiomamba import models, train
from audiomamba.errors import TrainingError
from audiomamba.train.fitting.module import TrainingModule
from audiomamba.train.fitting.not_finite import name_layer, name_layer_of_gradient, record_outputs


def small(name: str, **changes) -> models.AudioModel:
    torch.manual_seed(0)
    return models.create(name, n_classes=3, n_mels=32, n_frames=32, **changes)


@pytest.mark.parametrize(
    ("name", "changes", "layer"),
    [
        ("aum_tiny", {"depth": 3, "dim": 32}, "layers.1.mixer"),
        ("ast_tiny", {"depth": 3}, "blocks.2.mlp"),
    ],
)
def test_the_first_layer_is_named(name, changes, layer):
    model = small(name, **changes)
    names = [it for it, _ in model.named_modules() if it.startswith(layer)]
    assert names, [it for it, _ in model.named_modules()]
    broken = next(it for it in names if hasattr(model.get_submodule(it), "weight"))
    weight = model.get_submodule(broken).weight
    with torch.no_grad():
        weight.fill_(3e38)  # finite, but not the sum
    found = name_layer(model, torch.randn(2, 32, 32))
    assert found == f"the output of {broken} is the first that is not finite"
    with torch.no_grad():
        weight[0, 0] = torch.nan
    assert name_layer(model, torch.randn(2, 32, 32)).endswith("not finite, nor is its weight")


def test_features_that_are_not_finite_are_named():
    features = torch.zeros(2, 32, 32)
    features[1, 3, 3] = torch.inf
    model = small("aum_tiny", depth=1, dim=32)
    assert name_layer(model, features) == "the features are not finite"


def test_nothing_is_blamed_without_need():
    model = small("aum_tiny", depth=1, dim=32)
    assert name_layer(model, torch.randn(2, 32, 32)) == "the outputs of all layers are finite"
    with record_outputs(model) as outputs:
        loss = model(torch.randn(2, 32, 32)).sum()
    assert name_layer_of_gradient(loss, outputs) is None
    assert not any(layer._forward_hooks for layer in model.modules())


def test_the_layer_where_the_gradient_fails_is_named():
    """The square root's slope at 0 is infinite: all outputs are finite, its gradient is not."""

    class Root(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.clamp_min(0).sqrt()

    model = nn.Sequential(nn.Linear(2, 2), Root(), nn.Linear(2, 1))
    nn.init.zeros_(model[0].weight)
    nn.init.zeros_(model[0].bias)
    with record_outputs(model) as outputs:
        loss = model(torch.ones(1, 2)).sum()
    assert loss.isfinite()
    assert name_layer_of_gradient(loss, outputs) == "0"


def test_a_run_names_layer_and_clips(corpus, recipe, tmp_path, monkeypatch):
    """A weight grows beyond all bounds in the second epoch."""
    start = TrainingModule.start_epoch

    def start_and_break(self, epoch, *done) -> None:
        start(self, epoch, *done)
        if epoch == 1:
            with torch.no_grad():
                self.model.norm_f.weight.fill_(3e38)

    monkeypatch.setattr(TrainingModule, "start_epoch", start_and_break)
    with pytest.raises(
        TrainingError,
        match=r"the loss is nan in epoch 2, step 1: the output of head is the first that is "
        r"not finite; .*: 2-[A-D]-\d\.wav(, 2-[A-D]-\d\.wav){3}$",
    ):
        train.fit(recipe, corpus, tmp_path, fold=1, n_threads=1, progress=False)


def test_a_gradient_that_is_not_finite_names_layer_and_clips(corpus, recipe, tmp_path, monkeypatch):
    """Outputs are finite, but not the slope of the square root at 0."""
    start = TrainingModule.start_epoch

    def start_and_break(self, epoch, *done) -> None:
        start(self, epoch, *done)
        self.model.head.register_forward_hook(lambda _head, _inputs, out: out + (0 * out).sqrt())

    monkeypatch.setattr(TrainingModule, "start_epoch", start_and_break)
    with pytest.raises(
        TrainingError,
        match=r"the gradient of the output of layers.0 is not finite in epoch 1; "
        r".*: 2-[A-D]-\d\.wav",
    ):
        train.fit(recipe, corpus, tmp_path, fold=1, n_threads=1, progress=False)


def test_gradients_that_are_too_long_together_are_refused(recipe):
    """Each is finite, the sum of their squares is not."""
    torch.manual_seed(0)
    module = TrainingModule(nn.Linear(2, 2), recipe, recipe.front_end, 2, ["a.wav"])
    for weight in module.model.parameters():
        weight.grad = torch.full_like(weight, 1e30)
    with pytest.raises(TrainingError, match="gradient of all weights together is not finite"):
        module.clip_gradients()
