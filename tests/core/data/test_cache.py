"""A cache hands out batches from where its device can take them without waiting."""

import numpy as np
import pytest
import torch

from sensorium.data.arrays import ArraysSource
from sensorium.data.cache import CachePlace
from sensorium.data.decoding import RecordDecoder
from sensorium.data.memory import Space
from sensorium.errors import DataError
from sensorium.testing.emulation import Emulation, emulated_device
from tests.core.data.toys import PaddedModality, VectorModality, cached, numbers, same

ROWS = np.array([5, 0, 3, 9])


def cache_of(**options):
    """A cache of ten records, of which one lacks the modality y, and the decoder that it was filled by."""
    x, y = numbers(10), numbers(10)
    y[3] = None
    modalities = {"x": VectorModality(), "y": VectorModality()}
    decoder = RecordDecoder(ArraysSource({"x": x, "y": y}), {"x": "x", "y": "y"}, modalities)
    chunks = [np.arange(6), np.arange(6, 10)]
    return cached(decoder, chunks, CachePlace(**options)), decoder


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


def test_batches_that_are_joined_their_own_way_are_picked_from_several_segments(monkeypatch):
    monkeypatch.setattr("sensorium.data.stored_batches.SEGMENT", 1)
    source = ArraysSource({"x": ["1 " * (1 + i % 7) for i in range(40)]})
    decoder = RecordDecoder(source, {"x": "x"}, {"x": PaddedModality()})
    cache = cached(decoder, np.split(np.arange(40), range(8, 40, 8)))
    for rows in (np.array([39, 0, 8, 8, 17, 1]), np.array([9, 15]), np.arange(40)):
        assert same([cache.take(rows)], [decoder[0, rows].records])


def test_a_full_disk_is_said(monkeypatch, tmp_path):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.pwrite", full)
    with pytest.raises(DataError, match=r"could not be written \(No space left on device\); set data\.cache: off"):
        cache_of(folder=str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_cache_that_does_not_fit_on_disk_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr("sensorium.data.cache_share._space_in", lambda folder: Space(2e9, 20.0))
    expected = r"A cache of all 10 records would take about .* are free in .*name a larger folder in data\.cache_dir\."
    with pytest.raises(DataError, match=expected):
        cache_of(folder=str(tmp_path))


def test_a_cache_that_outgrows_its_estimate_is_refused_on_the_way(monkeypatch):
    rooms = iter([1e9, 1e9, 10.0])
    monkeypatch.setattr("sensorium.data.cache_share.memory", lambda: Space(1e9, next(rooms)))
    decoder = RecordDecoder(ArraysSource({"x": numbers(40)}), {"x": "x"}, {"x": VectorModality()})
    with pytest.raises(DataError, match=r"A cache of all 40 records .* of the 1\.0 GB of memory are free"):
        cached(decoder, np.split(np.arange(40), [10, 20, 30]))
