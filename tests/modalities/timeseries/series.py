"""Batches of series for tests."""

import numpy as np
import torch

from sensorium.modalities.signal.batch import SignalBatch
from sensorium.modalities.timeseries.modality import TimeSeriesModality


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch_of(lengths, channels=3, missing=0.0, seed=0) -> SignalBatch:
    """Random series of the given lengths, a fraction of whose values is missing; each row keeps at least one."""
    draw = np.random.default_rng(seed)
    examples = [draw.standard_normal((channels, length)).astype(np.float32) for length in lengths]
    for example in examples:
        gone = draw.random(example.shape) < missing
        gone.flat[draw.integers(gone.size)] = False
        example[gone] = np.nan
    return SignalBatch.join(examples)


def modality(channels=3, **options) -> TimeSeriesModality:
    return TimeSeriesModality(channels=channels, scale="none", **options)


def check_batch(batch: SignalBatch) -> None:
    """The invariants of every batch of signals."""
    assert batch.values.isfinite().all()
    assert (batch.values[~batch.observed] == 0).all()
    assert not (batch.observed & ~batch.valid[:, None]).any()
    assert (batch.lengths >= 1).all()
    assert batch.values.shape == batch.observed.shape
    assert batch.values.dtype == torch.float32


NAMES = ("x", "y", "z", *(f"electrode {i}" for i in range(64)))


def raw_sets(counts=(2, 9, 24), steps=40, seed=0) -> list[dict]:
    """Raw series of different channel sets, the first channels of each by the same names, at levels of their own."""
    draw = np.random.default_rng(seed)
    return [
        {
            "values": draw.standard_normal((count, steps - 3 * row)) * 10.0 ** draw.integers(-2, 3, (count, 1)) + row,
            "channels": list(NAMES[:count]),
        }
        for row, count in enumerate(counts)
    ]


def any_channels(raws=None, **options) -> TimeSeriesModality:
    """A modality of any channels, fitted to some series."""
    made = TimeSeriesModality(channels="any", **options)
    made.fit(raw_sets() if raws is None else raws)
    return made
