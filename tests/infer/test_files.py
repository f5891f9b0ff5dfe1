from pathlib import Path

import numpy as np
import soundfile

import audiomamba
from audiomamba.infer import Failed, Tagged, tag_files


def write_noise(path: Path, seconds: float) -> Path:
    samples = 0.1 * np.random.default_rng(0).standard_normal(round(seconds * 16_000))
    soundfile.write(path, samples, 16_000)
    return path


def test_results_come_in_order_and_a_failure_does_not_stop_the_rest(
    model_folder: Path, tmp_path: Path
) -> None:
    first, last = write_noise(tmp_path / "a.wav", 0.5), write_noise(tmp_path / "c.flac", 1.25)
    broken = tmp_path / "b.wav"
    broken.write_text("no sound")

    results = list(tag_files(audiomamba.load(model_folder), [first, broken, last]))

    assert [result.file for result in results] == [first, broken, last]
    assert isinstance(results[1], Failed)
    assert str(broken) in str(results[1].error)
    assert isinstance(results[2], Tagged)
    assert results[2].seconds == 1.25
    assert len(results[2].tags) == 3


def test_top_and_threshold_choose_the_tags(model_folder: Path, tmp_path: Path) -> None:
    tagger = audiomamba.load(model_folder)
    file = write_noise(tmp_path / "a.wav", 0.5)
    every = tagger.tag(file)

    (two,) = tag_files(tagger, [file], top=2)
    (above,) = tag_files(tagger, [file], threshold=every[1].score)
    (none,) = tag_files(tagger, [file], threshold=1)

    assert isinstance(two, Tagged)
    assert isinstance(above, Tagged)
    assert isinstance(none, Tagged)
    assert two.tags == every[:2]
    assert above.tags == every[:2]
    assert none.tags == []
