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


def test_what_is_to_be_ignored_is_never_trained_on():
    manifest = manifest_of(("train", "test", "ignore"))
    for held_out in (None, NOTHING):
        parts = split_clips(manifest, held_out, seed=0)
        assert "ignore" not in {clip.split for clip in (*parts.training, *parts.held_out)}


@pytest.mark.parametrize("held_out", [None, NOTHING, "1"])
def test_a_split_of_an_unknown_name_is_never_trained_on_silently(held_out):
    with pytest.raises(DataError, match="has the splits 1, 2, left; expected folds, or train, val"):
        split_clips(manifest_of(("1", "2", "left")), held_out, seed=0)


def test_a_fifth_is_held_out_where_all_is_for_training():
    parts = split_clips(manifest_of(["train"]), None, seed=0)
    assert parts.name == "valid"
    assert len(parts.held_out) == 2


def test_pieces_of_one_recording_stay_on_one_side():
    clips = [
        Clip(path=Path(f"{label}-{day}.wav"), labels=(label,), start_s=s, end_s=s + 1.0)
        for label in "ab"
        for day in range(5)
        for s in range(10)
    ]
    for seed in range(5):
        parts = split_clips(Manifest(labels="ab", clips=clips), None, seed=seed)
        held = {clip.path for clip in parts.held_out}
        assert held.isdisjoint(clip.path for clip in parts.training)
        assert len(parts.held_out) == 20


def test_a_class_that_is_one_recording_cannot_be_divided():
    clips = [
        Clip(path=Path(name), labels=(label,), start_s=s, end_s=s + 1.0, group=group)
        for label, name, group in (("a", "day.wav", None), ("b", "x.wav", "1"), ("b", "y.wav", "2"))
        for s in range(4)
    ]
    with pytest.raises(DataError, match=r"all 4 clips of 'a' are pieces of one recording, day.wav"):
        split_clips(Manifest(labels="ab", clips=clips), None, seed=0)
    clips[0] = Clip(path=Path("day.wav"), labels=("a",), end_s=1.0, group="morning")
    assert split_clips(Manifest(labels="ab", clips=clips), None, seed=0).held_out


@pytest.mark.parametrize("n_recordings", [2, 3, 10])
def test_recordings_with_pieces_of_all_classes_leave_each_something_to_learn_from(n_recordings):
    clips = [
        Clip(path=Path(f"{day}.wav"), labels=(label,), start_s=start_s, end_s=start_s + 1.0)
        for day in range(n_recordings)
        for start_s, label in enumerate("abcabc")
    ]
    for seed in range(10):
        parts = split_clips(Manifest(labels="abc", clips=clips), None, seed=seed)
        held = {clip.path for clip in parts.held_out}
        assert set(parts.training.label_names) == set(parts.held_out.label_names) == set("abc")
        assert held.isdisjoint(clip.path for clip in parts.training)
        assert len(held) == max(1, round(0.2 * n_recordings))


def test_recordings_that_share_classes_in_a_ring_leave_each_something_to_learn_from():
    pairs = {"ab": "1.wav", "bc": "2.wav", "ca": "3.wav"}
    clips = [
        Clip(path=Path(name), labels=(label,), start_s=start_s, end_s=start_s + 1.0)
        for labels, name in pairs.items()
        for start_s, label in enumerate(labels)
    ]
    for seed in range(10):
        parts = split_clips(Manifest(labels="abc", clips=clips), None, seed=seed)
        assert set(parts.training.label_names) == set("abc")
