"""benchmarks/general.py: the figures of `general` come from code that does what it says."""

import csv
import json
import shutil
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
import torch

import audiomamba

ROOT = Path(__file__).parents[2]
RECORDINGS = ROOT / "demo/recordings"
CLIPS = {"dog": ("dog.ogg", "cat.mp3"), "rain": ("rain.ogg", "sea_waves.ogg")}


@pytest.fixture(scope="module")
def general():
    spec = spec_from_file_location("general_benchmark", ROOT / "benchmarks/general.py")
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def esc50(tmp_path_factory):
    """Real recordings, laid out as ESC-50: two kinds, two folds, not all as named."""
    folder = tmp_path_factory.mktemp("esc50")
    (folder / "audio").mkdir()
    (folder / "meta").mkdir()
    with (folder / "meta/esc50.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("filename", "category", "fold"))
        for kind, names in CLIPS.items():
            for fold, name in enumerate(names, start=1):
                shutil.copy(RECORDINGS / name, folder / "audio")
                rows.writerow((name, kind, fold))
    return folder


@pytest.fixture(scope="module")
def tagger(general):
    return general.open_tagger("general")


def test_the_loudest_piece_is_found(general):
    sound = torch.full((32_000,), 0.01)
    sound[16_000:19_200] = 0.5
    piece, rate = general.loudest(0.1)(sound, 32_000)
    assert rate == 32_000
    assert len(piece) == 3_200
    assert piece.min() == 0.5


def test_a_clip_at_another_rate_has_nothing_above_it(general):
    sound = torch.sin(2 * torch.pi * 6_000 * torch.arange(32_000) / 32_000)
    found, rate = general.at_rate(8_000)(sound, 32_000)
    assert (len(found), rate) == (8_000, 8_000)
    assert found[500:-500].abs().max() < 0.05


@pytest.mark.parametrize(("decibels", "peak"), [(-40, 0.01), (20, 1.0)])
def test_a_level_is_that_of_the_peak_and_clips_above_full_scale(general, decibels, peak):
    sound = torch.tensor([0.0, 0.2, -0.02])
    found, _ = general.at_level(decibels)(sound, 32_000)
    assert found.abs().max() == pytest.approx(peak)
    assert found[1] == pytest.approx(peak)


def test_a_kind_is_guessed_by_the_highest_of_its_labels(general, tagger):
    scores = np.zeros((2, len(tagger.labels)))
    scores[0, tagger.labels.index("Rain")] = 0.4
    scores[0, tagger.labels.index("Speech")] = 0.9  # is of no kind
    scores[1, tagger.labels.index("Bark")] = 0.3
    assert general.guessed_kinds(tagger.labels, scores).tolist() == ["rain", "dog"]


def test_agreement_counts_labels_with_enough_positives_only(general):
    teacher, student = np.zeros((60, 3)), np.zeros((60, 3))
    teacher[:30, 0] = teacher[:20, 1] = teacher[:19, 2] = 0.2
    student[:30, 0] = 0.1
    student[30:, 1] = 0.1
    found = general.agreement(("good", "bad", "rare"), student, teacher, 0.2)
    assert found["labels measured"] == 2
    assert found["labels above 0.5"] == 1
    assert found["labels"]["good"] == {"positives": 30, "ap": 1.0}
    assert found["labels"]["bad"]["ap"] < 0.5


def test_what_was_found_is_kept_for_these_weights_only(general, tagger, tmp_path):
    memory, asked = general.Memory(tmp_path), []

    def clips():
        asked.append(1)
        return [(torch.zeros(3200), 32_000)]

    first, again = (memory.find(tagger, "some clips", clips) for _ in range(2))
    assert len(asked) == 1
    assert np.array_equal(first.scores, again.scores)
    other = general.open_tagger("general")
    with torch.no_grad():
        other.model.head.output.bias += 1
    assert not np.array_equal(memory.find(other, "some clips", clips).scores, first.scores)
    assert len(asked) == 2


def test_held_out_clips_are_files_and_mixtures_of_two(general, tmp_path):
    table = tmp_path / "held_out.csv"
    table.write_text("path\ndog.ogg\nspeech.wav\n")
    clips = list(general.held_out_clips(table, RECORDINGS, 3))
    assert len(clips) == 5
    assert all(len(sound) == 320_000 for sound, _ in clips[2:])
    assert all(float(sound.abs().max()) == pytest.approx(0.5) for sound, _ in clips[2:])
    again = list(general.held_out_clips(table, RECORDINGS, 3))
    assert torch.equal(clips[4][0], again[4][0])


def test_the_whole_report(general, esc50, tmp_path, monkeypatch):
    table, out = tmp_path / "held_out.csv", tmp_path / "general.json"
    table.write_text("path\ncow.ogg\nbell.wav\n")
    demo = tmp_path / "demo"
    demo.mkdir()
    shutil.copy(RECORDINGS / "dog.ogg", demo)
    monkeypatch.setenv("PYTHONPATH", str(Path(audiomamba.__file__).parents[1]))
    options = {
        "--model": "general",
        "--teacher": "general",
        "--esc50": esc50,
        "--held-out": table,
        "--sound": RECORDINGS,
        "--demo": demo,
        "--mixtures": 1,
        "--changed": 2,
        "--times": 2,
        "--processes": 1,
        "--out": out,
        "--scores": tmp_path / "scores",
    }
    monkeypatch.setattr(
        sys, "argv", ["general.py", *(str(x) for it in options.items() for x in it)]
    )
    n_threads = torch.get_num_threads()
    try:
        general.main()
    finally:
        torch.set_num_threads(n_threads)
    report = json.loads(out.read_text("utf-8"))
    assert report["esc50"]["model"] == report["esc50"]["teacher"]
    assert 0.25 <= report["esc50"]["model"]["zero-shot"] < 1
    assert set(report["esc50"]["model"]["changed"]) == {"as they are", *general.CHANGES}
    assert report["all held-out sources and esc50"]["clips"] == 4 + 3
    assert report["audiomamba tag, a process of its own, s"]["processor"] > 0
    assert report["demo"]["dog.ogg"]["model"][0].startswith(("Dog", "Bark", "Animal"))
    assert "silence" in report["sounds that are nothing"]
    assert report["speed, ms for 10 s"]["model"]["together"] > 0
