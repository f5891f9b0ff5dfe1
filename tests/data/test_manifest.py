from pathlib import Path

import numpy as np
import pytest

from audiomamba.data import Clip, Manifest
from audiomamba.errors import DataError


def clips_of(write_wav, n: int, labels: str = "ab", split=None) -> tuple[Clip, ...]:
    return tuple(
        Clip(path=write_wav(f"{i}.wav"), labels=(labels[i % len(labels)],), split=split)
        for i in range(n)
    )


def test_a_good_manifest_passes(write_wav):
    Manifest(labels=("a", "b"), clips=clips_of(write_wav, 4)).check()


def test_a_missing_file_is_named(write_wav):
    clips = (*clips_of(write_wav, 2), Clip(path=Path("gone.wav"), labels=("a",)))
    with pytest.raises(DataError, match=r"^1 clips are in the list but not on disk: gone.wav$"):
        Manifest(labels=("a", "b"), clips=clips).check()


def test_a_label_outside_the_list_is_named(write_wav):
    with pytest.raises(DataError, match=r"not in the label list: 1.wav \(b\)"):
        Manifest(labels=("a",), clips=clips_of(write_wav, 2)).check()


def test_a_class_without_clips_is_named(write_wav):
    with pytest.raises(DataError, match="no clip is labeled c"):
        Manifest(labels=("a", "b", "c"), clips=clips_of(write_wav, 2)).check()


def test_a_file_listed_twice_is_named(write_wav):
    clips = clips_of(write_wav, 2)
    with pytest.raises(DataError, match=r"1 clips are listed more than once: .*0.wav"):
        Manifest(labels=("a", "b"), clips=(*clips, clips[0])).check()


def test_two_pieces_of_a_file_are_not_the_same_clip(write_wav):
    path = write_wav("long.wav")
    clips = tuple(
        Clip(path=path, labels=(label,), start_s=start, end_s=start + 0.2)
        for label, start in (("a", 0.0), ("b", 0.2))
    )
    Manifest(labels=("a", "b"), clips=clips).check()


def test_a_label_listed_twice_is_named(write_wav):
    with pytest.raises(DataError, match="names a more than once"):
        Manifest(labels=("a", "b", "a"), clips=clips_of(write_wav, 2)).check()


def test_no_clips_are_refused():
    with pytest.raises(DataError, match="has no clips"):
        Manifest(labels=("a",), clips=()).check()


def test_long_lists_of_names_are_shortened():
    clips = tuple(Clip(path=Path(f"{i}.wav"), labels=("a",)) for i in range(9))
    with pytest.raises(DataError, match=r"9 clips .*: 0.wav, 1.wav, 2.wav and 6 more$"):
        Manifest(labels=("a",), clips=clips).check()


def test_folds_are_sorted_by_value_and_disjoint(write_wav):
    clips = tuple(
        Clip(path=write_wav(f"{i}.wav"), labels=("a",), split=str(1 + i % 11)) for i in range(22)
    )
    manifest = Manifest(labels=("a",), clips=clips)
    assert manifest.folds == tuple(str(fold) for fold in range(1, 12))
    found = [clip for fold in manifest.folds for clip in manifest.select(fold)]
    assert len(found) == len({clip.path for clip in found}) == 22


def test_an_unknown_part_is_refused_with_the_known_ones(write_wav):
    manifest = Manifest(labels=("a", "b"), clips=clips_of(write_wav, 2, split="train"))
    with pytest.raises(DataError, match=r"no part 'test'; its parts: train"):
        manifest.select("test")


def test_targets_hold_a_one_per_label():
    clips = [Clip(path=Path("x"), labels=("c", "a")), Clip(path=Path("y"), labels=())]
    targets = Manifest(labels=("a", "b", "c"), clips=()).targets(clips)
    np.testing.assert_array_equal(targets, [[1, 0, 1], [0, 0, 0]])
    assert targets.dtype == np.float32


def test_held_out_clips_are_a_share_of_every_class(write_wav):
    manifest = Manifest(labels=("a", "b"), clips=clips_of(write_wav, 20)).with_held_out(0.2, 0)
    held = manifest.select("valid")
    assert sorted(clip.labels[0] for clip in held) == ["a", "a", "b", "b"]
    assert len(manifest.select("train")) == 16


def test_held_out_clips_depend_on_the_seed_only(write_wav):
    manifest = Manifest(labels=("a", "b"), clips=clips_of(write_wav, 20))
    assert manifest.with_held_out(0.2, 1) == manifest.with_held_out(0.2, 1)
    assert manifest.with_held_out(0.2, 1) != manifest.with_held_out(0.2, 2)


def test_a_class_of_one_clip_cannot_be_divided(write_wav):
    manifest = Manifest(labels=("a", "b"), clips=clips_of(write_wav, 3))
    with pytest.raises(DataError, match="'b' has 1 clip"):
        manifest.with_held_out(0.2, 0)


def test_the_fingerprint_sees_labels_and_parts(write_wav):
    clips = clips_of(write_wav, 2)
    same = Manifest(labels=("a", "b"), clips=clips).fingerprint
    assert Manifest(labels=("a", "b"), clips=clips).fingerprint == same
    assert Manifest(labels=("b", "a"), clips=clips).fingerprint != same
    assert Manifest(labels=("a", "b"), clips=clips[:1]).fingerprint != same
