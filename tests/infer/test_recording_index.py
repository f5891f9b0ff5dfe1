"""Recordings in order, and where their rows are, on disk."""

import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from audiomamba.errors import ConfigError
from audiomamba.infer import recording_index
from audiomamba.infer.recording_index import PER_PAGE, RecordingIndex


def paths(n_files: int) -> Iterator[Path]:
    return (Path("archive", "a" * 80, f"{number}.wav") for number in range(n_files))


def test_more_recordings_than_a_page_stay_in_order() -> None:
    n_files = 2 * PER_PAGE + 3
    index = RecordingIndex(paths(n_files))
    index.set_offsets(
        [(str(file), 10 * number) for number, file in enumerate(paths(n_files))][::-1]
    )
    assert list(index) == list(paths(n_files))
    assert list(index.offsets()) == [10 * number for number in range(n_files)]
    assert list(index.todo()) == []
    index.close()


def test_names_that_are_no_text_and_names_with_line_ends_come_back() -> None:
    odd = [Path("caf\udce9.wav"), Path("a\nb.wav"), Path("é 'x\".wav")]
    index = RecordingIndex(odd)
    assert list(index) == list(index.todo()) == odd
    index.close()


def test_rows_of_other_recordings_are_ignored() -> None:
    index = RecordingIndex([Path("a.wav")])
    index.set_offsets([("b.wav", 1)])
    assert (index.n_todo(), list(index.offsets())) == (1, [None])
    index.close()


def test_what_is_to_do_is_read_by_other_threads_while_rows_are_noted() -> None:
    n_files = 3 * PER_PAGE
    index, done = RecordingIndex(paths(n_files)), []
    todo, lock = index.todo(), threading.Lock()

    def work() -> None:
        while True:
            with lock:
                file = next(todo, None)
            if file is None:
                return
            index.set_offsets([(str(file), 1)])
            done.append(file)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(done) == sorted(paths(n_files))
    assert set(index.offsets()) == {1}
    index.close()


class Watched(type(Path())):  # type: ignore[misc]
    """A path that can be watched while it lives."""


def test_paths_are_not_held_in_memory() -> None:
    alive: weakref.WeakSet[Path] = weakref.WeakSet()
    counts = []

    def watched() -> Iterator[Path]:
        for file in map(Watched, paths(3_000)):
            alive.add(file)
            counts.append(len(alive))
            yield file

    index = RecordingIndex(watched())

    assert len(index) == 3_000
    assert max(counts) <= 2
    index.close()


def test_a_full_disk_is_an_error_of_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    small = recording_index.CREATE + "PRAGMA max_page_count = 20;"
    monkeypatch.setattr(recording_index, "CREATE", small)
    with pytest.raises(ConfigError, match=r"list of recordings cannot be kept .*: .*full"):
        RecordingIndex(paths(5_000))
