import pytest
import torch

from audiomamba import models
from audiomamba.errors import ConfigError
from audiomamba.models.layers.attention import Attention

SIZE = {"n_classes": 3, "n_mels": 32, "n_frames": 48, "dim": 16, "depth": 2, "n_heads": 2}


def ast(**changes) -> models.AST:
    torch.manual_seed(0)
    return models.create("ast_tiny", **SIZE | changes).eval()


def test_attention_is_the_softmax_of_scaled_products():
    attention = Attention(12, 3)
    x = torch.randn(2, 5, 12)
    heads = []
    for query, key, value in zip(
        *(it.split(4, 2) for it in attention.qkv(x).chunk(3, 2)), strict=True
    ):
        heads.append((query @ key.transpose(1, 2) / 4**0.5).softmax(dim=2) @ value)
    torch.testing.assert_close(attention(x), attention.proj(torch.cat(heads, dim=2)))


def test_the_vector_is_the_mean_of_two_class_tokens():
    x = torch.randn(2, 48, 32)
    model = ast(class_tokens="with-distillation", stride=(10, 10))
    tokens = model.tokens(x)
    assert tokens.shape == (2, 2 + 2 * 4, 16)
    torch.testing.assert_close(model.embed(x), model.head_norm((tokens[:, 0] + tokens[:, 1]) / 2))


def test_without_its_norm_the_head_reads_the_class_token():
    x = torch.randn(2, 48, 32)
    model = ast(head_norm=False)
    assert not any(key.startswith("head_norm") for key in model.state_dict())
    torch.testing.assert_close(model.embed(x), model.tokens(x)[:, 0])


def test_only_the_configured_size_is_read():
    with pytest.raises(ConfigError, match="features have 47 frames; this model takes 48"):
        ast()(torch.randn(1, 47, 32))
    with pytest.raises(ConfigError, match="images are 32 by 64; this model takes 32 by 48"):
        ast(n_channels=3)(torch.randn(1, 3, 32, 64))


@pytest.mark.parametrize(
    "changes",
    [
        {"class_tokens": "with-distillation", "stride": (10, 10)},
        {"n_channels": 3, "head_norm": False},
    ],
)
def test_compiles_and_exports_whole(changes):
    model = ast(**changes)
    x = torch.randn(2, 3, 32, 48) if changes.get("n_channels") == 3 else torch.randn(2, 48, 32)
    program = torch.export.export(model, (x,))
    torch.testing.assert_close(program.module()(x), model(x))
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), model(x))
