"""The examples in docstrings are run: they show what really comes out."""

import doctest
from importlib import import_module
from inspect import isclass, isfunction
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import audiomamba

ROOT = Path(audiomamba.__file__).parent
MODULES = sorted(
    ".".join(("audiomamba", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(
        ".__init__"
    )
    for path in ROOT.rglob("*.py")
    if ">>> " in path.read_text("utf-8")
)
PACKAGES = sorted(
    ".".join(("audiomamba", *path.parent.relative_to(ROOT).parts))
    for path in ROOT.rglob("__init__.py")
)


@pytest.fixture
def my_clips(tmp_path):
    """A data set that examples read: four clips of half a second, in a folder for each class."""
    rng = np.random.default_rng(0)
    for label in ("dog", "rain"):
        folder = tmp_path / "my-clips" / label
        folder.mkdir(parents=True)
        for number in (1, 2):
            sound = rng.uniform(-0.5, 0.5, 8_000)
            soundfile.write(folder / f"{number}.wav", sound, 16_000)


@pytest.fixture
def my_sounds(tmp_path):
    """A data set that examples learn from: five tones and five times noise, half a second each."""
    rng = np.random.default_rng(0)
    seconds = np.arange(8_000) / 16_000
    for number in range(5):
        sounds = {
            "noise": rng.uniform(-0.5, 0.5, 8_000),
            "tone": 0.5 * np.sin(2 * np.pi * (400 + 50 * number) * seconds),
        }
        for label, sound in sounds.items():
            folder = tmp_path / "my-sounds" / label
            folder.mkdir(parents=True, exist_ok=True)
            soundfile.write(folder / f"{number}.wav", sound, 16_000)


@pytest.mark.usefixtures("my_clips", "my_sounds")
@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_show(name, tmp_path, monkeypatch, request):
    module = import_module(name)
    monkeypatch.chdir(tmp_path)  # where examples may write
    names = {"getfixture": request.getfixturevalue}  # as pytest's own collection gives it
    found = doctest.DocTestFinder().find(module, extraglobs=names)
    examples = [it for it in found if it.examples]
    assert examples, f"{name} has '>>> ' where no example is found"
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    for example in examples:
        torch.manual_seed(0)
        report: list[str] = []
        result = runner.run(example, out=report.append)
        assert not result.failed, "".join(report)


@pytest.mark.parametrize("name", PACKAGES)
def test_every_public_name_has_an_example(name):
    package = import_module(name)
    public = {key: getattr(package, key) for key in getattr(package, "__all__", ())}
    documented = {key: it.__doc__ for key, it in public.items() if isclass(it) or isfunction(it)}
    assert not [key for key, text in documented.items() if ">>> " not in (text or "")]
