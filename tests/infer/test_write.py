import csv
import io
import json
from pathlib import Path

import pytest

from audiomamba.infer import Tag, Tagged
from audiomamba.infer.write import CsvWriter, JsonWriter, TableWriter, length_text

LONG = Path("archive/of/many/years/and/places/dawn-chorus-in-the-garden.flac")
DOG = Tagged(Path("dog.ogg"), 1.9, [Tag("dog", 0.98765), Tag("rooster", 0.00004)])
CHORUS = Tagged(LONG, 3725.4, [Tag("Chirp, tweet and many more birds", 1.0)])
SILENCE = Tagged(Path("silence.wav"), 61.0, [])


def test_the_table_fits_80_columns_and_its_columns_are_aligned() -> None:
    writer = TableWriter([str(LONG), "dog.ogg", "silence.wav"], ["dog", "Chirp, tweet and many"])

    text = writer.header() + "".join(writer.write(tagged) for tagged in (DOG, CHORUS, SILENCE))

    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[2].index("dog ") == lines[3].index("rooster") == lines[0].index("tag")
    assert lines[0].split() == ["recording", "length", "tag", "score"]
    assert lines[2].split() == ["dog.ogg", "1.90", "s", "dog", "0.99", "#########"]
    assert lines[3].split() == ["rooster", "0.00"]
    assert lines[4].startswith("...")
    assert "1:02:05" in lines[4]
    assert lines[5].split() == ["silence.wav", "1:01", "(none)"]


def test_the_recording_is_named_on_its_first_line_only() -> None:
    text = TableWriter(["dog.ogg"], ["dog", "rooster"]).write(DOG)

    assert text.count("dog.ogg") == 1


def test_tags_say_whether_they_reach_their_own_threshold() -> None:
    thresholds = {"dog": 0.9, "rooster": 0.1}
    lines = TableWriter(["dog.ogg"], list(thresholds), thresholds).write(DOG).splitlines()
    assert [line.split("  ")[-2 if "#" in line else -1].strip() for line in lines] == [
        "0.99*",
        "0.00",
    ]
    tags = json.loads(JsonWriter(thresholds).write(DOG))["tags"]
    assert [tag["heard"] for tag in tags] == [True, False]
    assert "heard" not in JsonWriter().write(DOG)


def test_json_is_one_object_per_line() -> None:
    writer = JsonWriter()

    lines = (writer.header() + writer.write(DOG) + writer.write(SILENCE)).splitlines()

    assert json.loads(lines[0]) == {
        "file": "dog.ogg",
        "seconds": 1.9,
        "tags": [{"label": "dog", "score": 0.9877}, {"label": "rooster", "score": 0.0}],
    }
    assert json.loads(lines[1]) == {"file": "silence.wav", "seconds": 61.0, "tags": []}


def test_csv_survives_commas_and_quotes() -> None:
    writer = CsvWriter()
    odd = Tagged(Path('a "b", c.wav'), 2.0, [Tag("Chirp, tweet", 0.5)])

    rows = list(csv.DictReader(io.StringIO(writer.header() + writer.write(odd))))

    assert rows == [
        {"file": 'a "b", c.wav', "seconds": "2.000", "label": "Chirp, tweet", "score": "0.5000"}
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.42, "0.42 s"), (12.34, "12.3 s"), (59.99, "60.0 s"), (245.2, "4:05"), (3723.0, "1:02:03")],
)
def test_lengths_are_short(seconds: float, text: str) -> None:
    assert length_text(seconds) == text
