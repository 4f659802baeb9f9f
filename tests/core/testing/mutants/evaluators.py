"""Evaluators with one fault each."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from sensorium import Evaluator, SensoriumError
from tests.core.testing.mutants import caught_by


class NearestMean(Evaluator):
    """Accuracy of the nearest class mean."""

    def fit(self, train):
        if not isinstance(train.labels.get("planted", [None])[0], str):
            raise SensoriumError("It needs classes.")
        self.learn(train.features["first"], train.labels["planted"])

    def learn(self, x, labels):
        self.means = {c: x[labels == c].mean(0) for c in sorted(set(labels))}

    def predicted(self, x):
        near = [min(self.means, key=lambda c: float(np.linalg.norm(row - self.means[c]))) for row in x]
        return np.array(near, object)

    def measure(self, test):
        return {"accuracy": float(np.mean(self.predicted(test.features["first"]) == test.labels["planted"]))}

    def chance(self, test):
        return {"accuracy": max(float(np.mean(test.labels["planted"] == c)) for c in self.means)}


class Scaled(NearestMean):
    """The same of standardized features."""

    def learn(self, x, labels):
        self.center, self.scale = x.mean(0), x.std(0)
        super().learn((x - self.center) / self.scale, labels)

    def predicted(self, x):
        return super().predicted((x - self.center) / self.scale)


@caught_by("does not learn from the test part")
class Peeks(NearestMean):
    """Learns the test part by heart when it measures."""

    def measure(self, test):
        self.learn(test.features["first"], test.labels["planted"])
        return super().measure(test)


@caught_by("does not learn from the test part")
class CountsItselfAsNeighbor(NearestMean):
    """Takes the label of the nearest record of both parts, which is the record itself."""

    def fit(self, train):
        super().fit(train)
        self.x, self.labels = train.features["first"], train.labels["planted"]

    def measure(self, test):
        x, known = test.features["first"], np.concatenate([self.x, test.features["first"]])
        labels = np.concatenate([self.labels, test.labels["planted"]])
        near = np.linalg.norm(x[:, None] - known[None], axis=2).argmin(1)
        return {"accuracy": float(np.mean(labels[near] == test.labels["planted"]))}


@caught_by("does not adapt to the test part")
class ScalesByTheTestPart(Scaled):
    """Standardizes the test part by its own mean and standard deviation."""

    def predicted(self, x):
        self.center, self.scale = x.mean(0), x.std(0)
        return super().predicted(x)


@caught_by("does not adapt to the test part")
class CentersBothParts(Scaled):
    """Centers the test part by itself."""

    def predicted(self, x):
        return NearestMean.predicted(self, (x - x.mean(0)) / self.scale)


@caught_by("prefers good features")
class Inverts(NearestMean):
    """Reports the error under the name of the accuracy."""

    def measure(self, test):
        return {"accuracy": 1 - super().measure(test)["accuracy"]}


@caught_by("prefers good features")
class HidesTheArrow(NearestMean):
    """Reports a distance, of which less is better, under a name that says more."""

    def measure(self, test):
        x, labels = test.features["first"], test.labels["planted"]
        own = np.stack([self.means[c] for c in labels])
        return super().measure(test) | {"closeness": float(np.linalg.norm(x - own, axis=1).mean())}

    def chance(self, test):
        return super().chance(test) | {"closeness": 10.0}


@caught_by("is invariant to record order")
class DependsOnOrder(NearestMean):
    """Smooths predictions over neighbors in the table."""

    def predicted(self, x):
        made = super().predicted(x)
        return np.where(np.arange(len(made)) % 3 == 0, np.roll(made, 1), made)


@caught_by("is invariant to record order")
class MeasuresTheFirstRecords(NearestMean):
    """Measures the first records alone."""

    def predicted(self, x):
        made = super().predicted(x[:50])
        return np.concatenate([made, np.full(len(x) - len(made), made[0], object)])


@caught_by("is deterministic")
class Draws(NearestMean):
    """Measures a random sample."""

    def predicted(self, x):
        made = super().predicted(x)
        return np.where(np.random.rand(len(made)) < 0.3, made[0], made)


@caught_by("reports the level of chance")
class UnderstatesChance(NearestMean):
    """Calls a tenth of the accuracy chance, where there are two classes."""

    def chance(self, test):
        return {"accuracy": 0.05}


@caught_by("reports the level of chance")
class OverstatesChance(NearestMean):
    """Calls nine tenths chance."""

    def chance(self, test):
        return {"accuracy": 0.85}


@caught_by("does not modify its tables")
class WritesToTheTable(Scaled):
    """Standardizes in place."""

    def fit(self, train):
        super().fit(train)
        train.features["first"] /= 2


@caught_by("keeps nothing from one measurement to the next")
class RemembersForAll(NearestMean):
    """Keeps what it learned on the class, once."""

    known: ClassVar[dict] = {}

    def learn(self, x, labels):
        super().learn(x, labels)
        self.means = self.known.setdefault("means", self.means)


@caught_by("keeps nothing from one measurement to the next")
class LearnsOnce(NearestMean):
    """Does not learn anew from another train part."""

    def learn(self, x, labels):
        if not hasattr(self, "means"):
            super().learn(x, labels)


@caught_by("beats chance on synthetic data")
class IgnoresFeatures(NearestMean):
    """Predicts one class."""

    def predicted(self, x):
        return np.full(len(x), min(self.means), object)


@caught_by("runs on a gpu")
class MixesDevices(NearestMean):
    """Multiplies a matrix of its device with one of the host."""

    def predicted(self, x):
        import torch

        means = torch.tensor(np.stack(list(self.means.values())))
        near = torch.cdist(torch.tensor(x, device=self.device), means).argmin(1)
        return np.array(list(self.means), object)[near.cpu().numpy()]


@caught_by("measures each test record by itself")
class CentersByTheTestMean(NearestMean):
    """Brings the test part to the center of the train part."""

    def learn(self, x, labels):
        self.center = x.mean(0)
        super().learn(x, labels)

    def predicted(self, x):
        return super().predicted(x - x.mean(0) + self.center)


@caught_by("measures each test record by itself")
class LeavesOutTheUnsure(NearestMean):
    """Measures the half of the test part that it is sure of."""

    def measure(self, test):
        x = test.features["first"]
        near = [sorted(float(np.linalg.norm(row - mean)) for mean in self.means.values()) for row in x]
        sure = np.array([second - first for first, second, *_ in near])
        return super().measure(test.select(np.flatnonzero(sure >= np.median(sure))))
