"""Fit the polynomials of csrc/vector_math.h and measure them in float32.

Prints the coefficients, lowest power first, and the largest relative errors on a dense grid.

    python benchmarks/ops/fit_polynomials.py
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
N_POINTS = 4001
N_ROUNDS = 400


def chebyshev_points(low: float, high: float) -> Array:
    """Points between low and high, dense at both ends."""
    return (low + high) / 2 + (high - low) / 2 * np.cos(np.linspace(0, np.pi, N_POINTS))


def minimax(function: Callable[[Array], Array], x: Array, powers: range) -> Array:
    """Fit a polynomial with the least largest relative error, by Lawson's reweighting."""
    y = function(x)
    basis = np.stack([x**k for k in powers], axis=1) / y[:, None]
    weight = np.full(len(x), 1 / len(x))
    for _ in range(N_ROUNDS):
        root = np.sqrt(weight)[:, None]
        coefficients = np.linalg.lstsq(basis * root, root[:, 0], rcond=None)[0]
        weight *= np.abs(basis @ coefficients - 1) + 1e-18
        weight /= weight.sum()
    return coefficients


def horner(coefficients: Array, x: Array) -> Array:
    """Evaluate in float32, rounding once per step as a fused multiply-add does."""
    single = coefficients.astype(np.float32).astype(np.float64)
    value = np.full(x.shape, single[-1])
    for c in single[-2::-1]:
        value = (value * x + c).astype(np.float32).astype(np.float64)
    return value


def report(name: str, coefficients: Array, error: float, note: str = "") -> None:
    print(name, "relative error", f"{error:.1e}", note)
    for k, c in enumerate(coefficients):
        print(f"  x^{k}  {np.float32(c):.9e}f")


def main() -> None:
    # 2^f = 1 + f q(f), so that 2^0 is exactly 1: q is fitted to (2^f - 1) / f.
    f = chebyshev_points(-0.5, 0.5)
    f = f[np.abs(f) > 1e-9]
    q = minimax(lambda x: np.expm1(x * np.log(2)) / x, f, range(5))
    power = np.concatenate([[1.0], q])
    grid = np.float32(np.linspace(-0.5, 0.5, 200_001)).astype(np.float64)
    error = np.abs(horner(power, grid) / 2**grid - 1).max()
    slow = -np.geomspace(1e-3, 0.5, 2001)
    exact = np.polynomial.polynomial.polyval(slow, np.float32(power).astype(np.float64))
    decay = np.abs((exact - 1) / np.expm1(slow * np.log(2)) - 1).max()
    report("2^x on [-1/2, 1/2]", power, error, f"of 1 - 2^x, before rounding: {decay:.1e}")

    # log(1 + x) = x + x^2 l(x) for x in [0, 1].
    x = chebyshev_points(0.0, 1.0)
    x = x[x > 1e-5]
    log = minimax(lambda x: (np.log1p(x) - x) / x**2, x, range(8))
    grid = np.float32(
        np.concatenate([np.geomspace(1e-8, 1, 100_000), np.linspace(1e-3, 1, 100_000)])
    )
    grid = grid.astype(np.float64)
    tail = (grid * horner(log, grid)).astype(np.float32).astype(np.float64)
    error = np.abs((tail * grid + grid).astype(np.float32) / np.log1p(grid) - 1).max()
    report("(log(1 + x) - x) / x^2 on [0, 1]", log, error, "of log(1 + x)")


if __name__ == "__main__":
    main()
