"""Descriptors of examples: they come with their records, through workers and caches, whatever value is drawn."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from sensorium import Batch, Modality
from sensorium.data.arrays import ArraysSource
from sensorium.data.loader import Loader
from sensorium.data.unreadable import UnreadableRecords
from sensorium.errors import PluginError


@dataclass
class Numbers(Batch):
    values: torch.Tensor


class Letters(Modality):
    """Letters as numbers, described by twice the number and its parity."""

    def decode(self, raw):
        return ord(raw)

    def collate(self, examples):
        return Numbers(torch.tensor(examples))

    @property
    def descriptor_names(self):
        return "twice", "is odd"

    def descriptors(self, example):
        return np.array([2 * example, np.nan if example % 2 else 0])


RAWS = [["a", "b", "c"], "d", None, "f", ["g", "h"], "i", "k", "l"]


def loader(described, modality=None, **options):
    source = ArraysSource({"word": RAWS, "other": list("stuvwxyz")}, ids=[f"r{i}" for i in range(len(RAWS))])
    names = ("word", "other")
    modalities = {name: modality or Letters() for name in names}
    place = {"seed": 3, "batch": 4, "bad": UnreadableRecords(8, 1.0), "workers": 0}
    return Loader(source, np.arange(8), {n: n for n in names}, modalities, described=described, **place | options)


@pytest.mark.parametrize("cache", ["off", "ram", "device"])
@pytest.mark.parametrize("workers", [0, 1])
def test_descriptors_are_those_of_the_values_that_are_drawn(cache, workers):
    plain = loader((), cache="off")
    for (made,), (expected,) in zip(
        loader(("word",), cache=cache, workers=workers).batches(0, 6), plain.batches(0, 6), strict=True
    ):
        values_N = made.batches["word"].values
        assert torch.equal(values_N, expected.batches["word"].values)
        assert list(made.descriptors) == ["word"]
        assert made.descriptors["word"].dtype == torch.float32
        assert torch.equal(made.descriptors["word"][:, 0], 2.0 * values_N)
        assert torch.equal(made.descriptors["word"][:, 1].isnan(), values_N % 2 == 1)
        assert isinstance(made.batches["word"], Numbers)
        assert isinstance(made.batches["other"], Numbers)


def test_what_is_picked_from_a_cache_is_as_evaluation_takes_it():
    filled = loader(("word",), cache="ram")
    filled.prepare()
    made = filled.cache.take(np.array([0, 1, 3]))
    assert isinstance(made.batches["word"], Numbers)
    assert made.descriptors["word"].shape == (3, 2)


def test_an_example_is_no_described_one():
    assert isinstance(loader(("word",)).example("word"), Numbers)


def test_another_number_of_descriptors_than_names_is_an_error():
    class Wrong(Letters):
        def descriptors(self, example):
            return np.zeros(3)

    with pytest.raises(PluginError, match=r"returns an array of shape .3,., and names 2 descriptors"):
        next(loader(("word",), Wrong()).batches(0, 1))
