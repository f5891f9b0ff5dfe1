import json
import os

import pytest

from audiomamba import atomic


def write_all(path):
    atomic.write_bytes(path / "a.bin", b"\x00new")
    atomic.write_text(path / "a.txt", "neu: é")
    atomic.write_json(path / "a.json", {"label": [1, "é"]})


def test_files_are_made_and_replaced(tmp_path):
    for _ in range(2):
        write_all(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.bin", "a.json", "a.txt"]
    assert (tmp_path / "a.bin").read_bytes() == b"\x00new"
    assert (tmp_path / "a.txt").read_text("utf-8") == "neu: é"
    assert json.loads((tmp_path / "a.json").read_text("utf-8")) == {"label": [1, "é"]}


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "table.csv"
    path.write_text("old")

    def write():
        with atomic.replacing(path) as part:
            part.write_text("half of the n")
            raise error

    with pytest.raises(type(error)):
        write()
    assert [path.read_text()] == [file.read_text() for file in tmp_path.iterdir()] == ["old"]


def test_a_block_that_writes_nothing_is_an_error(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), atomic.replacing(path):
        pass
    assert path.read_text() == "old"


def test_the_content_is_on_disk_before_the_name(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(os, "fsync", lambda _: seen.append((tmp_path / "a").exists()))
    atomic.write_text(tmp_path / "a", "x")
    assert seen == [False]


def test_text_that_is_no_utf8_is_written_as_asked(tmp_path):
    name = os.fsdecode(b"caf\xe9.wav")
    atomic.write_text(tmp_path / "names", name, errors="surrogateescape")
    assert (tmp_path / "names").read_bytes() == b"caf\xe9.wav"
    with pytest.raises(UnicodeEncodeError):
        atomic.write_text(tmp_path / "names", name)
    assert (tmp_path / "names").read_bytes() == b"caf\xe9.wav"


def test_a_folder_takes_the_place_of_another(tmp_path):
    for content in ("first", "second"):
        new = tmp_path / "model.part"
        new.mkdir()
        (new / content).touch()
        atomic.replace_folder(new, tmp_path / "model")
        assert [path.name for path in (tmp_path / "model").iterdir()] == [content]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_what_a_link_leads_to_is_replaced_and_permissions_stay(tmp_path):
    (tmp_path / "folder").mkdir()
    real, link = tmp_path / "folder" / "table.csv", tmp_path / "link.csv"
    real.write_text("old")
    real.chmod(0o600)
    link.symlink_to(real)
    atomic.write_text(link, "new")
    assert link.is_symlink()
    assert real.read_text() == "new"
    assert real.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in real.parent.iterdir()] == ["table.csv"]


def test_what_is_no_file_is_written_to(tmp_path):
    """Not replaced: as root, /dev/null would be gone."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    atomic.write_text(pipe, "new")
    assert os.read(reader, 10) == b"new"
    os.close(reader)
    assert pipe.is_fifo()
    with pytest.raises(IsADirectoryError):
        atomic.write_text(tmp_path, "new")


def test_two_processes_may_write_one_file_at_once(tmp_path, monkeypatch):
    path = tmp_path / "numbers"
    with atomic.replacing(path, unique=True) as one:
        one.write_text("1")
        monkeypatch.setattr(os, "getpid", lambda: -1)
        with atomic.replacing(path, unique=True) as other:
            other.write_text("2")
        assert path.read_text() == "2"
    assert path.read_text() == "1"
    assert list(tmp_path.iterdir()) == [path]
