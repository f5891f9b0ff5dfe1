from pathlib import Path

import pytest

from audiomamba.errors import AudioMambaError, ConfigError, DataError
from audiomamba.output_folders import refuse_filled, removed_if_refused, visible_names


def fill_and_fail(out: Path, error: AudioMambaError, *, is_begun: bool = False) -> None:
    """What a call does that makes a folder and then ends with an error."""
    with removed_if_refused(out, lambda: is_begun):
        (out / "deep").mkdir(parents=True)
        (out / "deep" / "file").touch()
        (out / "link").symlink_to(out.parent)
        raise error


@pytest.mark.parametrize("was_there", [False, True])
def test_a_refused_call_leaves_no_folder_and_no_file(tmp_path, was_there):
    out = tmp_path / "run"
    if was_there:
        out.mkdir()
    with pytest.raises(DataError):
        fill_and_fail(out, DataError("no clips"))
    assert out.exists() == was_there
    assert tmp_path.is_dir()
    assert visible_names(out) == []


def test_what_was_there_before_stays(tmp_path):
    (tmp_path / "earlier").touch()
    with pytest.raises(DataError):
        fill_and_fail(tmp_path, DataError("no clips"))
    assert visible_names(tmp_path) == ["deep", "earlier", "link"]


def test_what_an_interruption_or_a_begun_run_leaves_stays(tmp_path):
    interruption = AudioMambaError("interrupted")
    interruption.__cause__ = KeyboardInterrupt()
    for name, error, is_begun in (
        ("a", interruption, False),
        ("b", AudioMambaError("the loss is not finite"), True),
    ):
        with pytest.raises(AudioMambaError):
            fill_and_fail(tmp_path / name, error, is_begun=is_begun)
        assert visible_names(tmp_path / name) == ["deep", "link"]


def test_a_filled_folder_is_refused_and_a_file_too(tmp_path: Path):
    (tmp_path / ".hidden").touch()
    (tmp_path / "model.part").touch()
    refuse_filled(tmp_path)
    refuse_filled(tmp_path / "new")
    for name in ("a", "b", "c", "log.txt"):
        (tmp_path / name).touch()
    refuse_filled(tmp_path, beside=("a", "b", "c", "log.txt"))
    refuse_filled(tmp_path, overwrite=True)
    with pytest.raises(ConfigError, match=r"other things \(a, b, c and 1 more\); another"):
        refuse_filled(tmp_path, overwrite=False)
    with pytest.raises(ConfigError, match="a is a file; expected a folder"):
        refuse_filled(tmp_path / "a", overwrite=True)
