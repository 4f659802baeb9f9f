import numpy as np
import torch
from hypothesis import given, settings, strategies as st
from scipy.stats import ks_2samp

from sensorium.modalities.signal.batch import SignalBatch
from sensorium.modalities.timeseries.views.crops import OverlappingCrops
from tests.modalities.timeseries.series import check_batch, modality, rng


@settings(max_examples=80, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=5),
    min_overlap=st.integers(1, 9),
    seed=st.integers(0, 999),
)
def test_aligned_steps_have_equal_values_and_crops_are_contiguous(lengths, min_overlap, seed):
    batch = SignalBatch.join([np.arange(n, dtype=np.float32)[None] + 1000 * i for i, n in enumerate(lengths)])
    views = OverlappingCrops(modality(1), min_overlap)(batch, rng(seed))
    seen = []
    for view in views:
        check_batch(view.batch)
        for i, (row, place) in enumerate(zip(view.batch.unpad(), view.info["crop"].tolist(), strict=True)):
            assert (np.diff(row[0]) == 1).all()
            assert place == [row[0, 0] - 1000 * i, row.shape[1], lengths[i]]
        aligned = view.info["aligned"]
        valid = aligned >= 0
        assert (aligned < view.batch.lengths[:, None]).all()
        seen.append(view.batch.values[:, 0].gather(1, aligned.clamp(min=0)).masked_fill(~valid, -1))
        shared = valid.sum(1)
        assert (shared >= torch.tensor(lengths).clamp(max=min_overlap)).all()
        assert torch.equal(valid, torch.arange(valid.shape[1]) < shared[:, None])
    assert torch.equal(*seen)
    first, second = (view.batch for view in views)
    for i, (one, other) in enumerate(zip(first.unpad(), second.unpad(), strict=True)):
        both = np.intersect1d(one, other)
        assert len(both) == (views[0].info["aligned"][i] >= 0).sum()  # all that overlaps is aligned
        assert one[0, 0] <= other[0, 0]
        assert one[0, -1] <= other[0, -1]


def draw_of_the_authors(length, rng):
    """First step, overlap, and steps before and after it, by the code that the authors published."""
    overlap = rng.integers(2, length + 1)
    left = rng.integers(length - overlap + 1)
    right = left + overlap
    eleft, eright = rng.integers(left + 1), rng.integers(right, length + 1)
    offset = rng.integers(-eleft, length - eright + 1)
    return eleft + offset, overlap, left - eleft, eright - right


def test_crops_have_the_distribution_of_the_authors():
    draw, numpy = rng(0), np.random.default_rng(0)
    generator = OverlappingCrops(modality(1))
    ours = np.array([[int(t) for t in generator.draw(torch.tensor([50]), draw)] for _ in range(4000)])
    reference = np.array([draw_of_the_authors(50, numpy) for _ in range(4000)])
    for column in range(4):
        assert ks_2samp(ours[:, column], reference[:, column]).pvalue > 1e-3


def test_a_batch_shares_its_lengths_and_each_row_has_its_offset():
    starts, overlap, before, after = OverlappingCrops(modality(1)).draw(torch.full((64,), 200), rng(3))
    for shared in (overlap, before, after):
        assert len(shared.unique()) == 1
    assert len(starts.unique()) > 10
