import pytest
import torch
from torch.utils.checkpoint import checkpoint

from audiomamba import models
from audiomamba.errors import ConfigError
from audiomamba.train.fitting import activations
from audiomamba.train.fitting.activations import checkpoint_blocks

STAGES = {"depths": (1, 2), "dims": (8, 16)}
MODELS = {
    "aum_tiny": ({"depth": 3, "dim": 16, "drop_path": 0.3}, 3),
    "ast_tiny": ({"depth": 2, "dim": 16, "n_heads": 2}, 2),
    "vim_tiny": ({"depth": 2, "dim": 16, "n_channels": 1, "direction": "alternating"}, 2),
    "conv_aum_tiny": ({"depth": 2}, 2),
    "mambaout_femto": ({**STAGES, "drop_path": 0.3}, 5),  # with the stem and the downsampling
    "vmamba_tiny_v0": ({**STAGES, "n_channels": 1}, 3),
}


@pytest.mark.parametrize("name", MODELS)
def test_gradients_are_the_same_with_checkpoints(name, monkeypatch):
    changes, n_blocks = MODELS[name]
    calls = []

    def counted(*arguments, **named):
        calls.append(1)
        return checkpoint(*arguments, **named)

    monkeypatch.setattr(activations, "checkpoint", counted)
    torch.manual_seed(0)
    model = models.create(name, **changes, n_classes=3, n_mels=32, n_frames=32)
    features = torch.randn(3, 32, 32)

    def gradients() -> list[torch.Tensor]:
        model.zero_grad()
        torch.manual_seed(1)  # of drop path
        model(features).square().sum().backward()
        return [weight.grad.clone() for weight in model.parameters() if weight.grad is not None]

    keys, plain = list(model.state_dict()), gradients()
    assert checkpoint_blocks(model) == n_blocks
    checkpointed = gradients()
    assert len(calls) == n_blocks
    assert len(plain) == len(checkpointed)
    for one, other in zip(plain, checkpointed, strict=True):
        torch.testing.assert_close(one, other, atol=0, rtol=0)
    assert list(model.state_dict()) == keys


def test_blocks_with_batch_norms_are_left_out():
    model = models.create("cnn14", widths=(4, 4, 8, 8, 8, 8), n_classes=3)
    with pytest.raises(ConfigError, match="CNN14 has no blocks that can be computed twice"):
        checkpoint_blocks(model)
