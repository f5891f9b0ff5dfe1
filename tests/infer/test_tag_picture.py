import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from matplotlib.image import imread

import audiomamba
from audiomamba.errors import ConfigError, MissingDependencyError
from audiomamba.infer import Tagged, tag_files
from audiomamba.infer.tag_picture import MOST_RECORDINGS, check_tag_picture, draw_tags


@pytest.fixture
def tone(tmp_path: Path) -> Path:
    """Five seconds of a tone at 2 kHz, which a label with math signs must not break."""
    path = tmp_path / "a $tone$.wav"
    time_s = np.arange(5 * 16_000) / 16_000
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * 2000 * time_s), 16_000)
    return path


def draw_tone(
    model_folder: Path, tone: Path, n_rows: int, out: Path, kind: str = "kaldi"
) -> np.ndarray:
    tagger = audiomamba.load(model_folder)
    tagger.front_end = replace(tagger.front_end, kind=kind)
    tagged = [result for result in tag_files(tagger, [tone] * n_rows) if isinstance(result, Tagged)]
    draw_tags(tagged, tagger, out)
    return np.asarray(imread(out))


def test_the_picture_grows_with_the_recordings(
    model_folder: Path, tone: Path, tmp_path: Path
) -> None:
    one = draw_tone(model_folder, tone, 1, tmp_path / "one.png")
    three = draw_tone(model_folder, tone, 3, tmp_path / "three.png")

    assert one.shape[1] == three.shape[1]
    assert three.shape[0] > 2 * one.shape[0]


@pytest.mark.parametrize(
    ("kind", "expected"),  # where 2 kHz lies between 20 Hz and 8 kHz in mel
    [("kaldi", 0.53), ("decibel", 0.55), ("epic_sounds", 0.53)],
)
def test_a_tone_is_a_bright_line_at_its_height(
    model_folder: Path, tone: Path, tmp_path: Path, kind: str, expected: float
) -> None:
    picture = draw_tone(model_folder, tone, 1, tmp_path / "tone.png", kind)

    column = picture[:, picture.shape[1] // 3, :3].sum(1)
    inside = np.flatnonzero(column < 0.9 * 3)  # the page is white
    brightest = inside[column[inside].argmax()]
    height = (inside[-1] - brightest) / (inside[-1] - inside[0])
    assert height == pytest.approx(expected, abs=0.05)


def test_too_many_recordings_are_refused() -> None:
    with pytest.raises(ConfigError, match=f"expected at most {MOST_RECORDINGS}"):
        check_tag_picture(Path("tags.png"), MOST_RECORDINGS + 1)


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"tags\.txt: no format for a picture has this suffix"):
        check_tag_picture(Path("tags.txt"), 1)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no folder"):
        check_tag_picture(tmp_path / "nowhere" / "tags.png", 1)


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)

    with pytest.raises(MissingDependencyError, match=r"audiomamba\[plot\]"):
        check_tag_picture(Path("tags.png"), 1)
