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
LEAVES = {
    "atomic",
    "config",
    "cores",
    "errors",
    "json_lines",
    "output_folders",
    "outputs",
    "progress",
    "provenance",
    "storage",
}
MAY_USE = {
    "atomic": set(),
    "config": {"errors"},
    "cores": set(),
    "errors": set(),
    "json_lines": set(),
    "output_folders": {"errors", "outputs"},
    "outputs": {"errors"},
    "progress": set(),
    "provenance": set(),
    "storage": {"atomic", "errors"},
    "ops": {"errors"},
    "audio": {"errors"},
    "models": {"errors", "hub", "ops"},
    "hub": {"errors"},
    "checkpoints": {"errors", "audio", "data", "hub", "models", "ops"},
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
    "infer": {"errors", "audio", "checkpoints", "models"},
    "serve": {"", "audio", "errors", "infer", "terminal"},
    "bulk": {"", "audio", "checkpoints", "errors", "infer", "models"},
    "features": {"errors", "infer"},
    "publishing": {"checkpoints", "errors", "hub"},
    "hf": {"audio", "checkpoints", "errors", "infer", "models"},
    "hear_benchmark": {"errors", "infer"},
    "exporting": {"", "audio", "checkpoints", "errors", "infer", "models", "ops", "train"},
    "bench": {
        "",
        "audio",
        "checkpoints",
        "counting",
        "errors",
        "infer",
        "models",
        "ops",
        "terminal",
        "train",
        "vision",
    },
    "doctor": {"", "errors", "ops"},
    "terminal": {"errors"},
    "vision": {"audio", "checkpoints", "counting", "errors", "models", "outputs", "train"},
    "counting": {"models"},
    "listing": {"checkpoints", "counting", "errors", "hub", "models", "recipes", "terminal"},
    "cli": {
        "",
        "audio",
        "bench",
        "bulk",
        "checkpoints",
        "data",
        "doctor",
        "errors",
        "hub",
        "exporting",
        "infer",
        "listing",
        "metrics",
        "publishing",
        "recipes",
        "report",
        "serve",
        "terminal",
        "train",
        "vision",
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


def module_of(path: Path) -> str:
    """The name of a file's module inside audiomamba."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imported_modules(path: Path) -> set[str]:
    """The modules of a file's own part that it imports, at its top or inside a function."""
    modules = {module_of(file) for file in FILES}
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        inside = [name.removeprefix("audiomamba.") for name in names]
        found |= {name if name in modules else name.rpartition(".")[0] for name in inside}
    return {it for it in found & modules if it.split(".")[0] == part_of(path)}


def circle_in(imports: dict[str, set[str]]) -> list[str]:
    """Modules of which each imports the next and the last the first; none where there are none."""
    done: set[str] = set()
    path: list[str] = []

    def visit(module: str) -> list[str]:
        if module in path:
            return path[path.index(module) :]
        if module in done:
            return []
        path.append(module)
        found = next(filter(None, map(visit, sorted(imports[module]))), [])
        path.pop()
        done.add(module)
        return found

    return next(filter(None, map(visit, sorted(imports))), [])


def test_a_circle_is_found() -> None:
    chain = {"a": {"b"}, "b": {"c"}, "c": {"d"}, "d": set()}

    assert circle_in(chain) == []
    assert circle_in(chain | {"d": {"b"}}) == ["b", "c", "d"]


@pytest.mark.parametrize("part", sorted(MAY_USE))
def test_a_part_has_no_circle_among_its_modules_deferred_imports_included(part: str) -> None:
    imports = {module_of(path): imported_modules(path) for path in FILES if part_of(path) == part}

    assert circle_in(imports) == []


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


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_function_has_at_most_60_lines(path: Path) -> None:
    if path.stem.startswith("triton") and path.stem.endswith("_kernels"):
        return  # a kernel is one function
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = ast.walk(ast.parse(path.read_text("utf-8")))
    long = [
        node.name
        for node in nodes
        if isinstance(node, functions) and (node.end_lineno or 0) - node.lineno >= 60
    ]

    assert long == []
