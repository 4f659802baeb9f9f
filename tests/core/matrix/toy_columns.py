"""A plugin for tests: two columns of number vectors, a source of them and views that carry a class."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import torch

from sensorium import View, ViewGenerator, hookimpl
from sensorium.data.arrays import ArraysSource
from sensorium.registration.discovery import load_extensions
from tests import toys

VECTOR = {"modality": "vector", "field": "a", "views": ["noise", "signs"], "encoders": ["mlp"]}
sensorium_matrix = {
    "columns/vectors": {
        "description": "96 vectors in four classes",
        "data": {"source": "toy-vectors", "batch": 16, "test": 0.3, "max_bad": 0.05},
        "modalities": {"vectors": VECTOR},
        "evaluator": {"name": "knn", "label": "class", "k": 5},
        "metric": "accuracy",
    },
    "columns/pairs": {
        "description": "the same, with their rotated twins",
        "data": {"source": "toy-vectors", "batch": 16, "test": 0.3},
        "modalities": {
            name: {"modality": "vector", "views": [{"name": "noise", "views": 1}], "encoders": ["mlp"]} for name in "ab"
        },
        "evaluator": {"name": "retrieval"},
        "metric": "a->b R@10",
    },
    "objectives/simcse": {"temperature": 0.1},
}


class Signs(ViewGenerator):
    """One view, with all signs flipped or not: a binary pretext task.

    Args:
        modality: not used.
    """

    target, classes = "signs", 2

    def __init__(self, modality) -> None:
        pass

    def __call__(self, batch, rng):
        target = torch.randint(2, (len(batch),), generator=rng)
        return [View(toys.VectorBatch(batch.values * (1.0 - 2 * target[:, None])), target=target)]


class Vectors(ArraysSource):
    """Pairs of vectors in four classes."""

    def __init__(self) -> None:
        vars(self).update(vars(toys.vectors()))


@hookimpl
def sensorium_register_views(register):
    register("signs", "tests.core.matrix.toy_columns:Signs", modality="vector", summary="predict flipped signs")


@hookimpl
def sensorium_register_sources(register):
    register("toy-vectors", "tests.core.matrix.toy_columns:Vectors", summary="vectors in four classes")


def extensions():
    """The built-in plugins, the toys and this one."""
    found = [("toys", "tests.toys"), ("columns", "tests.core.matrix.toy_columns")]
    return load_extensions(environ={}, found=[EntryPoint(name, module, "sensorium") for name, module in found])
