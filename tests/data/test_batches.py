import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Dataset

from audiomamba.data import EpochBatches, EpochSampler
from audiomamba.errors import ConfigError


def batches(n_clips, batch_size, rank=0, world_size=1, epoch=0, start=0) -> list:
    found = EpochBatches(EpochSampler(n_clips, seed=3), batch_size, rank, world_size)
    found.sampler.set_epoch(epoch)
    found.start_at(epoch, start)
    assert len(list(found)) == len(found) == found.n_steps - start
    return list(found)


@given(st.integers(1, 90), st.integers(1, 7), st.integers(1, 5))
def test_each_clip_is_seen_once_in_equally_many_steps(n_clips, batch_size, world_size):
    if n_clips < world_size:
        return
    shares = [batches(n_clips, batch_size, rank, world_size) for rank in range(world_size)]
    seen = [key[1] for share in shares for batch in share for key in batch]
    assert sorted(seen) == list(range(n_clips))
    assert len({len(share) for share in shares}) == 1
    assert all(batch for share in shares for batch in share)


def test_two_processes_see_what_one_with_the_doubled_batch_sees():
    alone = batches(37, 8, epoch=5)
    first, second = (batches(37, 4, rank, 2, epoch=5) for rank in (0, 1))
    for step, batch in enumerate(alone):
        assert sorted(first[step] + second[step]) == sorted(batch)


def test_the_order_is_that_of_the_sampler():
    sampler = EpochSampler(10, seed=3)
    sampler.set_epoch(2)
    assert [key for batch in batches(10, 4, epoch=2) for key in batch] == list(sampler)


@pytest.mark.parametrize("start", [0, 1, 5, 9])
def test_an_epoch_goes_on_where_it_was_left(start):
    whole = batches(37, 2, rank=1, world_size=2, epoch=7)
    assert batches(37, 2, rank=1, world_size=2, epoch=7, start=start) == whole[start:]


def test_the_epoch_after_a_resumed_one_is_whole():
    found = EpochBatches(EpochSampler(10, seed=3), 2)
    found.start_at(0, 4)
    assert len(list(found)) == len(found) == 1
    found.sampler.set_epoch(1)
    assert len(list(found)) == len(found) == 5


def test_a_loader_with_workers_gives_the_same_batches():
    class Keys(Dataset):
        def __getitem__(self, key):
            return key

    def load(n_workers: int) -> list:
        order = EpochBatches(EpochSampler(23, seed=3), 4, rank=1, world_size=2)
        order.start_at(0, 1)
        loader = DataLoader(Keys(), batch_sampler=order, num_workers=n_workers, collate_fn=np.array)
        return [batch.tolist() for batch in loader]

    assert load(0) == load(2)
    assert len(load(0)) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((10, 0), "batch_size at least 1"),
        ((10, 1, 2, 2), "0 <= rank < world_size"),
        ((1, 1, 0, 2), "1 clips for 2 processes"),
    ],
)
def test_numbers_out_of_range_are_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
        batches(*arguments)


def test_a_step_past_the_end_is_refused():
    with pytest.raises(ConfigError, match="expected 0 to 5"):
        batches(10, 2, start=6)
