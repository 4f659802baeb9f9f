"""Mutants of sources."""

import itertools
import os
import random
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from sensorium import BadSample, Record, Source
from tests.core.testing.mutants import caught_by

COUNTER = itertools.count()
FOLDER = Path(__file__).parent


class Words(Source):
    """Four words."""

    fields = ("text",)
    words = ("ant", "bee", "cat", "dog")

    def __len__(self):
        return len(self.words)

    def key(self, index):
        word = self.words[index]
        return Record(self.id_of(index), {}, {"length": len(word)}, group=word[0])

    def id_of(self, index):
        return self.words[index]

    def __getitem__(self, index):
        key = self.key(index)
        return Record(key.id, {"text": self.value_of(index)}, key.labels, key.split, key.group)

    def value_of(self, index):
        return self.words[index]


@caught_by("says in columns what its keys say")
class ForgetsGroupsInColumns(Words):
    def columns(self):
        return replace(super().columns(), groups=None)


@caught_by("has the same records in every object")
class CountsObjects(Words):
    def __init__(self):
        self.number = next(COUNTER)

    def id_of(self, index):
        return f"{self.number}-{index}"


@caught_by("has the same records in every object")
class ShufflesItself(Words):
    def __init__(self):
        self.words = tuple(random.SystemRandom().sample(Words.words * 4, 16))
        self.salt = [f"{n}" for n in range(16)]

    def id_of(self, index):
        return self.salt[index] + self.words[index]


@caught_by("has the same records in every object")
class OtherSplits(Words):
    def __init__(self):
        self.number = next(COUNTER)

    def key(self, index):
        key = super().key(index)
        return Record(key.id, {}, key.labels, ("train", "test")[(index + self.number) % 2], key.group)


@caught_by("has the same records in every process")
class HashesIds(Words):
    def id_of(self, index):
        return str(hash(self.words[index]))


@caught_by("has the same records in every process")
class OrdersBySet(Words):
    def __init__(self):
        self.words = tuple({f"word {n}" for n in range(20)})


@caught_by("has the same records in every process")
class HashesValues(Words):
    def value_of(self, index):
        return hash(self.words[index]) % 1_000_003


@caught_by("has the same order whatever the order of files")
class ListsAFolder(Words):
    def __init__(self):
        self.words = tuple(os.listdir(FOLDER))


@caught_by("has the same order whatever the order of files")
class GlobsAFolder(Words):
    def __init__(self):
        self.words = tuple(path.name for path in FOLDER.glob("*.py"))


@caught_by("reads the same values each time")
class ReadsAtRandom(Words):
    def value_of(self, index):
        return float(torch.rand(()))


@caught_by("reads the same values each time")
class ReadsTheClock(Words):
    def value_of(self, index):
        return time.perf_counter_ns()


@caught_by("hands out mappings of its own")
class SharesLabels(Words):
    def __init__(self):
        self.labels = {"length": 3}

    def key(self, index):
        super().key(index)
        return Record(self.words[index], {}, self.labels)


@caught_by("hands out mappings of its own")
class SharesValues(Words):
    def __init__(self):
        self.records = [Record(word, {"text": word}) for word in self.words]

    def key(self, index):
        return Record(self.words[index], {})

    def __getitem__(self, index):
        return self.records[index]


@caught_by("returns records that match their keys")
class OtherGroups(Words):
    def __getitem__(self, index):
        record = super().__getitem__(index)
        return Record(record.id, record.values, record.labels, record.split, "other")


@caught_by("reads in several threads")
class SharesAPlace(Words):
    def value_of(self, index):
        self.place = index
        time.sleep(0.002)
        return self.words[self.place]


@caught_by("has fragments that cover its records")
class ForgetsTheLastFragment(Words):
    def fragments(self):
        return np.array([0, 2])


@caught_by("has fragments that cover its records")
class HasAnEmptyFragment(Words):
    def fragments(self):
        return np.array([0, 2, 2, 4])


@caught_by("reads several records at once")
class ReadsInTheOrderOfStorage(Words):
    def read(self, positions):
        return super().read(sorted(positions))


@caught_by("reads several records at once")
class ReadsEachOnce(Words):
    def read(self, positions):
        return super().read(list(dict.fromkeys(positions)))


@caught_by("reads several records at once")
class FailsTogether(Words):
    def value_of(self, index):
        if index == 1:
            raise BadSample("it is broken")
        return self.words[index]

    def read(self, positions):
        return [self[position] for position in positions]


@caught_by("reads several records at once")
class MarksTheWholeBatch(FailsTogether):
    def read(self, positions):
        return [BadSample("one of them is broken")] * len(positions) if 1 in positions else super().read(positions)
