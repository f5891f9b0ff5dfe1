import math

import numpy as np
import pytest
import torch
from torch import nn

from audiomamba import audio, models
from audiomamba.data import Example
from audiomamba.errors import TrainingError
from audiomamba.recipes import override
from audiomamba.train.module import (
    TrainingModule,
    hide,
    learning_rate_fraction,
    smooth,
    spread,
    weight_groups,
)


def test_the_schedule_rises_then_falls(recipe):
    recipe = override(recipe, ["epochs=10", "warmup_epochs=2", "final_lr_fraction=0.01"])
    fraction = learning_rate_fraction(recipe, n_steps=5)
    assert [fraction(step) for step in range(10)] == pytest.approx([i / 10 for i in range(1, 11)])
    assert fraction(10) == pytest.approx(1.0)
    assert fraction(30) == pytest.approx(0.01 + 0.99 * 0.5)
    assert fraction(40) == pytest.approx(0.01 + 0.99 * (1 + math.cos(math.pi * 0.75)) / 2)
    assert fraction(50) == pytest.approx(0.01)
    assert fraction(60) == pytest.approx(0.01)


def test_a_schedule_without_warmup_begins_at_the_top(recipe):
    assert learning_rate_fraction(override(recipe, ["warmup_epochs=0"]), 5)(0) == 1.0


@pytest.mark.parametrize("name", ["aum_tiny", "conv_aum_tiny", "ast_tiny", "cnn_small"])
def test_weight_decay_is_on_matrices_only(name):
    with torch.device("meta"):
        model = models.create(name, n_classes=3)
    decayed, rest = weight_groups(model, 0.05)
    assert (decayed["weight_decay"], rest["weight_decay"]) == (0.05, 0.0)
    names = {id(weight): key for key, weight in model.named_parameters()}
    free = {names[id(weight)] for weight in rest["params"]}
    held = {names[id(weight)] for weight in decayed["params"]}
    assert free | held == set(names.values())
    assert not free & held
    assert all(key.endswith(".weight") for key in held)
    spared = ("bias", "A_log", "A_b_log", ".D", "pos_embed", "cls_token", "cls_token_head")
    assert all(key in free for key in names.values() if key.endswith(spared))
    assert "head.weight" in held


def test_smoothing_moves_a_share_to_all_classes():
    target = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    expected = [[0.925, 0.025, 0.025, 0.025], [0.025] * 4]
    torch.testing.assert_close(smooth(target, 0.1), torch.tensor(expected))


def test_masks_hide_their_ranges():
    features = torch.ones(2, 4, 5)
    mel_masks = torch.tensor([[[1, 3]], [[0, 0]]])
    frame_masks = torch.tensor([[[0, 1], [3, 4]], [[2, 2], [0, 0]]])
    hidden = hide(features, mel_masks, frame_masks)
    assert hidden[0].tolist() == [[0] * 5, [1, 0, 0, 1, 1], [1, 0, 0, 1, 1], [0] * 5]
    assert hidden[1].eq(1).all()


def test_no_masks_hide_nothing():
    nothing = torch.zeros(2, 0, 2, dtype=torch.long)
    assert hide(torch.ones(2, 4, 5), nothing, nothing).eq(1).all()


def small_module(recipe, model=None) -> TrainingModule:
    if model is None:
        torch.manual_seed(0)
        changes = {"depth": 1, "dim": 32, "n_classes": 3, "n_mels": 32, "n_frames": 32}
        model = models.create("aum_tiny", **changes)
    return TrainingModule(model, recipe, recipe.front_end, 2, ["a.wav", "b.wav"])


def batch_of(recipe, scale: float = 0.1) -> Example:
    rng = np.random.default_rng(0)
    waveform = scale * rng.standard_normal((2, recipe.front_end.n_samples), dtype=np.float32)
    masks = torch.zeros(2, 1, 2, dtype=torch.long)
    return Example(torch.from_numpy(waveform), torch.eye(3)[:2], masks, masks, torch.arange(2))


