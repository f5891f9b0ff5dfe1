"""Commands whose optional dependencies are not installed."""

import sys
from pathlib import Path

import pytest
from command_line import run


@pytest.mark.parametrize(
    ("missing", "arguments", "extra"),
    [
        ("lightning", ("train", "own/starter", "--data", ".", "--out", "run"), "train"),
        ("lightning", ("train", "own/starter", "--data", ".", "--out", "run", "--cv"), "train"),
        ("matplotlib", ("tag", ".", "--picture", "tags.png"), "plot"),
        ("fastapi", ("serve",), "serve"),
        ("pyarrow", ("bulk", "plan", ".", "--out", "tagged"), "bulk"),
        ("paho", ("watch", ".", "--mqtt", "home.local"), "watch"),
    ],
)
def test_a_missing_extra_is_named(
    missing: str,
    arguments: tuple[str, ...],
    extra: str,
    good: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(good.parent)
    loaded = [name for name in sys.modules if name.startswith(f"{missing}.")]
    for name in (missing, *loaded):  # what other tests have imported would be found without it
        monkeypatch.setitem(sys.modules, name, None)

    result = run(*arguments)

    assert result.exit_code == 2
    assert result.stderr.endswith(f"pip install 'audiomamba[{extra}]'\n")
