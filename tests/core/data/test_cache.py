"""A cache hands out batches from where its device can take them without waiting."""

import numpy as np
import pytest
import torch

from sensorium.data.arrays import ArraysSource
from sensorium.data.cache import Cache
from sensorium.data.decoding import RecordDecoder
from sensorium.testing.emulation import Emulation, emulated_device
from tests.core.data.toys import VectorModality, numbers, same

ROWS = np.array([5, 0, 3, 9])


def cache_of(**options):
    """A cache of ten records, of which one lacks the modality y, and the decoder that it was filled by."""
    x, y = numbers(10), numbers(10)
    y[3] = None
    modalities = {"x": VectorModality(), "y": VectorModality()}
    decoder = RecordDecoder(ArraysSource({"x": x, "y": y}), {"x": "x", "y": "y"}, modalities)
    chunks = [np.arange(6), np.arange(6, 10)]
    return Cache(((rows, decoder[0, rows]) for rows in chunks), np.arange(10), **options), decoder


@pytest.mark.parametrize("rows", [ROWS, np.array([4, 4, 1])])
def test_what_is_picked_is_what_would_be_decoded(rows):
    cache, decoder = cache_of()
    assert same([cache.take(rows)], [decoder[0, rows].records])


def test_picks_for_a_gpu_are_made_in_page_locked_memory(monkeypatch):
    pinned, empty = [], torch.empty

    def locked(size, *, dtype, pin_memory=False):
        made = empty(size, dtype=dtype)
        if pin_memory:
            pinned.append(made.data_ptr())
        return made

    cache, decoder = cache_of(pin=True)
    monkeypatch.setattr(torch, "empty", locked)
    taken = cache.take(ROWS)
    monkeypatch.undo()
    assert same([taken], [decoder[0, ROWS].records])
    tensors = [taken.batches["x"].values, taken.batches["y"].values, taken.keys.packed]
    assert {tensor.data_ptr() for tensor in tensors} == set(pinned)


def test_picks_on_the_device_wait_for_nothing():
    with Emulation() as emulation:
        cache, _ = cache_of(device=emulated_device())
        emulation.synchronizations.clear()
        taken = cache.take(ROWS)
        assert emulation.synchronizations == []
        assert {batch.device.type for batch in taken.batches.values()} == {"emulated"}
        assert taken.present["x"] is None
        assert taken.present["y"].tolist() == [True, True, False, True]
