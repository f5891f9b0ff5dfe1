"""One test per golden file: those beside this file, or all of AUDIOMAMBA_GOLDEN_DIR."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open
from torch import Tensor

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Golden:
    """Input, weights and output of the authors' code, with the arguments that made them."""

    name: str
    args: dict[str, Any]
    tensors: dict[str, Tensor]

    @property
    def kind(self) -> str:
        return self.args.get("class") or self.args.get("op") or self.args["frontend"]

    def below(self, prefix: str) -> dict[str, Tensor]:
        """Tensors whose key starts with prefix and a slash, by the rest of the key."""
        start = prefix + "/"
        return {k.removeprefix(start): v for k, v in self.tensors.items() if k.startswith(start)}


def read(path: Path) -> Golden:
    with safe_open(path, "pt") as file:
        args = json.loads(file.metadata()["args"])
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    return Golden(path.stem, args, tensors)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "golden" in metafunc.fixturenames:
        folder = Path(os.environ.get("AUDIOMAMBA_GOLDEN_DIR", HERE))
        paths = sorted(folder.glob("*.safetensors"))
        if not paths:
            raise pytest.UsageError(f"no golden files (*.safetensors) in {folder}")
        metafunc.parametrize("golden", paths, ids=[path.stem for path in paths], indirect=True)


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    return read(request.param)
