"""A mixer that keeps little for its gradient against the same mixer op by op."""

import pytest
import torch
from torch import Tensor, nn

from audiomamba import models
from audiomamba.models.layers.mamba import MambaBlock, SSMConfig
from audiomamba.ops import native, use_backend
from audiomamba.ops.mamba import channel_slices, recomputed

FORMS = [("fo-fo", False), ("fo-fo", True), ("fo-bi", False), ("bi-bi", False)]
DIM, TOKENS = 72, 45  # 144 channels: slices of 64, 64 and 16
Results = dict[str, Tensor]


@pytest.fixture(autouse=True)
def _slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut the channels of small tensors, as those of large ones are."""
    if native.problem() is not None:
        pytest.skip("needs the compiled library")
    monkeypatch.setattr(channel_slices, "SLICE_NUMBERS", 1000)
    monkeypatch.setattr(channel_slices, "SLICE_CHANNELS", 8)


def _block(form: tuple[str, bool], norm: str = "rms") -> MambaBlock:
    torch.manual_seed(0)
    direction, reverse = form
    block = MambaBlock(
        DIM, direction, SSMConfig(), depth=2, drop_path=0.0, norm=norm, reverse=reverse
    )
    for weight in block.parameters():  # no D of ones, no norm of ones
        nn.init.normal_(weight, std=0.3)
    return block


def _results(block: MambaBlock, lengths: Tensor | None = None) -> Results:
    """Outputs and all gradients of a block."""
    generator = torch.Generator().manual_seed(1)
    dtype = next(block.parameters()).dtype
    sizes = [(2, TOKENS, DIM)] * 4
    hidden, residual, *toward = (torch.randn(size, generator=generator) for size in sizes)
    hidden = hidden.to(dtype).requires_grad_()
    residual.requires_grad_()
    block.zero_grad()
    mixed, total = block(hidden, residual, lengths)
    ((mixed.float() * toward[0]).sum() + (total * toward[1]).sum()).backward()
    grads = {name: weight.grad for name, weight in block.named_parameters()}
    return {"mixed": mixed, "total": total, "hidden": hidden.grad, "residual": residual.grad} | {
        name: grad for name, grad in grads.items() if grad is not None
    }


def _op_by_op(
    block: MambaBlock, lengths: Tensor | None, monkeypatch: pytest.MonkeyPatch
) -> Results:
    with monkeypatch.context() as patch:
        patch.setattr(recomputed, "suits", lambda *_: False)
        return _results(block, lengths)


def _count_runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by an entry with each call that keeps little."""
    runs: list[int] = []
    run = recomputed.mamba_inner

    def counted(*given, **options):
        runs.append(1)
        return run(*given, **options)

    monkeypatch.setattr(recomputed, "mamba_inner", counted)
    return runs


def _compare(found: Results, expected: Results, tolerance: float) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype, name
        scale = tensor.float().abs().max()
        error = (found[name].float() - tensor.float()).abs().max()
        assert error <= tolerance * scale, f"{name}: {error / scale:.1e}"


@pytest.mark.parametrize("lengths", [None, [TOKENS, 17]], ids=str)
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_outputs_and_gradients_are_those_of_the_ops(form, lengths, monkeypatch):
    lengths = None if lengths is None else torch.tensor(lengths)
    runs = _count_runs(monkeypatch)
    block = _block(form)
    found = _results(block, lengths)
    assert len(runs) == (2 if form[0] == "bi-bi" else 1)
    assert len(found) == 4 + len(list(block.parameters()))
    _compare(found, _op_by_op(block, lengths, monkeypatch), 2e-6)


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("autocast", [True, False])
def test_bfloat16(form, autocast, monkeypatch):
    block = _block(form) if autocast else _block(form).bfloat16()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        found = _results(block)
        _compare(found, _op_by_op(block, None, monkeypatch), 2e-2)


def test_a_block_with_another_norm(monkeypatch):
    block = _block(("fo-bi", False), norm="layer")
    _compare(_results(block), _op_by_op(block, None, monkeypatch), 2e-6)


def test_frozen_weights_get_no_gradient(monkeypatch):
    block = _block(("fo-bi", False))
    frozen = {"mixer.in_proj.weight", "mixer.out_proj.weight", "mixer.A_b_log", "mixer.conv1d.bias"}
    for name, weight in block.named_parameters():
        weight.requires_grad_(name not in frozen)
    runs, found = _count_runs(monkeypatch), _results(block)
    assert runs
    assert not frozen & found.keys()
    _compare(found, _op_by_op(block, None, monkeypatch), 2e-6)


