import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from audiomamba.infer.frame_stream import FrameMerger, WindowSteps


def merged(windows: list[WindowSteps], step: float) -> Tensor:
    merger = FrameMerger(step, windows[0].values.shape[1])
    return torch.cat([*map(merger.add, windows), merger.finish()])


def window_starts(n_samples: int, length: int, hop: int) -> list[tuple[int, int]]:
    """Starts and lengths of windows that cover a recording."""
    starts = range(0, max(1, n_samples - length + hop), hop)
    return [(start, min(length, n_samples - start)) for start in starts if start < n_samples]


@settings(max_examples=200, deadline=None)
@given(
    n_samples=st.integers(1, 3000),
    length=st.integers(1, 700),
    hops=st.floats(0.05, 1.0),
    step=st.floats(1.0, 400.0),
    n_steps=st.integers(1, 40),
)
def test_any_recording_is_covered_with_finite_frames(
    n_samples: int, length: int, hops: float, step: float, n_steps: int
) -> None:
    hop = max(1, int(length * hops))
    windows = [
        WindowSteps(start, covered, torch.rand(n_steps, 2), length / n_steps)
        for start, covered in window_starts(n_samples, length, hop)
    ]

    frames = merged(windows, step)

    assert len(frames) == math.ceil(n_samples / step)
    assert frames.isfinite().all()
    assert frames.min() >= 0
    assert frames.max() <= 1


def test_a_straight_line_stays_one_through_overlapping_windows() -> None:
    def line(start: int) -> Tensor:
        return (torch.arange(20) * 10.0 + 5 + start)[:, None]

    windows = [WindowSteps(start, 200, line(start), 10.0) for start in range(0, 1001, 100)]

    frames = merged(windows, 25.0)

    middles = torch.arange(48) * 25.0 + 12.5
    torch.testing.assert_close(frames[:, 0], middles)


def test_where_windows_overlap_the_one_whose_middle_is_nearer_counts_more() -> None:
    windows = [
        WindowSteps(0, 100, torch.zeros(1, 1), 100.0),
        WindowSteps(50, 100, torch.ones(1, 1), 100.0),
    ]

    frames = merged(windows, 10.0)[:, 0]

    assert (frames[:5] == 0).all()
    assert (frames[10:] == 1).all()
    torch.testing.assert_close(frames[5:10], torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9]))


def test_frames_come_as_soon_as_no_window_can_change_them() -> None:
    merger = FrameMerger(10.0, 1)

    assert len(merger.add(WindowSteps(0, 100, torch.zeros(10, 1), 10.0))) == 0
    assert len(merger.add(WindowSteps(50, 100, torch.zeros(10, 1), 10.0))) == 5
    assert len(merger.add(WindowSteps(100, 30, torch.zeros(3, 1), 10.0))) == 5
    assert len(merger.finish()) == 5


@pytest.mark.parametrize(("n_samples", "n_frames"), [(1, 1), (4, 1), (10, 1), (14, 2), (16, 2)])
def test_the_last_part_of_a_step_has_a_frame(n_samples: int, n_frames: int) -> None:
    frames = merged([WindowSteps(0, n_samples, torch.full((1, 1), 0.5), float(n_samples))], 10.0)

    assert frames.flatten().tolist() == [0.5] * n_frames
