"""The choice of a format, and what holds for all of them."""

import sys
from pathlib import Path

import pytest

from audiomamba.errors import ConfigError, MissingDependencyError
from audiomamba.infer.formats.embeddings import EMBEDDING_FORMATS
from audiomamba.infer.formats.events import EVENT_FORMATS
from audiomamba.infer.formats.format import Format, choose_by_suffix, suffixes_of
from audiomamba.infer.formats.pictures import PICTURE_FORMATS
from audiomamba.infer.formats.tags import TAG_TABLES, TAG_TEXTS

ALL = {
    "tables of tags": TAG_TABLES,
    "texts of tags": TAG_TEXTS,
    "events": EVENT_FORMATS,
    "embeddings": EMBEDDING_FORMATS,
    "pictures": PICTURE_FORMATS,
}


@pytest.mark.parametrize("what", ALL)
def test_names_and_suffixes_are_of_one_format_each(what: str) -> None:
    names = [one.name for one in ALL[what]]
    suffixes = [suffix for one in ALL[what] for suffix in one.suffixes]

    assert len(set(names)) == len(names)
    assert len(set(suffixes)) == len(suffixes)
    assert all(suffix == suffix.lower() for suffix in suffixes)


@pytest.mark.parametrize("what", [what for what in ALL if what != "texts of tags"])
def test_a_suffix_chooses_in_upper_and_lower_case(what: str, tmp_path: Path) -> None:
    for one in ALL[what]:
        for suffix in one.suffixes:
            for name in (f"a{suffix}", f"a.b{suffix.upper()}", f"A{suffix.title()}"):
                assert choose_by_suffix(ALL[what], tmp_path / name, what) is one


@pytest.mark.parametrize("name", ["a.xyz", "a", ".csv", "csv"])
def test_another_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"ends in \.csv, \.jsonl or \.parquet$") as raised:
        choose_by_suffix(TAG_TABLES, Path(name), "tags")
    assert str(raised.value).startswith(f"{name}: no format for tags has this suffix; expected")


def test_a_missing_folder_is_refused() -> None:
    with pytest.raises(ConfigError, match="there is no folder nowhere"):
        choose_by_suffix(TAG_TABLES, Path("nowhere/tags.csv"), "tags")


@pytest.mark.parametrize("formats", [TAG_TABLES, EMBEDDING_FORMATS])
def test_without_pyarrow_the_extra_is_named(
    formats: tuple[type[Format], ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingDependencyError, match=r"audiomamba\[parquet\]"):
        choose_by_suffix(formats, Path("tags.parquet"), "tags")


def test_suffixes_are_listed_for_help() -> None:
    assert suffixes_of(PICTURE_FORMATS) == ".png, .svg or .pdf"
    assert suffixes_of(EVENT_FORMATS) == ".csv, .json, .jsonl, .txt or .rttm"
