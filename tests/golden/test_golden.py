"""The package against the authors' own code: same weights and input, same output and gradients."""

from typing import Any

from checks import CHECKS


def test_golden(golden: Any) -> None:
    CHECKS[golden.kind](golden)
