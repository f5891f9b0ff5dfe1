import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiomamba.data import Clip, Clips

NAMES = st.text("abü .-_/", min_size=1, max_size=8).filter(lambda name: name.strip("/. "))
CLIPS = st.lists(
    st.builds(
        Clip,
        path=NAMES.map(Path),
        labels=st.lists(st.sampled_from("wxyz"), max_size=3, unique=True).map(tuple),
        split=st.sampled_from([None, "train", "test", "1"]),
        start_s=st.floats(0, 9),
        end_s=st.none() | st.floats(0, 9),
        key=st.sampled_from(["", "12+34", "waveform/5"]),
        group=st.none() | st.text(min_size=1, max_size=3),
        seconds=st.none() | st.floats(0, 9),
        sample_rate=st.none() | st.integers(1000, 96_000),
        digest=st.sampled_from([None, "0f" * 16]),
    ),
    max_size=9,
)


@given(CLIPS)
def test_clips_come_back_as_they_were(clips):
    held = Clips(clips)
    assert list(held) == clips
    assert pickle.loads(pickle.dumps(held)) == held
    assert list(held.names) == [clip.name for clip in clips]
    assert list(held[1:3]) == clips[1:3]


@given(CLIPS, st.data())
def test_what_is_taken_is_what_was_asked_for(clips, data):
    if not clips:
        return
    places = data.draw(st.lists(st.integers(0, len(clips) - 1), max_size=12))
    taken = Clips(clips).take(np.array(places, dtype=int))
    wanted = [clips[place] for place in places]
    assert list(taken) == wanted
    assert set(taken.label_names) == {label for clip in wanted for label in clip.labels}
    vectors = taken.label_vectors("zyxw")
    expected = np.array([[label in clip.labels for label in "zyxw"] for clip in wanted])
    np.testing.assert_array_equal(vectors.dense(), expected.reshape(-1, 4))
    np.testing.assert_array_equal(vectors.counts, expected.reshape(-1, 4).sum(axis=0))
    per_class = np.array([0.1, 1.0, 10.0, 1e5])
    np.testing.assert_allclose(vectors.sums(per_class), expected.reshape(-1, 4) @ per_class)
    for place, row in enumerate(expected):
        np.testing.assert_array_equal(vectors[place], row)


def test_parts_are_told_apart_and_changed():
    clips = Clips(
        Clip(path=Path(f"{i}.wav"), labels=(), split=split) for i, split in enumerate("abc")
    )
    assert clips.splits == {"a", "b", "c"}
    assert clips.in_splits(["c", "x"]).tolist() == [False, False, True]
    changed = clips.with_splits(["b", "b", "d"])
    assert [clip.split for clip in changed] == ["b", "b", "d"]
    assert [clip.split for clip in clips] == ["a", "b", "c"]


def test_a_million_clips_take_little_memory():
    clips = Clips(
        Clip(path=Path("folder", f"Y{i:011d}.wav"), labels=("a", "b"), split="train", group=str(i))
        for i in range(20_000)
    )
    assert len(pickle.dumps(clips)) / len(clips) < 200  # an object with its path takes over 500


def test_a_place_that_is_not_there_is_refused():
    vectors = Clips([Clip(path=Path("a.wav"), labels=("a",))]).label_vectors(["a"])
    assert vectors[-1].tolist() == [1]
    with pytest.raises(IndexError):
        vectors[1]
