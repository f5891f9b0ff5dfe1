"""Which plan executes a mixer, and that all plans call layers that a user has changed."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiomamba.models.layers.mamba import MambaMixer, SSMConfig
from audiomamba.ops import mamba, native, use_backend
from audiomamba.ops.mamba import channel_slices, in_chunks, in_slices, plain, recomputed

DIM, TOKENS = 24, 40
LAYERS = ["in_proj", "x_proj", "dt_proj", "out_proj"]


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let small inputs be sliced, split into chunks and recomputed, as large ones are."""
    if native.problem() is not None:
        pytest.skip("needs the compiled library")
    monkeypatch.setattr(channel_slices, "SLICE_NUMBERS", 100)
    monkeypatch.setattr(in_chunks, "CHUNK_TOKENS", 16)
    monkeypatch.setattr(in_chunks, "MANY_TOKENS", 30)
    monkeypatch.setattr(in_chunks, "MANY_TOKENS_IN_SLICES", TOKENS)


def _mixer(direction="fo-bi") -> MambaMixer:
    torch.manual_seed(0)
    return MambaMixer(DIM, direction, SSMConfig())


def _plan(mixer: MambaMixer, tokens: int, *, gradient: bool = False) -> object:
    with torch.set_grad_enabled(gradient):
        hidden = torch.randn(1, tokens, DIM, requires_grad=gradient)
        return mamba.choose_plan(hidden, mixer._weights())


def test_the_plan_follows_gradients_lengths_and_layers():
    mixer = _mixer()
    assert _plan(mixer, TOKENS, gradient=True) is recomputed.mix
    assert _plan(mixer, TOKENS) is in_slices.mix
    assert _plan(mixer, TOKENS + 1) is in_chunks.mix
    assert _plan(_mixer("bi-bi"), 30) is plain.mix  # two convolutions: slices would not share them
    assert _plan(_mixer("bi-bi"), 31) is in_chunks.mix
    mixer.dt_proj.register_forward_hook(lambda *_: None)
    assert _plan(mixer, TOKENS, gradient=True) is plain.mix
    assert _plan(mixer, 30) is plain.mix
    with use_backend("torch"):
        assert _plan(_mixer(), TOKENS, gradient=True) is plain.mix


class _Quantized(Tensor):
    """A weight of a kind of its own, as libraries for quantization make it: it multiplies only."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        if func is not F.linear and "__get__" not in func.__name__:
            raise NotImplementedError(f"{func.__name__} of a quantized weight")
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))


class _Replaced(nn.Module):
    """A layer whose weight is no tensor, as PyTorch's quantized layers are."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self._layer = [layer]

    def weight(self) -> Tensor:
        return self._layer[0].weight

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = F.linear(x, self.weight(), self._layer[0].bias)
        return out


@pytest.mark.parametrize("tokens", [20, 40, 41, 100])
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("kind", ["quantized", "replaced"])
@pytest.mark.parametrize("direction", ["fo-bi", "bi-bi"])
def test_quantized_and_replaced_layers_are_called(kind, layer, tokens, direction):
    mixer, hidden = _mixer(direction), torch.randn(2, tokens, DIM)
    with torch.no_grad():
        expected = mixer(hidden)
        for name in (layer, f"{layer}_b"):
            before = getattr(mixer, name, None)
            if before is None:
                continue
            if kind == "replaced":
                setattr(mixer, name, _Replaced(before))
            else:
                weight = before.weight.detach().as_subclass(_Quantized)
                before._parameters["weight"] = weight
        found = mixer(hidden)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
