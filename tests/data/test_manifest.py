import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiomamba.data import Clip, Manifest, read_manifest, write_manifest
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
    with pytest.raises(DataError, match=r"no split 'test'; its splits: train"):
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


def in_parts(write_wav, groups: str) -> Manifest:
    """Clips of one class, in turns for training and testing, with a letter each for the group."""
    clips = [
        Clip(path=write_wav(f"{i}.wav"), labels=("a",), split=("train", "test")[i % 2], group=group)
        for i, group in enumerate(groups)
    ]
    return Manifest(labels=("a",), clips=clips)


def test_a_group_in_two_parts_is_named(write_wav):
    in_parts(write_wav, "xyxy").check()
    with pytest.raises(DataError, match=r"1 groups are in more than one split: x \(test, train\)"):
        in_parts(write_wav, "xyxx").check()


def test_published_corpora_stay_as_they_were_published(write_wav):
    clips = in_parts(write_wav, "xx").clips
    manifest = Manifest(labels=("a", "b"), clips=clips, corpus="vggsound")
    manifest.check()
    empty, shared = manifest.warnings()
    assert empty.startswith("no clip is labeled b;")
    assert shared.startswith("1 groups are in more than one split: x (test, train)")


@pytest.mark.parametrize("kind", ["no bytes", "no samples", "measured", "piece"])
def test_a_clip_of_zero_length_is_named(write_wav, kind):
    path = write_wav("b.wav")
    about = {}
    if kind == "no bytes":
        path.write_bytes(b"")
    elif kind == "no samples":
        soundfile.write(path, np.zeros(0), 16_000)
    elif kind == "measured":
        about = {"seconds": 0.0}
    else:
        about = {"start_s": 0.2, "end_s": 0.2}
    clips = [Clip(path=write_wav("a.wav"), labels=("a",)), Clip(path=path, labels=("a",), **about)]
    with pytest.raises(DataError, match=r"^1 clips are of zero length: .*b\.wav") as caught:
        Manifest(labels=("a",), clips=clips).check()
    assert "\n" not in str(caught.value)


def test_groups_are_held_out_whole(write_wav):
    groups = "ppqqqrrsst"
    clips = [
        Clip(path=write_wav(f"{i}.wav"), labels=("ab"[i % 2],), group=group)
        for i, group in enumerate(groups * 2)
    ]
    for seed in range(5):
        divided = Manifest(labels=("a", "b"), clips=clips).with_held_out(0.2, seed)
        held, kept = divided.select("valid"), divided.select("train")
        assert not {clip.group for clip in held} & {clip.group for clip in kept}
        assert set(held.label_names) == set(kept.label_names) == {"a", "b"}


def test_a_class_of_one_group_cannot_be_divided(write_wav):
    clips = [Clip(path=write_wav(f"{i}.wav"), labels=("a",), group="x") for i in range(3)]
    with pytest.raises(DataError, match="'a' has 1 group"):
        Manifest(labels=("a",), clips=clips).with_held_out(0.2, 0)


def test_all_parts_but_some_are_left(write_wav):
    clips = clips_of(write_wav, 3)
    splits = ("train", None, "test")
    manifest = Manifest(
        labels=("a", "b"),
        clips=[replace(clip, split=split) for clip, split in zip(clips, splits, strict=True)],
    )
    assert [clip.split for clip in manifest.leave_out(("test", "valid"))] == ["train", None]


FULL = Clip(
    path=Path("sub", "ä b.h5"),
    labels=("a, b", "c"),
    split="train",
    start_s=0.1,
    end_s=2.30000001,
    key="waveform/3",
    group="g",
    seconds=2.2,
    sample_rate=32_000,
    digest="00" * 16,
)


def written(folder: Path) -> Path:
    clips = [
        replace(FULL, path=folder / FULL.path),
        Clip(path=folder.parent / "beside.wav", labels=()),
    ]
    path = folder / "manifest.jsonl"
    write_manifest(path, Manifest(labels=("c", "a, b"), clips=clips, corpus="vggsound"))
    return path


def test_a_manifest_comes_back_from_disk(tmp_path):
    path = written(tmp_path / "made")
    found = read_manifest(path)
    assert found.labels == ("c", "a, b")
    assert found.corpus == "vggsound"
    first, second = found.clips
    assert first == replace(FULL, path=tmp_path / "made" / FULL.path)
    assert second == Clip(path=tmp_path / "beside.wav", labels=())


