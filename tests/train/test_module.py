import numpy as np
import pytest
import soundfile
import torch
from torch import nn

from audiomamba import audio, models
from audiomamba.data import Clip, Clips, EvaluationDataset, Example
from audiomamba.data.feature_changes import FeatureChanges, SecondClip
from audiomamba.errors import TrainingError
from audiomamba.recipes import override
from audiomamba.train.fitting.losses import smooth, spread
from audiomamba.train.fitting.module import TrainingModule
from audiomamba.train.fitting.scoring import predict


def test_smoothing_moves_a_share_to_all_classes():
    target = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    expected = [[0.925, 0.025, 0.025, 0.025], [0.025] * 4]
    torch.testing.assert_close(smooth(target, 0.1), torch.tensor(expected))


def small_module(recipe, model=None) -> TrainingModule:
    if model is None:
        torch.manual_seed(0)
        changes = {"depth": 1, "dim": 32, "n_classes": 3, "n_mels": 32, "n_frames": 32}
        model = models.create("aum_tiny", **changes)
    return TrainingModule(model, recipe, recipe.front_end, 2, ["a.wav", "b.wav"])


def batch_of(recipe, scale: float = 0.1) -> Example:
    rng = np.random.default_rng(0)
    waveform = scale * rng.standard_normal((2, recipe.front_end.n_samples), dtype=np.float32)
    masks, pair = torch.zeros(2, 1, 2, dtype=torch.long), torch.zeros(2, 2, dtype=torch.long)
    nothing, whole = torch.zeros(2, 0), torch.full((2,), recipe.front_end.n_samples)
    return Example(
        torch.from_numpy(waveform),
        whole,
        torch.eye(3)[:2],
        FeatureChanges(masks, masks, pair, nothing[:, None], torch.zeros(2, dtype=torch.long)),
        SecondClip(nothing, whole, torch.ones(2), torch.zeros(2, 4, dtype=torch.long)),
        torch.arange(2),
    )


def test_training_may_be_on_shorter_pieces(recipe):
    module = small_module(override(recipe, ["training_frames=16"]))
    seen = []
    module.model.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0].shape))
    module(batch_of(recipe), 0)
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
    found = module(batch, 0)
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
        module.end_batch(0)
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
    with pytest.raises(TrainingError, match=r"loss is nan in epoch 1, step 8: .*a.wav, b.wav"):
        module(batch_of(recipe), 7)


def test_a_gradient_that_is_not_finite_names_the_weight(recipe):
    module = small_module(recipe)
    module(batch_of(recipe), 0).backward()
    module.model.head.weight.grad[0, 0] = torch.inf
    with pytest.raises(TrainingError, match=r"gradient of head.weight is not finite in epoch 1"):
        module.clip_gradients()


def test_long_gradients_are_shortened(recipe):
    module = small_module(override(recipe, ["clip_norm=0.01"]))
    (100 * module(batch_of(recipe), 0)).backward()
    module.clip_gradients()
    grads = [weight.grad.norm() for weight in module.parameters() if weight.grad is not None]
    assert torch.stack(grads).norm().item() == pytest.approx(0.01, rel=1e-3)


def test_the_mean_over_the_last_epochs_is_a_hand_computed_one(recipe):
    model = nn.Linear(2, 1)
    module = small_module(override(recipe, ["ema_decay=none", "swa_epochs=2", "epochs=4"]), model)
    handed_over = []
    for epoch, weight in enumerate([1.0, 2.0, 4.0, 8.0]):
        nn.init.constant_(model.weight, weight)
        module.end_batch(0)  # steps play no part
        module.start_epoch(epoch)
        module.end_epoch()
        handed_over.append(module.final_model.weight[0, 0].item())
    assert handed_over == [1.0, 2.0, 4.0, 6.0]
    assert module.averages


def test_the_average_moves_with_the_steps_of_the_optimizer(recipe):
    model = nn.Linear(2, 1)
    module = small_module(override(recipe, ["ema_decay=0.5", "accumulate=3"]), model)
    module.n_steps = 5  # batches: steps after the third and after the last
    counts = []
    for place in range(5):
        module.end_batch(place)
        counts.append(int(module.average.n_averaged))
    assert counts == [0, 0, 1, 1, 2]


def test_without_a_limit_gradients_keep_their_length(recipe):
    module = small_module(override(recipe, ["clip_norm=none"]))
    (100 * module(batch_of(recipe), 0)).backward()
    before = [weight.grad.clone() for weight in module.model.parameters()]
    module.clip_gradients()
    for weight, grad in zip(module.model.parameters(), before, strict=True):
        assert torch.equal(weight.grad, grad)
    module.model.head.weight.grad[0, 0] = torch.inf
    with pytest.raises(TrainingError, match=r"gradient of head.weight is not finite"):
        module.clip_gradients()


def test_a_padded_clip_is_read_as_evaluation_reads_it(recipe):
    recipe = override(recipe, ["augment.roll=false", "augment.short_clips=pad"])
    module, batch, seen = small_module(recipe), batch_of(recipe), []
    length = 1000
    batch.waveform[1, length:] = 0
    batch.n_samples[1] = length
    module.model.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    module(batch, 0)
    expected = audio.features(batch.waveform[1, :length], recipe.front_end)
    torch.testing.assert_close(seen[0][1], expected)


def test_features_of_two_clips_are_mixed(recipe):
    recipe = override(recipe, ["augment.mixup_of=features"])
    module, batch, seen = small_module(recipe), batch_of(recipe), []
    second = batch.second._replace(
        waveform=batch.waveform.flip(0), share=torch.tensor([0.25, 1.0]), n_samples=batch.n_samples
    )
    module.model.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    module(batch._replace(second=second), 0)
    plain = audio.features(batch.waveform, recipe.front_end)
    torch.testing.assert_close(seen[0][0], 0.25 * plain[0] + 0.75 * plain[1])
    torch.testing.assert_close(seen[0][1], plain[1])


def test_frozen_batch_norms_keep_their_statistics_also_after_an_evaluation(recipe, tmp_path):
    changes = {"stem": (4, 4, 4), "dim": 16, "depth": 1}
    kept = {}
    for frozen in (True, False):
        torch.manual_seed(0)
        model = models.create(
            "conv_aum_tiny", **changes, n_classes=3, n_mels=32, n_frames=recipe.front_end.n_frames
        )
        before = {name: value.clone() for name, value in model.named_buffers()}
        small = override(recipe, [f"freeze_batch_norm={str(frozen).lower()}"])
        module = small_module(small, model).train()
        module(batch_of(recipe), 0).backward()
        soundfile.write(tmp_path / "a.wav", np.zeros(4_000), 16_000)
        clips = Clips([Clip(path=tmp_path / "a.wav", labels=())])
        predict(model, EvaluationDataset(clips, np.zeros((1, 3)), recipe.front_end), 1)
        module(batch_of(recipe), 1)
        kept[frozen] = all(
            torch.equal(value, before[name]) for name, value in model.named_buffers()
        )
        norms = [it for it in model.modules() if isinstance(it, nn.BatchNorm2d)]
        assert norms
        assert all(norm.weight.grad is not None for norm in norms)
        assert module.model.training
    assert kept == {True: True, False: False}
