import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from audiomamba.errors import AudioError
from audiomamba.infer import Failed, Tag, Tagged
from audiomamba.infer.formats.tags import (
    TAG_TEXTS,
    TagCsv,
    TagCsvRows,
    TagJson,
    TagLayout,
    TagTable,
    TagText,
)
from audiomamba.infer.formats.text import length_text

LONG = Path("archive/of/many/years/and/places/dawn-chorus-in-the-garden.flac")
DOG = Tagged(Path("dog.ogg"), 1.9, [Tag("dog", 0.98765432), Tag("rooster", 0.00004)])
HEARD = replace(
    DOG, tags=[Tag("dog", 0.98765432, heard=True), Tag("rooster", 0.00004, heard=False)]
)
CHORUS = Tagged(LONG, 3725.4, [Tag("Chirp, tweet and many more birds", 1.0)])
SILENCE = Tagged(Path("silence.wav"), 61.0, [], "a note")
BROKEN = Failed(Path("b.wav"), AudioError("b.wav: the file\nis empty"))
LAYOUT = TagLayout(files=["dog.ogg"], labels=["dog", "rooster"], n_tags=2, heard=False)


def written(writer: TagText, *results: Tagged | Failed) -> str:
    return writer.header() + "".join(writer.lines(result.to_dict()) for result in results)


def test_the_table_fits_80_columns_and_its_columns_are_aligned() -> None:
    labels = ["dog", "Chirp, tweet and many"]
    layout = replace(LAYOUT, files=[str(LONG), "dog.ogg", "silence.wav"], labels=labels)

    lines = written(TagTable(layout), DOG, CHORUS, SILENCE).splitlines()

    assert max(map(len, lines)) <= 80
    assert lines[2].index("dog ") == lines[3].index("rooster") == lines[0].index("tag")
    assert lines[0].split() == ["recording", "length", "tag", "score"]
    assert lines[2].split() == ["dog.ogg", "1.90", "s", "dog", "0.99", "#########"]
    assert lines[3].split() == ["rooster", "0.00"]
    assert lines[4].startswith("...")
    assert "1:02:05" in lines[4]
    assert lines[5].split() == ["silence.wav", "1:01", "(none)"]


def test_the_recording_is_named_on_its_first_line_only() -> None:
    assert written(TagTable(LAYOUT), DOG).count("dog.ogg") == 1


def test_every_format_says_what_reaches_its_own_threshold() -> None:
    layout = replace(LAYOUT, heard=True)
    table, wide, rows = (written(one(layout), HEARD) for one in (TagTable, TagCsv, TagCsvRows))
    lines = table.splitlines()[2:]
    assert [line.split("  ")[-2 if "#" in line else -1].strip() for line in lines] == [
        "0.99*",
        "0.00",
    ]
    assert [tag["heard"] for tag in HEARD.to_dict()["tags"]] == [True, False]
    assert "heard" not in json.dumps(DOG.to_dict())
    (row,) = csv.DictReader(io.StringIO(wide))
    assert (row["heard_1"], row["heard_2"]) == ("true", "false")
    assert [row["heard"] for row in csv.DictReader(io.StringIO(rows))] == ["true", "false"]


def test_json_is_the_record_of_the_result_on_a_line() -> None:
    lines = written(TagJson(LAYOUT), DOG, SILENCE, BROKEN).splitlines()

    assert [json.loads(line) for line in lines] == [
        {
            "file": "dog.ogg",
            "seconds": 1.9,
            "tags": [{"label": "dog", "score": 0.987654}, {"label": "rooster", "score": 4e-05}],
            "note": "",
            "error": "",
        },
        {"file": "silence.wav", "seconds": 61.0, "tags": [], "note": "a note", "error": ""},
        {
            "file": "b.wav",
            "seconds": None,
            "tags": [],
            "note": "",
            "error": "b.wav: the file is empty",
        },
    ]


def test_csv_survives_commas_and_quotes() -> None:
    odd = Tagged(Path('a "b", c.wav'), 2.0, [Tag("Chirp, tweet", 0.5)])

    rows, wide = (
        list(csv.DictReader(io.StringIO(written(one(LAYOUT), odd)))) for one in (TagCsvRows, TagCsv)
    )

    first = {"file": 'a "b", c.wav', "seconds": "2.0"}
    assert rows == [first | {"label": "Chirp, tweet", "score": "0.5"}]
    numbered = {"label_1": "Chirp, tweet", "score_1": "0.5", "label_2": "", "score_2": ""}
    assert wide == [first | numbered | {"note": "", "error": ""}]


@pytest.mark.parametrize("kind", TAG_TEXTS)
def test_every_text_is_of_lines(kind: type[TagText]) -> None:
    text = written(kind(LAYOUT), DOG, SILENCE)

    assert text.endswith("\n")
    assert "\n\n" not in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.42, "0.42 s"), (12.34, "12.3 s"), (59.99, "60.0 s"), (245.2, "4:05"), (3723.0, "1:02:03")],
)
def test_lengths_are_short(seconds: float, text: str) -> None:
    assert length_text(seconds) == text
