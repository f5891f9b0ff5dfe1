from pathlib import Path

import pytest
from typer.testing import CliRunner

from audiomamba import recipes
from audiomamba.cli import app
from audiomamba.cli.options import with_teachers
from audiomamba.errors import ConfigError
from audiomamba.recipes import Distillation


def test_options_of_teachers_become_settings() -> None:
    changes = with_teachers(["epochs=3"], ["a", "runs/fold-{fold}"], 0.5, 2.0, Path("kept"))

    changed = recipes.override(recipes.get("esc10/starter"), changes)

    assert changed.epochs == 3
    assert changed.distillation == Distillation(
        teachers=("a", "runs/fold-{fold}"), weight=0.5, temperature=2.0, cache="kept"
    )
    assert with_teachers(None, None, None, None, None) == []


def test_settings_of_teachers_need_a_teacher() -> None:
    with pytest.raises(ConfigError, match="--distill-weight was given, but no teacher"):
        with_teachers(None, None, 0.5, None, None)


def test_a_teacher_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    arguments = ["train", "own/starter", "--data", str(tmp_path), "--out", str(tmp_path / "run")]

    done = CliRunner().invoke(app, [*arguments, "--teacher-cache", "kept"])

    assert done.exit_code == 2
    assert done.stderr == (
        "audiomamba: --teacher-cache was given, but no teacher; expected --teacher NAME|DIR\n"
    )
