"""How close is close enough."""

from collections.abc import Mapping

from torch import Tensor

OUTPUT, GRADIENT = 1e-4, 1e-3


def close(got: Tensor, expected: Tensor, tolerance: float, what: str) -> None:
    """Hold the largest error, relative to the largest expected value, against a tolerance."""
    assert got.shape == expected.shape, f"{what}: {tuple(got.shape)} {tuple(expected.shape)}"
    error = (got.detach() - expected).abs().max() / expected.abs().max().clamp_min(1e-6)
    assert error <= tolerance, f"{what} is off by {error:.2e} of its largest value"


def with_gradients(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.clone().requires_grad_() for name, value in inputs.items()}


def close_gradients(expected: Mapping[str, Tensor], inputs: Mapping[str, Tensor]) -> None:
    assert expected
    for name, gradient in expected.items():
        found = inputs[name].grad
        assert found is not None, name
        close(found, gradient, GRADIENT, f"gradient of {name}")
