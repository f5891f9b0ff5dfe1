"""The ops under torch.compile, torch.export, autocast and PyTorch's own checks of operators."""

from collections.abc import Iterator
from typing import get_type_hints

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from audiomamba.ops import (
    add_rms_norm,
    bidirectional_selective_scan,
    causal_conv1d,
    selective_scan,
    use_backend,
)
from audiomamba.ops.add_rms_norm import cpu as norm_cpu
from audiomamba.ops.causal_conv1d import cpu as conv_cpu
from audiomamba.ops.cross_scan import cpu as cross_cpu
from audiomamba.ops.selective_scan import cpu as scan_cpu
from audiomamba.ops.selective_scan.inputs import ScanInputs

DIM, INNER, STATES = 16, 24, 4


class Block(nn.Module):
    """A small pre-norm mixer that uses every op."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.Parameter(torch.ones(DIM))
        self.inward = nn.Linear(DIM, 2 * INNER)
        self.taps = nn.Parameter(torch.randn(INNER, 4) / 2)
        self.maps = nn.Linear(INNER, INNER + 2 * STATES)
        self.decay = nn.Parameter(torch.randn(2, INNER, STATES))
        self.skip = nn.Parameter(torch.randn(INNER))
        self.outward = nn.Linear(INNER, DIM)

    def forward(self, hidden: Tensor) -> Tensor:
        normed, residual = add_rms_norm(hidden, None, self.norm)
        x, z = self.inward(normed).chunk(2, dim=-1)
        x = causal_conv1d(x, self.taps, activation="silu")
        delta, B, C = self.maps(x).split([INNER, STATES, STATES], dim=-1)
        A, A_b = -self.decay.exp()
        shared = {"D": self.skip, "z": z, "delta_softplus": True}
        both = bidirectional_selective_scan(x, delta, A, A_b, B, C, **shared)
        back, last = selective_scan(
            x, delta, A, B, C, reverse=True, return_last_state=True, **shared
        )
        return residual + self.outward(both + back + last.mean(dim=-1)[:, None].to(x.dtype))


def results(block: nn.Module, hidden: Tensor) -> list[Tensor]:
    """The output and every gradient."""
    block.zero_grad()
    leaf = hidden.clone().requires_grad_()
    out = block(leaf)
    out.float().square().sum().backward()
    return [out.detach(), leaf.grad, *(p.grad.clone() for p in block.parameters())]


@pytest.fixture
def block() -> Iterator[Block]:
    torch.manual_seed(0)
    yield Block()
    torch.compiler.reset()


def test_the_block_agrees_with_the_reference(block: Block) -> None:
    hidden = torch.randn(2, 21, DIM)
    found = results(block, hidden)
    for backend in ("reference", "torch"):
        with use_backend(backend):
            expected = results(block, hidden)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_compiles_into_one_graph(block: Block) -> None:
    compiled = torch.compile(block, fullgraph=True, backend="aot_eager")
    for tokens in (21, 33, 70):
        hidden = torch.randn(2, tokens, DIM)
        torch.testing.assert_close(results(compiled, hidden), results(block, hidden))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # tracing is deprecated  # of PyTorch's own code
def test_compiles_with_inductor(block: Block) -> None:
    hidden = torch.randn(2, 70, DIM)
    compiled = torch.compile(block, fullgraph=True)
    torch.testing.assert_close(
        results(compiled, hidden), results(block, hidden), rtol=1e-4, atol=1e-4
    )


def test_exports_with_dynamic_batch_and_tokens(block: Block) -> None:
    dims = {0: torch.export.Dim("batch", max=64), 1: torch.export.Dim("tokens", min=2, max=9000)}
    program = torch.export.export(block, (torch.randn(2, 21, DIM),), dynamic_shapes=(dims,))
    hidden = torch.randn(3, 91, DIM)
    torch.testing.assert_close(program.module()(hidden), block(hidden))


def test_runs_under_autocast(block: Block) -> None:
    hidden = torch.randn(2, 40, DIM)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = results(block, hidden)
        with use_backend("reference"):
            expected = results(block, hidden)
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype
        assert (a - b).abs().max() <= 0.02 * b.abs().max()


def scan_arguments(**changes: Tensor | None) -> tuple[Tensor | None, ...]:
    torch.manual_seed(0)
    tensors = {
        "u": torch.randn(2, 70, 6),
        "delta": torch.rand(2, 70, 6),
        "A": -torch.rand(6, 3),
        "A_b": None,
        "B": torch.randn(2, 70, 2, 3),
        "C": torch.randn(2, 70, 2, 3),
        "D": torch.randn(6),
        "z": torch.randn(2, 70, 6),
        "delta_bias": torch.randn(6),
        "initial_state": torch.randn(2, 6, 3),
        "lengths": None,
    } | changes
    return tuple(
        x.requires_grad_() if x is not None and x.is_floating_point() else x
        for x in tensors.values()
    )


@pytest.mark.parametrize("save", [False, True])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"A_b": -torch.rand(6, 3), "initial_state": None},
        {"lengths": torch.tensor([70, 3]), "z": None, "D": None},
    ],
)
def test_scan_passes_opcheck(save: bool, changes: dict[str, Tensor | None]) -> None:
    both = "A_b" in changes
    flags = (True, not both, not both, save, 64)
    torch.library.opcheck(scan_cpu._scan, (*scan_arguments(**changes), *flags))


@pytest.mark.parametrize("save", [False, True])
def test_cross_scan_passes_opcheck(save: bool) -> None:
    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, requires_grad=True)

    u, *delta = (normal(2, 6, 5) for _ in range(5))
    maps, weights = [normal(2, 6, 4, 3) for _ in range(2)], [normal(20) for _ in range(2)]
    decay = (-torch.rand(20, 3)).requires_grad_()
    torch.library.opcheck(cross_cpu._scan, (u, delta, decay, *maps, *weights, 2, save, 64))


def test_conv_and_norm_pass_opcheck() -> None:
    x = torch.randn(2, 9, 6, requires_grad=True)
    weight = torch.randn(6, 4, requires_grad=True)
    torch.library.opcheck(conv_cpu._conv, (x, weight, None, None, True, False))
    gain = torch.randn(6, requires_grad=True)
    torch.library.opcheck(norm_cpu._add_norm, (x, None, gain, 1e-5))


def test_schemas_name_the_inputs_of_a_scan() -> None:
    schema = torch.ops.audiomamba.selective_scan_v1.default._schema
    n = len(ScanInputs._fields)
    assert tuple(argument.name for argument in schema.arguments[:n]) == ScanInputs._fields
    hints = get_type_hints(ScanInputs)
    for argument in schema.arguments[:n]:
        optional = isinstance(argument.type, torch.OptionalType)
        assert optional == (hints[argument.name] == Tensor | None), argument.name


class _Names(TorchDispatchMode):
    """Notes the operators that are called."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.names.add(func.name())
        return func(*args, **(kwargs or {}))


def test_who_watches_sees_the_operators(block: Block) -> None:
    hidden = torch.randn(2, 9, DIM)
    with torch.no_grad():
        expected = block(hidden)
        with _Names() as watcher:
            torch.testing.assert_close(block(hidden), expected)
    ops = ("add_rms_norm", "causal_conv1d", "selective_scan")
    assert {f"audiomamba::{op}_v1" for op in ops} <= watcher.names


@pytest.mark.filterwarnings("ignore")  # tracing is deprecated
def test_a_trace_holds_the_operators(block: Block) -> None:
    with torch.no_grad():
        traced = torch.jit.trace(block, torch.randn(2, 9, DIM), check_trace=False)
        hidden = torch.randn(2, 9, DIM)
        torch.testing.assert_close(traced(hidden), block(hidden))
