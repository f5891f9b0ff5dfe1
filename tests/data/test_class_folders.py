"""Folders of classes and splits, as people lay them out."""

import os
from pathlib import Path

import pytest

from audiomamba.data import open_manifest
from audiomamba.data.corpora.class_folders import read_folders
from audiomamba.errors import DataError


@pytest.mark.parametrize(
    ("one", "other", "splits"),
    [
        ("train", "val", {"train", "valid"}),
        ("training", "validation", {"train", "valid"}),
        ("Train", "Test", {"train", "test"}),
        ("train", "dev", {"train", "valid"}),
        ("TRAIN", "Eval", {"train", "test"}),
        ("train_set", "hold-out", {"train", "test"}),
        ("testing", "training", {"train", "test"}),
        ("fold1", "fold 2", {"1", "2"}),
    ],
)
def test_folders_of_splits_hold_the_classes(tmp_path, write_wav, one, other, splits):
    for split in (one, other):
        for label in ("dog", "rain"):
            write_wav(f"{split}/{label}/1.wav")
    manifest = open_manifest(tmp_path)
    assert manifest.labels == ("dog", "rain")
    assert set(manifest.splits) == splits
    assert {len(manifest.select(split)) for split in splits} == {2}


def test_splits_may_stand_in_the_classes(tmp_path, write_wav):
    for label in ("dog", "rain"):
        write_wav(f"{label}/Training/a/1.wav")
        write_wav(f"{label}/val/1.wav")
    manifest = open_manifest(tmp_path)
    assert manifest.labels == ("dog", "rain")
    assert [clip.split for clip in manifest.clips] == ["train", "valid"] * 2


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            ("train/dog/1.wav", "val/dog/1.wav", "cat/1.wav"),
            "train, val, by name of a split, besid",
        ),
        (("train/dog/1.wav", "extra/dog/1.wav"), "train, by name of a split, beside extra"),
        (("train/1.wav", "val/2.wav"), "train: a split by its name, but recordings stand in it"),
        (("dog/1.wav", "test/2.wav"), "test, by name of a split, beside dog"),
        (("dog/1.wav", "holdout/2.wav"), "holdout, by name of a split, beside dog"),
        (("fold1/1.wav", "fold2/2.wav"), "fold1: a split by its name, but recordings stand in it"),
        (("dog/train/1.wav", "dog/2.wav"), "2.wav is in no split, while others are"),
        (("1/dog/1.wav", "2/dog/1.wav"), "1 may be a fold or a class; name folds fold1"),
    ],
)
def test_what_is_not_understood_is_refused(tmp_path, write_wav, files, message):
    for name in files:
        write_wav(name)
    with pytest.raises(DataError, match=message) as caught:
        open_manifest(tmp_path)
    assert "\n" not in str(caught.value)


def test_the_sound_of_a_train_and_spoken_digits_are_classes(tmp_path, write_wav):
    for name in ("x/train/1.wav", "x/car/1.wav", "y/0/1.wav", "y/1/1.wav"):
        write_wav(name)
    assert open_manifest(tmp_path / "x").labels == ("car", "train")
    assert open_manifest(tmp_path / "y").labels == ("0", "1")


def test_what_is_to_be_ignored_is_no_class_and_no_split(tmp_path, write_wav):
    for home in ("a", "b/train"):
        for name in ("dog/1.wav", "cat/1.wav"):
            write_wav(f"{home}/{name}")
    write_wav("a/ignore/3.wav")
    write_wav("b/Ignore/dog/3.wav")
    for home in ("a", "b"):
        manifest = read_folders(tmp_path / home)
        assert manifest.labels == ("cat", "dog")
        assert len(manifest.clips) == 2
        assert manifest.notes == ("folders named as 'ignore' are left out",)


def test_recordings_beside_the_classes_are_named(tmp_path, write_wav):
    for name in ("dog/1.wav", "cat/1.wav", "stray.wav"):
        write_wav(name)
    manifest = read_folders(tmp_path)
    assert len(manifest.clips) == 2
    assert "1 recordings stand in no folder of a class and are left out" in manifest.notes[0]


@pytest.mark.parametrize("left", ["manifest.jsonl", "run.json", "finetune.json"])
def test_results_in_the_data_are_no_class(tmp_path, write_wav, left):
    for name in ("dog/1.wav", "cat/1.wav"):
        write_wav(name)
    (tmp_path / "earlier").mkdir()
    (tmp_path / "earlier" / left).touch()
    (tmp_path / "now").mkdir()
    assert read_folders(tmp_path, leave_out=tmp_path / "dog" / ".." / "now").labels == (
        "cat",
        "dog",
    )


def test_a_name_that_is_not_utf8_becomes_a_label_that_can_be_written(tmp_path, write_wav):
    write_wav("dog/1.wav")
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    odd.mkdir()
    write_wav("dog/2.wav").rename(odd / "2.wav")
    manifest = open_manifest(tmp_path)
    assert manifest.labels == ("caf\\udce9", "dog")
    assert [clip.path.is_file() for clip in manifest.clips] == [True, True]


def test_a_table_beside_the_recordings_is_pointed_at(tmp_path, write_wav):
    write_wav("audio/1.wav")
    (tmp_path / "labels.csv").write_text("filename,label\naudio/1.wav,dog\n")
    with pytest.raises(DataError, match=r"audio is its only folder, beside labels.csv; expected"):
        read_folders(tmp_path)
