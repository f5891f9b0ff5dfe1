import pytest
import torch

from audiomamba.infer.windows import cut


@pytest.mark.parametrize("n", [1, 2, 3, 9, 10, 11, 12, 35, 70])
def test_windows_joined_are_the_recording_without_a_rest_that_is_too_short(n: int) -> None:
    samples = torch.arange(n)

    batches = list(cut(samples, 10, shortest=2, batch_size=3))

    joined = torch.cat([batch.flatten() for batch in batches]) if batches else samples[:0]
    assert torch.equal(joined, samples[: n if n % 10 >= 2 else n // 10 * 10])


def test_full_windows_come_in_batches_and_the_rest_alone() -> None:
    shapes = [tuple(batch.shape) for batch in cut(torch.zeros(75), 10, shortest=2, batch_size=3)]

    assert shapes == [(3, 10), (3, 10), (1, 10), (1, 5)]
