import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.modalities.timeseries.views.masking import drop_channels, hide_steps
from tests.modalities.timeseries.series import batch_of, rng, sound


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=5),
    share=st.floats(0.01, 0.99),
    run=st.floats(1, 9),
    missing=st.floats(0, 0.9),
    seed=st.integers(0, 99),
)
def test_hiding_takes_away_and_never_everything(lengths, share, run, missing, seed):
    batch = batch_of(lengths, missing=missing, seed=seed)
    for hidden in (hide_steps(batch, share, run, rng(seed)), drop_channels(batch, share, rng(seed))):
        sound(hidden)
        assert not (hidden.observed & ~batch.observed).any()
        assert torch.equal(hidden.values[hidden.observed], batch.values[hidden.observed])
        assert hidden.observed.flatten(1).any(1).all()


def runs_of(hidden):
    """Lengths of hidden runs, those at the ends of rows left out."""
    found = []
    for row in ~hidden.observed[:, 0].numpy():
        edges = np.flatnonzero(np.diff(row.astype(int)))
        lengths = np.diff(edges)
        found += lengths[(1 if row[0] else 0) :: 2].tolist()
    return np.array(found)


@pytest.mark.parametrize(("share", "run"), [(0.15, 3.0), (0.5, 1.0), (0.5, 8.0), (0.3, 1.5), (0.9, 20.0)])
def test_share_and_run_are_met(share, run):
    hidden = hide_steps(batch_of([2000] * 20, channels=2), share, run, rng())
    assert torch.equal(hidden.observed[:, 0], hidden.observed[:, 1])  # all channels together
    assert abs((~hidden.observed).float().mean() - share) < 0.03
    mean = runs_of(hidden).mean()
    wanted = 1 / (1 - share) if run == 1 else run  # hidden singly, runs arise by chance
    assert abs(mean / wanted - 1) < 0.1
    first = hide_steps(batch_of([150] * 3000, channels=1), share, run, rng()).observed[:, 0, 0]
    assert abs((~first).float().mean() - share) < 0.03  # the first step is no exception


def test_channels_drop_with_their_probability():
    dropped = ~drop_channels(batch_of([4] * 3000, channels=8), 0.25, rng()).observed.any(2)
    assert abs(dropped.float().mean() - 0.25) < 0.01
    assert torch.equal(drop_channels(batch_of([4], channels=1), 1.0, rng()).values, batch_of([4], channels=1).values)
    every = drop_channels(batch_of([4] * 400, channels=4), 1.0, rng()).observed.any(2)
    assert (every.sum(1) == 1).all()
    assert every.float().mean(0).min() > 0.15  # which one stays is chance