def test_training_may_be_on_shorter_pieces(recipe):
    module = small_module(override(recipe, ["training_frames=16"]))
    seen = []
    module.model.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0].shape))
    module.training_step(batch_of(recipe), 0)
    assert seen == [(2, 16, 32)]


@pytest.mark.parametrize("loss", ["bce", "ce"])
def test_the_loss_is_the_written_one(recipe, loss):
    recipe = override(recipe, [f"loss={loss}", "augment.negatives=0", "label_smoothing=0.1"])
    module, batch = small_module(recipe).eval(), batch_of(recipe)
    logits = module.model(audio.features(batch.waveform, recipe.front_end)).double()
    target = smooth(batch.target, 0.1).double()
    if loss == "ce":
        expected = -(target * logits.log_softmax(dim=-1)).sum(dim=-1).mean()
    else:
        p = logits.sigmoid()
        expected = -(target * p.log() + (1 - target) * (1 - p).log()).mean()
    found = module.training_step(batch, 0)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_clip_of_no_class_asks_for_even_scores():
    target = torch.tensor([[0.0, 0.0, 0.0, 0.0], [0.75, 0.25, 0.0, 0.0], [0.5, 0.0, 0.0, 0.0]])
    expected = torch.tensor([[0.25] * 4, [0.75, 0.25, 0.0, 0.0], [0.625, 0.125, 0.125, 0.125]])
    torch.testing.assert_close(spread(target), expected)


def test_the_average_follows_a_hand_computed_one(recipe):
    model = nn.Sequential(nn.Linear(2, 1), nn.BatchNorm1d(1))
    module = small_module(override(recipe, ["ema_decay=0.9"]), model)
    weights, means, counts = [0.0, 1.0, 3.0], [0.5, 2.0, 0.0], [1, 2, 3]
    for weight, mean, count in zip(weights, means, counts, strict=True):
        nn.init.constant_(model[0].weight, weight)
        model[1].running_mean.fill_(mean)
        model[1].num_batches_tracked.fill_(count)
        module.on_train_batch_end(None, batch_of(recipe), 0)
    averaged = module.final_model
    first = 0.9 * 0.0 + 0.1 * 1.0
    torch.testing.assert_close(averaged[0].weight, torch.full((1, 2), 0.9 * first + 0.1 * 3.0))
    first = 0.9 * 0.5 + 0.1 * 2.0
    torch.testing.assert_close(averaged[1].running_mean, torch.full((1,), 0.9 * first))
    assert not any(weight.requires_grad for weight in averaged.parameters())


def test_without_an_average_the_weights_are_handed_over(recipe):
    module = small_module(override(recipe, ["ema_decay=none"]))
    assert module.final_model is module.model
    assert module.average is None


def test_a_loss_that_is_not_finite_names_epoch_and_clips(recipe):
    module = small_module(recipe)
    with torch.no_grad():
        module.model.head.bias.fill_(torch.nan)
    with pytest.raises(TrainingError, match=r"loss is nan in epoch 1, step 8; .*a.wav, b.wav"):
        module.training_step(batch_of(recipe), 7)


def test_a_gradient_that_is_not_finite_names_the_weight(recipe):
    module = small_module(recipe)
    module.training_step(batch_of(recipe), 0).backward()
    module.model.head.weight.grad[0, 0] = torch.inf
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    with pytest.raises(TrainingError, match=r"gradient of head.weight is not finite in epoch 1"):
        module.configure_gradient_clipping(optimizer)


def test_long_gradients_are_shortened(recipe):
    module = small_module(override(recipe, ["clip_norm=0.01"]))
    (100 * module.training_step(batch_of(recipe), 0)).backward()
    module.configure_gradient_clipping(torch.optim.SGD(module.parameters(), lr=0.1))
    grads = [weight.grad.norm() for weight in module.parameters() if weight.grad is not None]
    assert torch.stack(grads).norm().item() == pytest.approx(0.01, rel=1e-3)
