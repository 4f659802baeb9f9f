"""Mutants of splits."""

import random

from sensorium import Split
from tests.core.testing.mutants import caught_by


class Every(Split):
    """Every fifth group, by a number in its name, is the test part."""

    def assign(self, source, fractions, seed):
        keys = [source.key(index) for index in range(len(source))]
        return [self.part_of(key, index) for index, key in enumerate(keys)]

    def part_of(self, key, index):
        number = int(key.group.partition("-")[2])
        return ("test", "val", "train", "train", "train")[number % 5]


@caught_by("names a part for each record")
class ForgetsTheLast(Every):
    def assign(self, source, fractions, seed):
        return super().assign(source, fractions, seed)[:-1]


@caught_by("names a part for each record")
class TearsGroups(Every):
    def part_of(self, key, index):
        return ("test", "val", "train", "train", "train")[int(key.id.partition("-")[2]) // 7 % 5]


@caught_by("is a function of records and seed")
class Unseeded(Every):
    def assign(self, source, fractions, seed):
        turn = random.SystemRandom().randrange(80)
        return [self.turned(source.key(index), turn) for index in range(len(source))]

    def turned(self, key, turn):
        number = int(key.group.partition("-")[2])
        return ("test", "val", "train", "train", "train")[(number + turn) % 80 // 16]


@caught_by("is a function of records and seed")
class DrawsGlobally(Every):
    def part_of(self, key, index):
        random.random()
        return super().part_of(key, index)


@caught_by("is the same in every process")
class ByHash(Every):
    def part_of(self, key, index):
        return ("test", "val", "train", "train", "train")[hash(key.group) % 5]


@caught_by("does not depend on the order of records")
class ByPosition(Every):
    def part_of(self, key, index):
        return ("test", "val", "train", "train", "train")[index % 80 % 5]
