"""The guides name files and Python that are there."""

import re
import runpy
from pathlib import Path
from pkgutil import resolve_name

import pytest

ROOT = Path(__file__).parents[1]
RELIABILITY = ROOT / "docs" / "reliability.md"
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
EXTEND = sorted((ROOT / "docs" / "extend").glob("*.md"))
PATH = re.compile(r"`((?:src|tests|docs)/[\w./]+)`")
NAME = re.compile(r"`(audiomamba\.[\w.]+)`")
STANDS_FOR_OTHERS = re.compile("NAME|OP|BACKEND")


@pytest.mark.parametrize("page", EXTEND, ids=lambda page: page.stem)
def test_what_a_guide_names_is_there(page):
    text = page.read_text("utf-8")
    paths = [path for path in PATH.findall(text) if not STANDS_FOR_OTHERS.search(path)]
    assert paths
    assert [path for path in paths if not (ROOT / path).exists()] == []
    for name in NAME.findall(text):
        assert resolve_name(name) is not None


def run_block(page: str, folder: Path, before: str = "") -> dict[str, object]:
    """What the Python of a guide defines."""
    text = (ROOT / "docs" / "extend" / page).read_text("utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (folder / "block.py").write_text(before + code, "utf-8")
    return runpy.run_path(str(folder / "block.py"))


def test_the_corpus_of_the_guide_can_be_made(tmp_path):
    corpus = run_block("corpus.md", tmp_path)["BIRDS"]
    assert (corpus.name, corpus.front_end.mean) == ("birds", -6.1)


def test_the_model_of_the_guide_can_be_configured(tmp_path):
    needs = (
        "from dataclasses import dataclass\nfrom typing import ClassVar\n"
        "from audiomamba.models import ModelConfig\n"
    )
    config = run_block("model.md", tmp_path, needs)["TinyConfig"]
    assert config(dim=8).changed(n_classes=3).n_classes == 3


def test_every_promise_names_a_test_that_is_there():
    rows = [line for line in RELIABILITY.read_text("utf-8").splitlines() if line.startswith("|")]
    promises = [row for row in rows if not re.match(r"\|[-|]+$|\|.*\| test \|$", row)]
    assert len(promises) > 30
    for row in promises:
        named = TEST.findall(row)
        assert named, row
        for file, test in named:
            assert f"def {test}(" in (ROOT / file).read_text("utf-8"), f"{file}::{test}"
