"""The guides name files and Python that are there."""

import re
import runpy
from pathlib import Path
from pkgutil import resolve_name

import pytest

ROOT = Path(__file__).parents[1]
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
