import csv
import io
import json
from pathlib import Path

import pytest

from audiomamba.errors import ConfigError
from audiomamba.infer import Event, RecordingEvents
from audiomamba.infer.formats.events import EVENT_FORMATS, choose_event_format
from audiomamba.infer.formats.format import choose_by_name

EVENTS = (
    Event("clock tick", 0.0, 7.84, 0.612345),
    Event("Male speech, man speaking", 3661.25, 3662.0, 0.5),
)
HEARD = RecordingEvents(Path("garden walk.flac"), 3700.0, 0.1, EVENTS)
SILENT = RecordingEvents(Path("silent.flac"), 3.0, 0.1, ())
LABELS = tuple(event.label for event in EVENTS)


def written(name: str, *recordings: RecordingEvents) -> str:
    writer = choose_by_name(EVENT_FORMATS, name)([str(one.file) for one in recordings], LABELS)
    return writer.header() + "".join(writer.lines(one.to_dict()) for one in recordings)


def test_csv_is_a_row_per_event() -> None:
    rows = list(csv.reader(io.StringIO(written("csv", HEARD, SILENT))))

    assert rows == [
        ["file", "start_s", "end_s", "label", "score"],
        ["garden walk.flac", "0.0", "7.84", "clock tick", "0.612345"],
        ["garden walk.flac", "3661.25", "3662.0", "Male speech, man speaking", "0.5"],
    ]


def test_json_is_a_line_per_recording() -> None:
    first, second = map(json.loads, written("json", HEARD, SILENT).splitlines())

    assert (first["file"], first["seconds"], first["step_s"]) == ("garden walk.flac", 3700.0, 0.1)
    assert first["events"][0] == {
        "label": "clock tick",
        "start_s": 0.0,
        "end_s": 7.84,
        "score": 0.612345,
    }
    assert second["events"] == []


def test_audacity_reads_tabs_between_start_end_and_label() -> None:
    assert written("audacity", HEARD).splitlines() == [
        "0.000000\t7.840000\tclock tick",
        "3661.250000\t3662.000000\tMale speech, man speaking",
    ]


def test_rttm_has_ten_fields_without_spaces_in_them() -> None:
    first, second = written("rttm", HEARD, SILENT).splitlines()

    assert first == "SPEAKER garden_walk 1 0.000 7.840 <NA> <NA> clock_tick 0.6123 <NA>"
    assert len(second.split()) == 10


def test_rttm_tells_recordings_of_the_same_name_apart() -> None:
    text = written("rttm", HEARD, RecordingEvents(Path("b/garden walk.flac"), 3.0, 0.1, EVENTS))

    assert {line.split()[1] for line in text.splitlines()} == {
        "garden_walk.flac",
        "b/garden_walk.flac",
    }


def test_the_table_fits_a_terminal_and_shows_silence() -> None:
    lines = written("table", HEARD, SILENT).splitlines()

    assert max(map(len, lines)) <= 80
    assert lines[2].split() == ["garden", "walk.flac", "0:00.0", "0:07.8", "clock", "tick", "0.61"]
    assert "1:01:01.2" in lines[3]
    assert "(none)" in lines[4]


@pytest.mark.parametrize(
    ("name", "asked", "expected"),
    [
        (None, None, "table"),
        ("a.CSV", None, "csv"),
        ("a.jsonl", None, "json"),
        ("a.txt", None, "audacity"),
        ("a.rttm", None, "rttm"),
        ("a.out", "rttm", "rttm"),
    ],
)
def test_the_suffix_says_the_format_unless_it_is_asked_for(
    name: str | None, asked: str | None, expected: str
) -> None:
    assert choose_event_format(name and Path(name), asked).name == expected


def test_unknown_formats_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"a\.xml: no format .* in \.csv, .* or \.rttm"):
        choose_event_format(Path("a.xml"), None)
    with pytest.raises(ConfigError, match="format 'xml' is not known; expected table, csv"):
        choose_event_format(None, "xml")


def test_labels_for_audacity_are_of_one_recording() -> None:
    with pytest.raises(ConfigError, match="of one recording, and 2 were given"):
        choose_by_name(EVENT_FORMATS, "audacity")(["a", "b"], LABELS)
