import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audiomamba.infer.windows import WindowBatch, WindowMean, cut


@st.composite
def cuttings(draw: st.DrawFn) -> tuple[torch.Tensor, list[int], int, int, int]:
    """A recording, where its blocks end, a window, a hop and a batch size."""
    n = draw(st.integers(1, 120))
    n_samples = draw(st.integers(1, 40))
    edges = draw(st.lists(st.integers(0, n), max_size=6))
    hop = draw(st.integers(1, n_samples))
    return torch.arange(1.0, n + 1), sorted(edges), n_samples, hop, draw(st.integers(1, 5))


def cut_all(recording: torch.Tensor, edges: list[int], *sizes: int) -> list[WindowBatch]:
    n_samples, hop, batch_size = sizes
    blocks = recording.tensor_split(edges)
    return list(cut(blocks, n_samples, hop, batch_size=batch_size))


@settings(deadline=None, max_examples=300)
@given(cuttings())
def test_windows_hold_every_sample_in_its_place(given_: tuple) -> None:
    recording, edges, n_samples, hop, batch_size = given_
    seen = torch.zeros(len(recording), dtype=torch.bool)

    for batch in cut_all(recording, edges, n_samples, hop, batch_size):
        assert batch.samples.shape == (len(batch.starts), n_samples)
        for samples, start, length in zip(*batch, strict=True):
            assert torch.equal(samples[:length], recording[start : start + length])
            assert not samples[length:].any()
            seen[start : start + length] = True

    assert seen.all()


@settings(deadline=None, max_examples=300)
@given(cuttings())
def test_only_the_last_window_is_not_full_and_none_is_too_many(given_: tuple) -> None:
    recording, edges, n_samples, hop, batch_size = given_

    batches = cut_all(recording, edges, n_samples, hop, batch_size)

    starts = [start for batch in batches for start in batch.starts.tolist()]
    lengths = [length for batch in batches for length in batch.lengths.tolist()]
    assert starts == list(range(0, hop * len(starts), hop))
    assert lengths[:-1] == [n_samples] * (len(lengths) - 1)
    assert max(len(batch.starts) for batch in batches) <= batch_size
    assert len(starts) == 1 or starts[-2] + n_samples < len(recording)


@settings(deadline=None, max_examples=100)
@given(cuttings())
def test_blocks_make_no_difference(given_: tuple) -> None:
    recording, edges, *sizes = given_

    for one, other in zip(
        cut_all(recording, edges, *sizes), cut_all(recording, [], *sizes), strict=True
    ):
        assert all(map(torch.equal, one, other))


def test_a_recording_without_samples_has_no_windows() -> None:
    assert list(cut([torch.zeros(0)], 10, 10, batch_size=2)) == []


def test_windows_come_as_soon_as_they_are_full() -> None:
    given_: list[int] = []

    def blocks() -> object:
        for place in range(100):
            given_.append(place)
            yield torch.zeros(1)

    batches = cut(blocks(), 10, 4, batch_size=1)  # type: ignore[arg-type]

    for n_expected in (10, 14, 18):
        next(batches)
        assert len(given_) == n_expected


@settings(deadline=None, max_examples=200)
@given(cuttings())
def test_every_sample_counts_alike_in_the_mean(given_: tuple) -> None:
    recording, edges, n_samples, hop, batch_size = given_
    mean, sums, counts = WindowMean(), torch.zeros(len(recording)), torch.zeros(len(recording))
    for batch in cut_all(recording, edges, n_samples, hop, batch_size):
        for start, length in zip(batch.starts.tolist(), batch.lengths.tolist(), strict=True):
            value = float(start % 7)
            mean.add(start, length, torch.tensor([value, 1.0]))
            sums[start : start + length] += value
            counts[start : start + length] += 1

    found = mean.result()

    assert mean.n_samples == len(recording)
    assert found[0].item() == pytest.approx((sums / counts).mean().item(), abs=1e-5)
    assert found[1].item() == pytest.approx(1)


def test_the_mean_keeps_only_the_windows_that_are_not_over() -> None:
    mean = WindowMean()
    for place in range(10_000):
        mean.add(10 * place, 25, torch.ones(1))
        assert len(mean._open) <= 3
