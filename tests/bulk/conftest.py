from pathlib import Path

import pytest
from bulk_runs import plan, rows_of, write_clips

from audiomamba import bulk
from audiomamba.bulk.plan import Plan


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two hundred short recordings."""
    return write_clips(tmp_path_factory.mktemp("clips"), 200)


@pytest.fixture(scope="session")
def undisturbed(clips: Path, model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run that nothing disturbs makes of them."""
    out = tmp_path_factory.mktemp("runs") / "undisturbed"
    plan(out, model_folder, clips)
    bulk.launch(Plan.open(str(out)))
    return out


@pytest.fixture(scope="session")
def expected(undisturbed: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """The rows of that."""
    return rows_of(undisturbed, tmp_path_factory.mktemp("tables") / "undisturbed.jsonl")
