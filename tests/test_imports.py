"""Imports point one way: each part of the package may use only the parts listed with it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import audiomamba

ROOT = Path(audiomamba.__file__).parent

# The leaves, which all parts may use, are not listed with each of them.
# errors < ops < models < checkpoints; errors < audio < data; metrics, recipes < train;
# infer < train, serve, cli.
LEAVES = {"atomic", "config", "errors", "progress", "provenance"}
MAY_USE = {
    "atomic": set(),
    "config": {"errors"},
    "errors": set(),
    "progress": set(),
    "provenance": set(),
    "ops": {"errors"},
    "audio": {"errors"},
    "models": {"errors", "ops"},
    "checkpoints": {"errors", "audio", "data", "models"},
    "data": {"errors", "audio"},
    "metrics": {"errors"},
    "recipes": {"errors", "audio", "data"},
    "train": {
        "errors",
        "audio",
        "checkpoints",
        "data",
        "infer",
        "metrics",
        "models",
        "ops",
        "recipes",
    },
    "report": {"errors", "train"},
    "infer": {"errors", "audio", "checkpoints"},
    "hear": {"errors", "infer"},
    "bench": {"", "errors", "models", "ops", "terminal", "train"},
    "doctor": {"", "errors", "ops"},
    "terminal": {"errors"},
    "counting": {"models"},
    "listing": {"checkpoints", "counting", "errors", "models", "recipes", "terminal"},
    "cli": {
        "",
        "audio",
        "bench",
        "checkpoints",
        "data",
        "doctor",
        "errors",
        "infer",
        "listing",
        "metrics",
        "recipes",
        "report",
        "terminal",
        "train",
    },
    "__main__": {"cli"},
}
FILES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def part_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported_parts(path: Path) -> Iterator[str]:
    """The parts of audiomamba that a file imports, at its top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "audiomamba":
            names = [f"audiomamba.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            names = [node.module or ""]
        else:
            continue
        for name in names:
            package, _, rest = name.partition(".")
            if package == "audiomamba":
                part = rest.split(".")[0]
                yield part if part in MAY_USE else ""


def test_every_part_has_its_place_in_the_order() -> None:
    assert {part_of(path) for path in FILES} == set(MAY_USE)


def test_the_order_has_no_circles() -> None:
    placed: set[str] = {""}
    while len(placed) <= len(MAY_USE):
        ready = {part for part, uses in MAY_USE.items() if uses <= placed} - placed
        assert ready, f"a circle among {sorted(MAY_USE.keys() - placed)}"
        placed |= ready


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_file_imports_only_what_its_part_may_use(path: Path) -> None:
    part = part_of(path)

    leaves = set() if part in LEAVES else LEAVES
    assert set(imported_parts(path)) - {part} <= MAY_USE[part] | leaves


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_file_has_at_most_500_lines(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= 500
