"""One writer at a time, never an input, nothing lost unasked."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from audiomamba import outputs
from audiomamba.errors import ConfigError
from audiomamba.outputs import refuse_existing, refuse_inputs, sole_writer, writing

HOLD = """
import sys, time
from pathlib import Path
from audiomamba.outputs import sole_writer
with sole_writer(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that writes t.csv."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "t.csv")], stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_second_writer_is_refused_and_told_by_whom(tmp_path, holder, monkeypatch):
    (tmp_path / "link.csv").symlink_to("t.csv")
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    spellings = [tmp_path / "t.csv", Path("t.csv"), Path("folder/../t.csv"), Path("link.csv")]
    for path in spellings:
        with pytest.raises(ConfigError) as refused, sole_writer(path):
            pass
        assert f"{path} is being written by another call, process {holder.pid};" in str(
            refused.value
        )
    with sole_writer(tmp_path / "T.csv.other"), sole_writer(tmp_path / "u.csv"):
        pass


def test_a_killed_writer_holds_nothing(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with sole_writer(tmp_path / "t.csv"):
        assert names(tmp_path) == [".t.csv.lock"]
    assert names(tmp_path) == []


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_nothing_is_left_behind(tmp_path, error):
    folder = tmp_path / "runs" / "first"
    with pytest.raises(type(error)), sole_writer(folder, tmp_path / "t.csv"):
        raise error
    assert names(tmp_path) == []
    with sole_writer(folder):
        folder.mkdir()
    assert names(tmp_path / "runs") == ["first"]


def test_one_call_cannot_write_two_things_to_one_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    twice = Path("t.png"), Path(f"./../{tmp_path.name}/t.png")
    with pytest.raises(ConfigError, match=r"t\.png and .* are one output"), sole_writer(*twice):
        pass
    assert names(tmp_path) == []


def test_of_many_threads_one_writes_at_a_time(tmp_path):
    """Also while lock files are made and removed all the time."""
    path, inside, most, done = tmp_path / "t.csv", [], [], []
    end = time.monotonic() + 0.5

    def write():
        while time.monotonic() < end:
            try:
                with sole_writer(path):
                    inside.append(0)
                    most.append(len(inside))
                    done.append(0)
                    inside.pop()
            except ConfigError:
                pass

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done
    assert set(most) == {1}
    assert names(tmp_path) == []


def test_where_files_cannot_be_locked_the_lock_is_elsewhere_on_the_machine(tmp_path, monkeypatch):
    """As on some network file systems."""
    disk, temporary = tmp_path / "disk", tmp_path / "temporary"
    disk.mkdir()
    temporary.mkdir()
    really = outputs._try_lock

    def try_lock(descriptor):
        if Path(f"/proc/self/fd/{descriptor}").readlink().parent == disk:
            raise OSError(errno.ENOLCK, "No locks available")
        return really(descriptor)

    monkeypatch.setattr(outputs, "_try_lock", try_lock)
    monkeypatch.setattr(outputs, "gettempdir", lambda: str(temporary))
    with sole_writer(disk / "t.csv"):
        assert names(disk) == []
        with (
            pytest.raises(ConfigError, match=f"process {os.getpid()}"),
            sole_writer(disk / "t.csv"),
        ):
            pass
    assert names(temporary) == []


def test_a_name_as_long_as_names_may_be(tmp_path):
    path = tmp_path / f"{'ä' * 124}.csv"
    with sole_writer(path):
        path.touch()
        with pytest.raises(ConfigError, match="is being written"), sole_writer(path):
            pass
    assert names(tmp_path) == [path.name]


def test_what_cannot_be_locked_is_said(tmp_path):
    (tmp_path / "file").touch()
    under_a_file = tmp_path / "file" / "t.csv"
    said = r"t\.csv cannot be written: file exists"
    with pytest.raises(ConfigError, match=said), sole_writer(under_a_file):
        pass
    with sole_writer(Path(os.devnull)):  # no file, so that there is nothing to lock
        assert not Path(f"/dev/.{Path(os.devnull).name}.lock").exists()


def test_an_output_is_never_an_input(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sound = tmp_path / "e.wav"
    sound.touch()
    (tmp_path / "hard.wav").hardlink_to(sound)
    (tmp_path / "soft.wav").symlink_to(sound)
    for out in ("e.wav", "hard.wav", "soft.wav", f"../{tmp_path.name}/e.wav"):
        with pytest.raises(ConfigError, match=f"{out} would be overwritten, and this call reads"):
            refuse_inputs([Path("new.csv"), Path(out)], [Path("other.wav"), sound])
    with pytest.raises(ConfigError, match="missing"):
        refuse_inputs([Path("missing")], [Path("./missing")])
    with pytest.raises(ConfigError, match="reads it"):
        refuse_inputs([Path()], [tmp_path])
    refuse_inputs([Path("new.csv")], [tmp_path, sound])


def test_what_is_there_is_replaced_only_when_asked(tmp_path):
    empty, full = tmp_path / "empty.csv", tmp_path / "full.csv"
    empty.touch()
    full.write_text("old")
    for path in (empty, tmp_path / "new.csv", Path(os.devnull)):
        refuse_existing(path, overwrite=False)
    refuse_existing(full, overwrite=True)
    with pytest.raises(ConfigError, match=r"full\.csv exists already; another name .*--overwrite"):
        refuse_existing(full, overwrite=False)
    for overwrite in (False, True):
        with pytest.raises(ConfigError, match="is a folder; expected the name of a file"):
            refuse_existing(tmp_path, overwrite=overwrite)


def test_a_full_disk_is_an_error_of_one_line(tmp_path):
    with pytest.raises(ConfigError) as said, writing(tmp_path / "t.csv"):
        Path("/dev/full").write_bytes(b"x")
    assert str(said.value) == f"{tmp_path / 't.csv'} cannot be written: no space left on device"
