import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.stats import chi2

from sensorium.data.orders.blocks import Blocks
from sensorium.errors import DataError

SIZES = st.lists(st.integers(1, 40), min_size=1, max_size=30)


def starts_of(sizes):
    return np.concatenate([[0], np.cumsum(sizes)])


@given(SIZES, st.integers(1, 40), st.floats(0.05, 1), st.booleans(), st.integers(0, 3))
@settings(deadline=None, max_examples=80)
def test_every_record_comes_once_an_epoch(sizes, window, part, is_sorted, epoch):
    rng, count = np.random.default_rng(0), sum(sizes)
    positions = rng.permutation(count)[: max(1, int(part * count))]
    positions = np.sort(positions) if is_sorted else positions
    order = Blocks(starts_of(sizes), positions, window, seed=0).epoch(epoch)
    places = np.arange(len(positions))
    whole = order.at(places)
    assert np.array_equal(np.sort(whole), places)
    cut = rng.permutation(places)
    assert np.array_equal(order.at(cut), whole[cut])


@given(SIZES, st.integers(1, 40), st.integers(0, 3))
@settings(deadline=None, max_examples=60)
def test_a_window_holds_all_of_a_few_fragments(sizes, window, epoch):
    """At any time at most `window` fragments are begun and not finished, of whatever sizes."""
    starts, count = starts_of(sizes), sum(sizes)
    whole = Blocks(starts, np.arange(count), window, seed=1).epoch(epoch).at(np.arange(count))
    fragment = np.searchsorted(starts, whole, side="right") - 1
    first = [int(np.flatnonzero(fragment == f)[0]) for f in range(len(sizes))]
    last = [int(np.flatnonzero(fragment == f)[-1]) for f in range(len(sizes))]
    assert max(sum(a <= at <= b for a, b in zip(first, last, strict=True)) for at in range(count)) <= window


def test_a_fragment_says_nothing_of_its_place_and_a_record_nothing_of_its_place_in_the_window():
    starts, count = np.arange(0, 6401, 100), 6400
    fragments, within = np.zeros((64, 8), int), np.zeros((10, 10), int)
    for epoch in range(40):
        order = Blocks(starts, np.arange(count), 8, seed=0).epoch(epoch).at(np.arange(count))
        np.add.at(fragments, (order // 100, np.arange(count) // 800), 1)
        np.add.at(within, (order % 100 // 10, np.arange(count) % 800 // 80), 1)
    windows = fragments / 100  # of 40 epochs, a fragment is in each of 8 windows about 5 times
    assert np.array_equal(windows, windows.round())
    assert chi2.sf(((windows - 5) ** 2 / 5).sum() * 63 / 64, 63 * 7) > 1e-3
    assert chi2.sf(((within - 2560) ** 2 / 2560).sum(), 81) > 1e-3


def test_a_batch_has_records_of_all_fragments_of_its_window():
    """How good the shuffle is: of 16 fragments of 1,000 records, a batch of 256 has some of each."""
    order = Blocks(np.arange(0, 64_001, 1000), np.arange(64_000), 16, seed=0).epoch(0).at(np.arange(64_000))
    batches = (order // 1000)[: 62 * 256].reshape(62, 256)
    assert min(len(set(batch.tolist())) for batch in batches) == 16
    together = np.mean([len(set(batch.tolist())) / len(batch) for batch in batches])
    assert together < 0.1  # what `shuffled` has nearly 64 of: fragments a batch is read from


def test_windows_are_even():
    """17 fragments in windows of 16 are two windows of 8 and 9, not one of 16 and a batch of one fragment."""
    blocks = Blocks(np.arange(0, 1701, 100), np.arange(1700), 16, seed=0)
    fragments, records = blocks.windows(np.arange(17))
    assert np.diff(fragments).tolist() == [8, 9]
    assert np.diff(records).tolist() == [800, 900]


def test_epochs_differ_and_objects_do_not():
    def whole(epoch, seed=0):
        return Blocks(starts_of([50] * 20), np.arange(1000), 4, seed).epoch(epoch).at(np.arange(1000)).tolist()

    assert whole(0) == whole(0)
    assert whole(0) != whole(1)
    assert whole(0) != whole(0, seed=1)


def test_storage_without_fragments_is_an_error():
    with pytest.raises(DataError, match=r"data\.order is blocks, but this source reads its records one by one"):
        Blocks(None, np.arange(10), 4, seed=0)