def test_backward_twice_gives_the_same():
    block = _block(("fo-bi", False))
    hidden = torch.randn(2, TOKENS, DIM, requires_grad=True)
    loss = block(hidden, None)[0].pow(2).sum()
    first = torch.autograd.grad(loss, [hidden, *block.parameters()], retain_graph=True)
    second = torch.autograd.grad(loss, [hidden, *block.parameters()])
    assert all(map(torch.equal, first, second))


def test_another_number_of_threads_may_go_back():
    block = _block(("fo-bi", False))
    hidden = torch.randn(2, TOKENS, DIM, requires_grad=True)
    expected = torch.autograd.grad(block(hidden, None)[0].pow(2).sum(), hidden)[0]
    loss = block(hidden, None)[0].pow(2).sum()
    torch.set_num_threads(16)  # then there would be fewer slices
    found = torch.autograd.grad(loss, hidden)[0]
    _compare({"hidden": found}, {"hidden": expected}, 2e-6)


def test_weights_may_lie_transposed(monkeypatch):
    block = _block(("fo-bi", False))
    mixer = block.mixer
    for name in ("A_log", "A_b_log"):
        weight = getattr(mixer, name).detach()
        setattr(mixer, name, nn.Parameter(weight.t().contiguous().t()))
    _compare(_results(block), _op_by_op(block, None, monkeypatch), 2e-6)


def _kept(block: MambaBlock) -> int:
    """Numbers kept for the gradient, without weights, in units of u."""
    seen: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, nn.Parameter):
            seen[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes() // 4
        return tensor

    hidden = torch.randn(2, 640, DIM, requires_grad=True)
    residual = torch.randn(2, 640, DIM, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        graph = block(hidden, residual)
    del graph
    return sum(seen.values()) / (2 * 640 * 2 * DIM)


def test_less_is_kept(monkeypatch):
    block = _block(("fo-bi", False))
    with_little = _kept(block)
    monkeypatch.setattr(recomputed, "suits", lambda *_: False)
    # x and z 2, the residual 0.5, the states 0.5, the maps 0.26, weights; and beside them
    # the normed input 0.5, u, delta and the result.
    assert with_little < 3.5
    assert _kept(block) > with_little + 3.4


@pytest.mark.parametrize("layer", ["in_proj", "x_proj", "dt_proj", "out_proj"])
def test_watched_and_replaced_layers_are_called(layer, monkeypatch):
    runs = _count_runs(monkeypatch)
    block = _block(("fo-bi", False))
    expected = _results(block)
    assert runs == [1]
    before = getattr(block.mixer, layer)
    seen: list[int] = []
    hook = before.register_forward_hook(lambda *_: seen.append(1))
    _compare(_results(block), expected, 2e-6)
    hook.remove()
    assert seen == [1]
    other = nn.Linear(before.in_features, before.out_features, bias=before.bias is not None)
    other.load_state_dict(before.state_dict())
    setattr(block.mixer, layer, other)
    _compare(_results(block), expected, 2e-6)
    assert runs == [1]


@pytest.mark.parametrize("kind", ["pre", "backward"])
def test_whoever_watches_a_gradient_or_an_input_sees_it(kind, monkeypatch):
    runs, seen = _count_runs(monkeypatch), list[int]()
    block = _block(("fo-bi", False))
    layer = block.mixer.x_proj
    if kind == "pre":
        layer.register_forward_pre_hook(lambda *_: seen.append(1))
    else:
        layer.register_full_backward_hook(lambda *_: seen.append(1))
    _results(block)
    assert seen == [1]
    assert not runs


def test_other_backends_and_small_inputs_go_op_by_op(monkeypatch):
    runs = _count_runs(monkeypatch)
    block = _block(("fo-bi", False))
    with use_backend("torch"):
        expected = _results(block)
    monkeypatch.setattr(channel_slices, "SLICE_NUMBERS", 2 * TOKENS * 2 * DIM)
    _compare(_results(block), expected, 2e-5)
    assert not runs


def test_compiled_models_go_op_by_op():
    model = models.create("aum_tiny", n_classes=3, n_mels=32, n_frames=64, dim=24, depth=1)
    x = torch.randn(2, 64, 32)
    torch.compiler.reset()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), model(x), rtol=1e-5, atol=1e-6)
    compiled(x).sum().backward()
