"""What the model `general` was trained on holds nothing of ESC-50, which it is measured on."""

import csv
import gzip
import io
import re
from pathlib import Path

import pytest

from audiomamba.data.deny_list import freesound_ids

ROOT = Path(__file__).parents[2]
LIST = ROOT / "benchmarks" / "results" / "general" / "training_files.csv.gz"
SOURCES = ROOT / "src" / "audiomamba" / "weights" / "general" / "sources.csv"
# Numbers in names that look like the id of a clip but are none: two times of day in recordings of
# scikit-maad's authors, and the 137th speaker of a wake word.
NO_IDS = {"161500", "210000", "137"}


@pytest.fixture(scope="module")
def files() -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(gzip.decompress(LIST.read_bytes()).decode())))


def test_no_file_is_named_after_a_clip_of_esc50(files: list[dict[str, str]]) -> None:
    known = set(Path(__file__).with_name("esc50_freesound_ids.txt").read_text().split())
    assert len(known) == 1524

    named = [
        row["path"]
        for row in files
        if (known - NO_IDS) & set(freesound_ids(Path(row["path"]).name))
    ]

    assert named == []


def test_every_file_has_a_hash_and_a_source_with_a_licence(files: list[dict[str, str]]) -> None:
    rows = csv.DictReader(SOURCES.read_text("utf-8").splitlines())
    sources = {row["source"]: row for row in rows}

    assert all(len(row["sha256"]) == 64 for row in files)
    assert {row["source"] for row in files} <= sources.keys()
    for row in sources.values():
        assert all((row["licence"], row["address"], row["commit"]))
        assert not {"NC", "NonCommercial"} & set(re.split(r"[^A-Za-z]+", row["licence"]))
