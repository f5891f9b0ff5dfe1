"""The mixer on long sequences: chunks that carry the state give what the whole gives."""

import itertools

import pytest
import torch

from audiomamba import models
from audiomamba.models.layers.mamba import MambaMixer, SSMConfig
from audiomamba.ops.mamba import channel_slices, in_chunks

SIZES = ("CHUNK_TOKENS", "MANY_TOKENS", "MANY_TOKENS_IN_SLICES")
FORMS = [("fo-fo", False), ("fo-fo", True), ("fo-bi", False), ("bi-bi", False)]


def set_chunk(monkeypatch, tokens: int) -> None:
    """Read whatever is longer than two chunks of so many tokens in such chunks."""
    for name, factor in zip(SIZES, (1, 2, 2), strict=True):
        monkeypatch.setattr(in_chunks, name, factor * tokens)


def mixer(direction="fo-bi", reverse=False) -> MambaMixer:
    torch.manual_seed(0)
    return MambaMixer(24, direction, SSMConfig(), reverse=reverse)


@pytest.mark.parametrize(
    ("form", "lengths"), [*itertools.product(FORMS, [None, [101, 3, 50]])], ids=str
)
def test_chunks_give_what_the_whole_gives(form, lengths, monkeypatch):
    one, hidden = mixer(*form), torch.randn(3, 101, 24)
    lengths = None if lengths is None else torch.tensor(lengths)
    expected = one(hidden, lengths).detach()
    for tokens in (1, 2, 16, 50):
        set_chunk(monkeypatch, tokens)
        with torch.no_grad():
            found = one(hidden, lengths)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_only_what_needs_no_gradient_runs_in_chunks(monkeypatch):
    set_chunk(monkeypatch, 8)
    seen: list[int] = []
    one = mixer()
    one.in_proj.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape[1]))
    hidden = torch.randn(1, 32, 24)
    one(hidden).sum().backward()
    assert seen == [32]
    with torch.inference_mode():
        one(hidden[:, :16])
        assert seen == [32, 16]
        one(hidden)
    assert max(seen[2:]) == 8 + 3


def test_compiled_and_exported_models_read_whole_sequences(monkeypatch):
    model = models.create("aum_tiny", n_classes=3, n_mels=32, n_frames=64, dim=24, depth=1).eval()
    x = torch.randn(1, 256, 32)
    with torch.no_grad():
        expected = model(x)
        set_chunk(monkeypatch, 8)
        torch.testing.assert_close(model(x), expected, rtol=1e-5, atol=1e-6)
        torch.compiler.reset()
        compiled = torch.compile(model, fullgraph=True, backend="eager")
        program = torch.export.export(model, (x,))
        monkeypatch.setattr(in_chunks, "mix", None)
        torch.testing.assert_close(compiled(x), expected, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(program.module()(x), expected, rtol=1e-5, atol=1e-6)


def test_a_model_exported_for_any_length_has_no_limit():
    one, tokens = mixer(), torch.export.Dim("tokens", min=2, max=1 << 20)
    with torch.no_grad():
        program = torch.export.export(
            one, (torch.randn(1, 64, 24), None), dynamic_shapes=({1: tokens}, None)
        )
        hidden = torch.randn(1, in_chunks.MANY_TOKENS_IN_SLICES + 5, 24)
        torch.testing.assert_close(
            program.module()(hidden, None), one(hidden), rtol=1e-5, atol=1e-6
        )


def test_long_sequences_take_less_memory_than_all_activations():
    """What is expanded is never there for all tokens at once."""
    one, most = mixer(), 0
    hidden = torch.zeros(1, in_chunks.MANY_TOKENS_IN_SLICES + 1, 24)

    def watch(_module, _inputs, output):
        nonlocal most
        most = max(most, output.shape[1])

    for layer in (one.in_proj, one.x_proj, one.out_proj):
        layer.register_forward_hook(watch)
    with torch.inference_mode():
        one(hidden)
    assert most <= in_chunks.CHUNK_TOKENS + 3


@pytest.mark.parametrize("lengths", [None, [301, 3, 50]], ids=str)
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_slices_of_channels_give_what_the_whole_gives(form, lengths, monkeypatch):
    torch.manual_seed(0)
    direction, reverse = form
    one = MambaMixer(96, direction, SSMConfig(), reverse=reverse)
    hidden = torch.randn(3, 301, 96)
    lengths = None if lengths is None else torch.tensor(lengths)
    expected = one(hidden, lengths).detach()
    monkeypatch.setattr(channel_slices, "SLICE_NUMBERS", 1000)
    monkeypatch.setattr(channel_slices, "SLICE_CHANNELS", 8)
    with torch.no_grad():
        torch.testing.assert_close(one(hidden, lengths), expected, rtol=1e-5, atol=1e-6)
