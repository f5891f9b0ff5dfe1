"""Tables of clips as spreadsheets, programs and hands write them."""

import codecs
from pathlib import Path

import pytest

from audiomamba.data import open_manifest
from audiomamba.data.corpora.sheet import read_sheet
from audiomamba.errors import DataError

PLAIN = "filename,label,split\na.wav,dog,train\nb.wav,rain,val\n"


def sheet(folder: Path, text: str | bytes) -> Path:
    path = folder / "clips.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize(
    "data",
    [
        PLAIN.encode(),
        PLAIN.replace(",", ", ").encode(),
        PLAIN.replace(",", ";").encode(),
        PLAIN.replace(",", "\t").encode(),
        PLAIN.replace(",", "|").encode(),
        PLAIN.replace(",", " ; ").encode(),
        ("sep=;\n" + PLAIN.replace(",", ";")).encode(),
        codecs.BOM_UTF8 + PLAIN.encode(),
        PLAIN.encode("utf-16"),
        PLAIN.encode("utf-16-le"),
        codecs.BOM_UTF16_BE + PLAIN.encode("utf-16-be"),
        PLAIN.encode("utf-32"),
        PLAIN.replace("\n", "\r\n").encode(),
        PLAIN.replace("\n", "\r").encode(),
        PLAIN.replace("\n", "\n\n").encode(),
        ("\n  \n" + PLAIN + ",,\n").encode(),
        PLAIN.replace("\n", ",\n").encode(),
        b'"filename", "label","split"\n"a.wav", "dog","train"\nb.wav,rain,val\n',
        PLAIN.replace("filename,label,split", "Path,Class,Subset").encode(),
        PLAIN.replace("filename,label,split", "File Name,CATEGORY,set").encode(),
        b",filename,label,split\n0,a.wav,dog,train\n1,b.wav,rain,val\n",
        PLAIN.replace("a.wav", "./x/../a.wav").encode(),
        PLAIN.replace("a.wav", ".\\a.wav").encode(),
    ],
)
def test_a_table_is_read_whatever_wrote_it(tmp_path, data):
    manifest = read_sheet(sheet(tmp_path, data))
    assert [(clip.path, clip.labels, clip.split) for clip in manifest.clips] == [
        (tmp_path / "a.wav", ("dog",), "train"),
        (tmp_path / "b.wav", ("rain",), "valid"),
    ]
    assert manifest.notes == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("filename,label\n\n\na.wav,dog\n\nb.wav,\n", "line 6: a clip has an empty label"),
        ("filename,label\n\na.wav\n", "line 3 does not have 2 cells"),
        ("filename,label\na.wav,dog,rain\n", "line 2 does not have 2 cells"),
        ('filename,label\n"a.wav,dog\nb.wav,rain\n', "line 2 cannot be read: unexpected end"),
        ('filename,label\na.wav,"dog\nb.wav,rain"\n', "line 2: the cell label ends on another"),
        ("filename,label\n,dog\n", "line 2: no filename"),
        ("filename,path\na.wav,dog\n", "no column label or labels; its columns: filename, path"),
        ("a.wav,dog\nb.wav,dog\n", "no column filename; its columns: a.wav, dog; the first line"),
        ("filename,label,label\na.wav,dog,x\n", "two columns are named 'label'"),
        ("filename,class,category\na.wav,1,x\n", "class and category could each be label"),
        ("filename,label,split\na.wav,dog,train\nb.wav,dog,\n", "line 3: no split, while other"),
        ("filename,label,split\na.wav,dog,train\nb.wav,dog,later\n", "line 3: unknown split 'late"),
        ("filename,label,fold\na.wav,dog,1\nb.wav,dog,A\n", "line 3: unknown split 'A'"),
        ("filename,label,phase\na.wav,d,train\nb.wav,d,val\n", "column phase seems to divide"),
        ("filename,label\na.wav,dog;rain\n", "name the column labels if ; stands between"),
        ("filename,labels\na.wav,\"dog,rain\"\n", "expected ; between labels"),
        ("filename,label\nC:\\x\\a.wav,dog\n", "line 2: .* is a path of Windows"),
        ("filename,label\n\\\\host\\a.wav,dog\n", "line 2: .* is a path of Windows"),
        ("filename,label,start_ms\na.wav,dog,100\n", "the column start_ms has no seconds in it"),
        ("filename,label,start\na.wav,dog,\"1,5\"\n", "line 2: '1,5' is not a number of seconds"),
        ("filename,label,end_s\na.wav,dog,inf\n", "line 2: 'inf' is not a number of seconds"),
        ("filename,label\nä.wav,dog\n".encode("latin-1"), "line 2 is not text in UTF-8"),
        (b"PK\x03\x04\x00\x00 workbook", "it is a zip file, as Excel's are; expected a CSV table"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", "it is a recording; expected a CSV table or a folder"),
        (b"\x7fELF\x02\x01\x01\x00\x00", "holds binary data"),
        (",".join(map(str, range(9999))) + "\n", r"no column filename; its columns: none; the"),
        (f"{', '.join(map(str, range(999)))}\n" * 2, r"filename; its columns: .* \.\.\.;"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_line(tmp_path, text, message):
    with pytest.raises(DataError, match=message) as caught:
        read_sheet(sheet(tmp_path, text))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_rows_about_one_clip_are_joined_and_told(tmp_path, write_wav):
    for name in ("a.wav", "b.wav"):
        write_wav(name)
    text = "filename,label\na.wav,dog\nb.wav,rain\n./a.wav,rain\nb.wav,rain\n"
    manifest = open_manifest(sheet(tmp_path, text))
    assert [clip.labels for clip in manifest.clips] == [("dog", "rain"), ("rain",)]
    assert manifest.notes == (
        "1 row is about a clip of an earlier row (line 4): labels are joined",
        "1 row is about a clip of an earlier row (line 5): each clip counts once",
    )


def test_rows_about_pieces_of_a_file_stay_apart(tmp_path):
    text = "file;onset;offset;event_label\na.wav;0;1;dog\na.wav;0;1;cat\na.wav;1;2;dog\n"
    clips = read_sheet(sheet(tmp_path, text)).clips
    assert [(clip.start_s, clip.end_s, clip.labels) for clip in clips] == [
        (0, 1, ("dog", "cat")),
        (1, 2, ("dog",)),
    ]


@pytest.mark.parametrize("column", ["split", "group"])
def test_rows_about_one_clip_that_disagree_are_refused(tmp_path, column):
    text = f"filename,label,{column}\na.wav,dog,1\nb.wav,dog,2\na.wav,rain,2\n"
    with pytest.raises(DataError, match=f"lines 2 and 4 are about one clip.* another {column}"):
        read_sheet(sheet(tmp_path, text))


@pytest.mark.parametrize(
    "cell", ["dog;rain", "dog ; rain;", '"[""dog"", ""rain""]"', "\"['dog', 'rain']\"", "dog|rain"]
)
def test_several_labels_in_a_cell(tmp_path, cell):
    clips = read_sheet(sheet(tmp_path, f"filename,labels\na.wav,{cell}\nb.wav,\n")).clips
    assert [clip.labels for clip in clips] == [("dog", "rain"), ()]


def test_rows_to_be_ignored_are_left_out_and_told(tmp_path):
    text = "filename,label,split\na.wav,dog,train\nb.wav,dog,test\nc.wav,fox,ignore\n"
    manifest = read_sheet(sheet(tmp_path, text))
    assert manifest.labels == ("dog",)
    assert manifest.splits == ("test", "train")
    assert manifest.notes == ("1 rows are marked 'ignore' and left out",)


def test_a_piece_that_begins_before_the_recording_begins_with_it(tmp_path):
    text = "filename,label,start_s,end_s\na.wav,dog,-0.25,0.25\n"
    (clip,) = read_sheet(sheet(tmp_path, text)).clips
    assert (clip.start_s, clip.end_s) == (0.0, 0.25)
