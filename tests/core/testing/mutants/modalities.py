"""Mutants of modalities."""

import itertools
from dataclasses import replace

import numpy as np
import torch

from tests.core.testing.mutants import _sequences, caught_by

SAMPLES = _sequences.SAMPLES
COUNTER = itertools.count()


class Sequences(_sequences.Sequences):
    """Lists of ids, decoded by a table that it learns."""

    def fit(self, raws):
        self.size = self.number(raws)

    def number(self, raws):
        return 1 + max(max(raw) for raw in raws)

    @property
    def descriptor_names(self):
        return ("length", "largest")

    def descriptors(self, example):
        return np.array([len(example), int(example.max())], np.float32)


@caught_by("fits deterministically")
class FitsAtRandom(Sequences):
    def number(self, raws):
        return super().number(raws) + int(torch.randint(100, ()))


@caught_by("fits deterministically")
class FitsInTwoPasses(Sequences):
    def number(self, raws):
        return sum(1 for _ in raws) + sum(1 for _ in raws)


@caught_by("is the same in every process")
class FitsByHash(Sequences):
    def number(self, raws):
        return hash("".join(map(str, raws))) % 1_000_003


@caught_by("is the same in every process")
class FitsBySet(Sequences):
    def state(self):
        return super().state() | {"names": list({f"id {n}" for n in range(20)})}


@caught_by("is the same in every process")
class DecodesByHash(Sequences):
    def decode(self, raw):
        return super().decode(raw) + hash("a") % 1_000_003


@caught_by("restores from its state")
class DecodesByObject(Sequences):
    def __init__(self):
        super().__init__()
        self.shift = next(COUNTER)

    def decode(self, raw):
        return super().decode(raw) + self.shift


@caught_by("restores from its state")
class StateNotJson(Sequences):
    def state(self):
        return {"size": self.size, "table": torch.zeros(2)}


@caught_by("leaves values as they are")
class SortsRawValues(Sequences):
    def decode(self, raw):
        example = super().decode(raw)
        raw.sort()
        return example


@caught_by("leaves values as they are")
class ScalesExamples(Sequences):
    def collate(self, examples):
        batch = super().collate(examples)
        for example in examples:
            example.mul_(2)
        return batch


@caught_by("collates each example to its row")
class SortsByLength(Sequences):
    def collate(self, examples):
        return super().collate(sorted(examples, key=len))


@caught_by("collates each example to its row")
class MixesRows(Sequences):
    def collate(self, examples):
        batch = super().collate(examples)
        return replace(batch, ids=batch.ids + batch.ids.float().mean(0).long())


@caught_by("collates each example to its row")
class PadsWithNeighbors(Sequences):
    def collate(self, examples):
        batch = super().collate(examples)
        return replace(batch, ids=torch.where(batch.mask, batch.ids, batch.ids.roll(1, 0)))


@caught_by("has valid descriptors")
class FewerDescriptorsThanNames(Sequences):
    def descriptors(self, example):
        return super().descriptors(example)[:1]


@caught_by("has valid descriptors")
class DescriptorsInDoublePrecision(Sequences):
    def descriptors(self, example):
        return super().descriptors(example).astype(np.float64)


@caught_by("has valid descriptors")
class DescriptorsAtRandom(Sequences):
    def descriptors(self, example):
        return super().descriptors(example) + np.float32(torch.rand(()))


@caught_by("has valid descriptors")
class DescriptorsWithoutDefinition(Sequences):
    def descriptors(self, example):
        return np.full(2, np.nan, np.float32)


@caught_by("has valid descriptors")
class InfiniteDescriptors(Sequences):
    def descriptors(self, example):
        return np.array([len(example), np.inf], np.float32)


@caught_by("has valid descriptors")
class DescriptorsSortExamples(Sequences):
    def descriptors(self, example):
        example.copy_(example.sort(descending=True).values)
        return super().descriptors(example)


@caught_by("has valid descriptors")
class DescriptorsOfOneName(Sequences):
    @property
    def descriptor_names(self):
        return ("length", "length")


@caught_by("is the same in every process")
class DescribesByHash(Sequences):
    def descriptors(self, example):
        return np.array([len(example), hash(str(example.tolist())) % 1_000_003], np.float32)


@caught_by("encodes its examples")
class EncodesAnother(Sequences):
    def encode(self, example):
        return example.tolist()[::-1]


@caught_by("encodes its examples")
class EncodesWhatOnlyCodeReads(Sequences):
    def encode(self, example):
        return set(example.tolist())


@caught_by("encodes its examples")
class EncodesWhatItLearned(Sequences):
    def decode(self, raw):
        return super().decode(raw) % self.size

    def encode(self, example):
        return example.tolist()
