from pathlib import Path

import pytest

from audiomamba.data import Clip, Manifest
from audiomamba.errors import DataError
from audiomamba.train.split import NOTHING, split_clips


def manifest_of(splits, labels="ab") -> Manifest:
    clips = tuple(
        Clip(path=Path(f"{split}-{label}-{i}"), labels=(label,), split=split)
        for split in splits
        for label in labels
        for i in range(5)
    )
    return Manifest(labels=tuple(labels), clips=clips)


def test_every_fold_is_held_out_from_its_own_training():
    manifest = manifest_of("12345")
    for fold in manifest.folds:
        parts = split_clips(manifest, fold, seed=0)
        assert {clip.split for clip in parts.held_out} == {fold}
        assert {clip.split for clip in parts.training} == set(manifest.folds) - {fold}
        assert len(parts.training) + len(parts.held_out) == len(manifest.clips)


@pytest.mark.parametrize(
    ("splits", "name"),
    [("23", "2"), (("train", "valid", "test"), "valid"), (("train", "test"), "test")],
)
def test_the_part_that_is_usually_held_out(splits, name):
    parts = split_clips(manifest_of(splits), None, seed=0)
    assert parts.name == name
    assert {clip.split for clip in parts.held_out} == {name}


def test_a_test_part_is_never_trained_on():
    parts = split_clips(manifest_of(("train", "valid", "test")), None, seed=0)
    assert {clip.split for clip in parts.training} == {"train"}


def test_a_fifth_of_an_undivided_set_is_held_out():
    parts = split_clips(manifest_of([None]), None, seed=0)
    assert parts.name == "valid"
    assert [clip.labels[0] for clip in parts.held_out] == ["a", "b"]
    assert split_clips(manifest_of([None]), "valid", seed=0) == parts


def test_nothing_may_be_held_out():
    manifest = manifest_of("12")
    parts = split_clips(manifest, NOTHING, seed=0)
    assert parts.training == manifest.clips
    assert not parts.held_out


def test_parts_without_one_to_hold_out_are_refused():
    with pytest.raises(DataError, match="the data set has the splits left, train; expected folds"):
        split_clips(manifest_of(("train", "left")), None, seed=0)


def test_a_class_that_is_only_held_out_is_named():
    manifest = manifest_of("12")
    clips = tuple(clip for clip in manifest.clips if clip.labels != ("b",) or clip.split == "1")
    with pytest.raises(DataError, match="all clips of 'b' are held out with the split '1'"):
        split_clips(Manifest(labels=("a", "b"), clips=clips), "1", seed=0)
