"""What the tests of the ops share: comparing two backends in outputs and in every gradient."""

from collections.abc import Callable, Iterator, Mapping

import pytest
import torch
from torch import Tensor

from audiomamba.ops import native

Op = Callable[..., Tensor | tuple[Tensor, ...]]


@pytest.fixture(autouse=True)
def nan_in_fresh_memory() -> Iterator[None]:
    """Make torch.empty return NaN, so that an element that a kernel forgets is seen."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(params=native.instruction_sets() if native.problem() is None else ())
def instruction_set(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run the test on every instruction set that the library was built for and this CPU has."""
    before = native.instruction_set()
    native.use_instruction_set(request.param)
    yield request.param
    native.use_instruction_set(before)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Run on one thread, whatever else the machine does; tests of threads set their own number."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def run(
    op: Op, tensors: Mapping[str, Tensor | None], dtype: torch.dtype | None
) -> dict[str, Tensor]:
    """Call op on copies in one dtype (None: as they are); return outputs and gradients by name."""
    leaves = {
        name: None if x is None else (x.clone() if dtype is None else x.to(dtype).clone())
        for name, x in tensors.items()
    }
    for x in leaves.values():
        if x is not None:
            x.requires_grad_()
    outputs = op(**leaves)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    generator = torch.Generator().manual_seed(7)
    probed = torch.zeros((), dtype=torch.float64)
    for x in outputs:
        probe = torch.randn(x.shape, generator=generator, dtype=torch.float64)
        probed = probed + (x * probe.to(x.dtype)).sum()
    probed.backward()
    found = {f"output {i}": x.detach() for i, x in enumerate(outputs)}
    for name, x in leaves.items():
        if x is not None:
            found[f"gradient of {name}"] = torch.zeros_like(x) if x.grad is None else x.grad
    return found


def disagreements(
    found: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    outputs: float = 2e-5,
    gradients: float = 1e-4,
) -> dict[str, float]:
    """Name what differs by more than a fraction of its scale (at least 0.05), with the fraction."""
    assert found.keys() == expected.keys()
    wrong = {}
    for name, want in expected.items():
        got = found[name].double()
        error = (got - want.double()).abs().max() / want.double().abs().max().clamp(min=0.05)
        if not error <= (outputs if name.startswith("output") else gradients):
            wrong[name] = error.item()
    return wrong


@pytest.fixture
def compare() -> Callable[..., None]:
    """Return a check that an op's backend agrees with its reference in float64."""

    def check(
        op: Op,
        tensors: Mapping[str, Tensor | None],
        options: Mapping[str, object],
        backend: str = "cpu",
        **tolerances: float,
    ) -> None:
        def bound(backend: str) -> Op:
            return lambda **leaves: op(**leaves, **options, backend=backend)

        found = run(bound(backend), tensors, None)
        expected = run(bound("reference"), tensors, torch.float64)
        assert not disagreements(found, expected, **tolerances)

    return check
