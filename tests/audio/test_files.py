import os
from pathlib import Path

import pytest

from audiomamba import audio
from audiomamba.errors import AudioError


@pytest.fixture
def folder(tmp_path) -> Path:
    for name in ["b.wav", "a.FLAC", "sub/deep/c.mp3", "notes.txt", ".hidden.wav", ".cache/d.wav"]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def test_a_folder_gives_its_audio_files_sorted(folder):
    names = [str(path.relative_to(folder)) for path in audio.find([folder])]
    assert names == ["a.FLAC", "b.wav", str(Path("sub", "deep", "c.mp3"))]


def test_files_stay_in_the_order_given_whatever_their_names(folder):
    given = [folder / "notes.txt", folder / "b.wav", folder / "a.FLAC", folder / "b.wav"]
    assert audio.find(given) == given


def test_files_and_folders_mix_and_may_be_strings(folder):
    found = audio.find([str(folder / "b.wav"), folder / "sub"])
    assert found == [folder / "b.wav", folder / "sub" / "deep" / "c.mp3"]


def test_nothing_gives_nothing():
    assert audio.find([]) == []


def test_a_missing_path_is_named(folder):
    with pytest.raises(AudioError, match=r"none\.wav: no such file or folder"):
        audio.find([folder / "none.wav"])


def test_a_folder_without_audio_is_named(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(AudioError, match="no audio files"):
        audio.find([tmp_path])


def test_a_folder_that_cannot_be_read_is_named(folder, monkeypatch):
    scan = os.scandir

    def deny(path: str) -> object:
        if Path(path).name == "deep":
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", deny)
    with pytest.raises(AudioError, match="deep: permission denied"):
        audio.find([folder])


def test_folders_and_files_are_in_the_order_of_their_paths(tmp_path):
    names = ["a/z.wav", "a.wav", "a-b/c.wav", "a/b/c.wav", "b/a.wav", "B.wav", "a/b.wav", "é.wav"]
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    (tmp_path / "broken.wav").symlink_to(tmp_path / "none.wav")
    expected = sorted(tmp_path / name for name in [*names, "broken.wav"])
    assert audio.find([tmp_path]) == expected
