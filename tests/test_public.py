"""The package from outside: its public names, and what importing it costs."""

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import audiomamba

ROOT = Path(audiomamba.__file__).parent
FILES = [path.relative_to(ROOT.parent) for path in ROOT.rglob("*.py")]
MODULES = sorted(
    ".".join(path.with_suffix("").parts).removesuffix(".__init__")
    for path in FILES
    if path.name != "__main__.py"
)
PACKAGES = sorted({".".join(path.parts[:2]) for path in FILES if len(path.parts) > 2})


def python(code: str) -> str:
    """Run code in a fresh interpreter in which warnings are errors; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_the_public_names_are_sorted_and_there() -> None:
    assert audiomamba.__all__ == sorted(audiomamba.__all__)
    for name in audiomamba.__all__:
        assert getattr(audiomamba, name) is not None
        assert name in dir(audiomamba)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="No audiomamba attribute lod"):
        _ = audiomamba.lod


def test_importing_is_quick_and_loads_neither_torch_nor_numpy() -> None:
    code = (
        "import sys, time; began = time.perf_counter(); import audiomamba; "
        "print(time.perf_counter() - began); "
        "assert not {'torch', 'numpy', 'soundfile', 'rich', 'typer'} & set(sys.modules)"
    )

    assert min(float(python(code)) for _ in range(3)) < 0.3


def test_reaching_a_public_name_loads_what_it_needs_and_prints_nothing() -> None:
    assert python("import audiomamba; audiomamba.ops.selective_scan; audiomamba.Tagger") == ""


@pytest.mark.parametrize("name", PACKAGES)
def test_names_mean_the_same_before_and_after_all_modules_are_loaded(name: str) -> None:
    package = importlib.import_module(name)
    for module in MODULES:
        importlib.import_module(module)

    for public in package.__all__:
        value = getattr(package, public)
        assert not isinstance(value, ModuleType), f"{name}.{public} is a module"


@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_what_it_is_and_what_is_public(name: str) -> None:
    module = importlib.import_module(name)

    assert module.__doc__
    assert sorted(module.__all__) == sorted(set(module.__all__))
    for public in module.__all__:
        assert hasattr(module, public)


@pytest.mark.parametrize("name", MODULES)
def test_every_public_function_and_class_is_documented(name: str) -> None:
    module = importlib.import_module(name)

    for public in module.__all__:
        value = getattr(module, public)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert inspect.getdoc(value), f"{name}.{public} has no docstring"


@pytest.mark.parametrize("name", MODULES)
def test_modules_read_no_environment_variables_when_imported(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__file__ is not None
    tree = ast.parse(Path(module.__file__).read_text("utf-8"))

    for statement in tree.body:
        if not isinstance(statement, ast.FunctionDef | ast.ClassDef):
            names = {node.attr for node in ast.walk(statement) if isinstance(node, ast.Attribute)}
            assert not names & {"environ", "getenv"}
