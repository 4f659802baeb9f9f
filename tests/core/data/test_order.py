import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from sensorium.data.order import EpochOrder
from sensorium.errors import DataError

sizes = st.tuples(st.integers(1, 60), st.integers(1, 60)).map(sorted)


@given(sizes, st.integers(0, 5), st.integers(0, 3))
@settings(deadline=None, max_examples=30)
def test_an_epoch_sees_no_record_twice(batch_and_count, seed, epoch):
    batch, count = batch_and_count
    order = EpochOrder(count, batch, seed)
    steps = range(epoch * order.steps_per_epoch, (epoch + 1) * order.steps_per_epoch)
    seen = np.concatenate([order.positions(step) for step in steps])
    assert len(seen) == order.steps_per_epoch * batch == count // batch * batch
    assert len(set(seen.tolist())) == len(seen)
    assert seen.min() >= 0
    assert seen.max() < count


@given(sizes, st.integers(0, 50), st.integers(1, 5), st.integers(1, 4))
@settings(deadline=None, max_examples=50)
def test_ranks_and_micro_batches_join_to_the_step(batch_and_count, step, world, accumulate):
    batch, count = batch_and_count
    order = EpochOrder(count, batch, seed=0)
    ranks = [np.concatenate(order.micro_batches(step, rank, world, accumulate)) for rank in range(world)]
    assert np.concatenate(ranks).tolist() == order.positions(step).tolist()
    assert max(map(len, ranks)) - min(map(len, ranks)) <= 1


def test_epochs_and_seeds_differ_and_calls_do_not():
    first = [EpochOrder(100, 100, seed=0).positions(step).tolist() for step in range(3)]
    assert first[0] != first[1] != first[2]
    order = EpochOrder(100, 100, seed=0)
    assert [order.positions(step).tolist() for step in (2, 0, 1)] == [first[2], first[0], first[1]]
    assert EpochOrder(100, 100, seed=1).positions(0).tolist() != first[0]


def test_a_record_left_over_in_one_epoch_comes_in_others():
    order = EpochOrder(10, 4, seed=0)
    assert {int(p) for step in range(20) for p in order.positions(step)} == set(range(10))


def test_a_batch_larger_than_the_data_is_an_error():
    with pytest.raises(DataError, match=r"data\.batch is 9, but there are only 8 records"):
        EpochOrder(8, 9, seed=0)
