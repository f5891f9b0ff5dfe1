"""A model is read in one sitting: its file, models/base.py and the layers that it uses."""

import ast
from functools import cache
from pathlib import Path

import pytest

from audiomamba import models

ROOT = Path(models.__file__).parent
FAMILIES = sorted(models.FAMILIES)
# Lines of a family's file and of all that it imports inside models/, docstrings included.
MOST_LINES = {
    "ast": 720,
    "audiomamba": 1620,
    "aum": 900,
    "cnn": 460,
    "cnn14": 580,
    "conv_aum": 910,
    "efficientat": 990,
    "htsat": 1250,
    "mambaout": 780,
    "mobile_aum": 1340,
    "vim": 1120,
    "vmamba": 1200,
}


@cache
def imports(name: str) -> frozenset[str]:
    """The files of models/ that one of them imports, such as "base" or "layers.conv"."""
    path = ROOT / f"{name.replace('.', '/')}.py"
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("audiomamba.models"):
            module = node.module.removeprefix("audiomamba.models").removeprefix(".")
            if module in ("", "layers"):
                found |= {f"{module}.{alias.name}".removeprefix(".") for alias in node.names}
            else:
                found.add(module)
    return frozenset(found)


def reads(name: str) -> frozenset[str]:
    """A file and all that it imports, however far."""
    found, new = frozenset(), frozenset([name])
    while new:
        found |= new
        new = frozenset().union(*map(imports, new)) - found
    return found


def n_lines(names: frozenset[str]) -> int:
    return sum(
        len((ROOT / f"{name.replace('.', '/')}.py").read_text("utf-8").splitlines())
        for name in names
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_imports_base_and_layers_but_no_other_model(family):
    assert family in {path.stem for path in ROOT.glob("*.py")}
    assert {name.split(".")[0] for name in imports(family)} <= {"base", "layers"}


def test_layers_know_no_model():
    layers = [f"layers.{path.stem}" for path in ROOT.glob("layers/[!_]*.py")]
    assert len(layers) > 10
    for layer in layers:
        assert {name.split(".")[0] for name in imports(layer)} <= {"base", "layers"}, layer
        others = frozenset().union(*map(reads, imports(layer)))
        assert layer not in others, f"{layer} imports itself through others"
    assert not imports("base")


@pytest.mark.parametrize("family", ["ast", "cnn", "cnn14", "efficientat", "htsat", "mambaout"])
def test_who_does_not_scan_reads_no_scan(family):
    assert not reads(family) & {"layers.mamba", "layers.ss2d", "layers.ssm_init"}


@pytest.mark.parametrize("family", ["audiomamba", "vmamba"])
def test_who_scans_maps_does_not_read_the_mixer_of_sequences(family):
    assert "layers.ss2d" in reads(family)
    assert "layers.mamba" not in reads(family)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_stays_short_to_read(family):
    assert n_lines(reads(family)) <= MOST_LINES[family], sorted(reads(family))
