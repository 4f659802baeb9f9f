import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from sensorium.modalities.timeseries.views.masking import drop_channels, mask_steps
from tests.modalities.timeseries.series import batch_of, check_batch, rng


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=5),
    ratio=st.floats(0.01, 0.99),
    span=st.floats(1, 9),
    missing=st.floats(0, 0.9),
    seed=st.integers(0, 99),
)
def test_masking_removes_values_and_never_all(lengths, ratio, span, missing, seed):
    batch = batch_of(lengths, missing=missing, seed=seed)
    for masked in (mask_steps(batch, ratio, span, rng(seed)), drop_channels(batch, ratio, rng(seed))):
        check_batch(masked)
        assert not (masked.observed & ~batch.observed).any()
        assert torch.equal(masked.values[masked.observed], batch.values[masked.observed])
        assert masked.observed.flatten(1).any(1).all()


def span_lengths(masked):
    """Lengths of masked spans, except those at the ends of rows."""
    found = []
    for row in ~masked.observed[:, 0].numpy():
        edges = np.flatnonzero(np.diff(row.astype(int)))
        lengths = np.diff(edges)
        found += lengths[(1 if row[0] else 0) :: 2].tolist()
    return np.array(found)


@pytest.mark.parametrize(("ratio", "span"), [(0.15, 3.0), (0.5, 1.0), (0.5, 8.0), (0.3, 1.5), (0.9, 20.0)])
def test_spans_have_their_ratio_and_mean_length(ratio, span):
    masked = mask_steps(batch_of([2000] * 20, channels=2), ratio, span, rng())
    assert torch.equal(masked.observed[:, 0], masked.observed[:, 1])  # all channels together
    assert abs((~masked.observed).float().mean() - ratio) < 0.03
    mean = span_lengths(masked).mean()
    expected = 1 / (1 - ratio) if span == 1 else span  # masked independently, spans arise by chance
    assert abs(mean / expected - 1) < 0.1
    first = mask_steps(batch_of([150] * 3000, channels=1), ratio, span, rng()).observed[:, 0, 0]
    assert abs((~first).float().mean() - ratio) < 0.03  # the first step is no exception


def test_channels_are_dropped_with_their_probability():
    dropped = ~drop_channels(batch_of([4] * 3000, channels=8), 0.25, rng()).observed.any(2)
    assert abs(dropped.float().mean() - 0.25) < 0.01
    assert torch.equal(drop_channels(batch_of([4], channels=1), 1.0, rng()).values, batch_of([4], channels=1).values)
    every = drop_channels(batch_of([4] * 400, channels=4), 1.0, rng()).observed.any(2)
    assert (every.sum(1) == 1).all()
    assert every.float().mean(0).min() > 0.15  # which one stays is random