def test_a_manifest_may_be_moved_with_its_recordings(tmp_path):
    written(tmp_path / "here" / "made")
    (tmp_path / "here").rename(tmp_path / "there")
    found = read_manifest(tmp_path / "there" / "made" / "manifest.jsonl")
    assert found.clips[0].path == tmp_path / "there" / "made" / FULL.path
    assert found.clips[1].path == tmp_path / "there" / "beside.wav"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: lines[:-1], "cut short, 1 of 2 clips are there"),
        (lambda lines: lines[1:], "not a manifest, its first line"),
        (lambda lines: ["", *lines], "not a manifest, its first line"),
        (lambda lines: [lines[0], lines[1][:-9], lines[2]], "line 2 does not describe a clip"),
        (lambda lines: [lines[0], lines[1], "[1]"], "line 3 does not describe a clip"),
        (
            lambda lines: [lines[0], lines[1], '{"path": "a", "labels": [], "x": 1}'],
            "line 3 does not",
        ),
        (
            lambda lines: [lines[0].replace(": 1", ":1").replace(":1,", ":7,", 1), *lines[1:]],
            "version 7",
        ),
    ],
)
def test_a_damaged_manifest_gets_one_line(tmp_path, change, message):
    path = written(tmp_path / "made")
    path.write_text("\n".join(change(path.read_text().splitlines())))
    with pytest.raises(DataError, match=message) as caught:
        read_manifest(path)
    assert "\n" not in str(caught.value)


def test_a_manifest_says_nothing_that_is_not_known(tmp_path):
    path = written(tmp_path / "made")
    assert json.loads(path.read_text().splitlines()[2]) == {"path": "../beside.wav", "labels": []}


def test_pieces_of_a_recording_in_two_folds_are_named_unless_a_group_says_otherwise(write_wav):
    path = write_wav("day.wav")
    pieces = [(0.0, 0.2, "1"), (0.2, 0.4, "2")]

    def manifest(group):
        return Manifest(
            labels=("a",),
            clips=[
                Clip(
                    path=path,
                    labels=("a",),
                    start_s=start_s,
                    end_s=end_s,
                    split=split,
                    group=group and group + split,
                )
                for start_s, end_s, split in pieces
            ],
        )

    with pytest.raises(DataError, match=r"1 recordings have pieces in more than one split: .*day"):
        manifest(None).check()
    manifest("piece ").check()


@pytest.mark.parametrize(
    ("first", "other"),
    [("dog", "Dog"), ("dog", "dog "), ("big dog", "BIG_dog"), ("d\u00f3g", "do\u0301g")],
)
def test_labels_that_differ_only_in_spelling_are_refused(write_wav, first, other):
    clips = [
        Clip(path=write_wav(f"{number}.wav"), labels=(label,))
        for number, label in enumerate((first, other))
    ]
    with pytest.raises(DataError, match="differ only in spelling; expected one of them"):
        Manifest(labels=sorted((first, other)), clips=clips).check()


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ('{"path": "a.wav", "labels": "dog"}', "labels is 'dog'; expected a list of names"),
        ('{"path": "a.wav", "labels": ["dog"], "start_s": "1"}', "start_s is '1'"),
        ('{"path": "a.wav", "labels": ["dog"], "end_s": NaN}', "end_s is nan"),
        ('{"path": "a.wav", "labels": ["dog"], "split": 1}', "split is 1"),
        ('{"path": "a.wav", "labels": ["dog"], "fold": "1"}', "fold is '1'"),
        ('{"path": 1, "labels": ["dog"]}', ""),
        ("a.wav,dog", ""),
    ],
)
def test_a_line_of_a_manifest_that_is_no_clip_is_named(tmp_path, row, reason):
    head = '{"audiomamba_manifest":1,"corpus":null,"labels":["dog"],"n_clips":1}'
    (tmp_path / "manifest.jsonl").write_text(f"{head}\n\n{row}\n")
    with pytest.raises(DataError, match=f"line 3 does not describe a clip.*{reason}"):
        read_manifest(tmp_path / "manifest.jsonl")


def test_usual_names_of_splits_are_understood_in_manifests(tmp_path):
    head = '{"audiomamba_manifest":1,"corpus":null,"labels":["dog"],"n_clips":3}'
    rows = [
        f'{{"path":"{split}.wav","labels":["dog"],"split":"{split}"}}'
        for split in ("Training", "dev", "holdout")
    ]
    (tmp_path / "manifest.jsonl").write_text("\n".join([head, *rows]) + "\n")
    manifest = read_manifest(tmp_path / "manifest.jsonl")
    assert [clip.split for clip in manifest.clips] == ["train", "valid", "test"]
    assert manifest.select("val")[0].path.name == "dev.wav"


@pytest.mark.parametrize("seed", range(5))
def test_groups_that_have_clips_of_all_classes_are_not_all_held_out(seed):
    clips = [
        Clip(path=Path(f"{speaker}-{word}-{take}.wav"), labels=(word,), group=speaker)
        for speaker in ("anna", "ben", "cleo", "dan")
        for word in ("no", "one", "two", "yes")
        for take in range(3)
    ]
    labels = ("no", "one", "two", "yes")
    divided = Manifest(labels=labels, clips=clips).with_held_out(0.2, seed)
    held_out = divided.select("valid")
    assert len(set(held_out.groups())) == 1
    assert set(held_out.label_names) == set(labels)
