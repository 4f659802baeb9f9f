"""Embedding of raw values, one or many, and what a model says of itself."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sensorium.errors import DataError
from sensorium.models.model import Model, several
from sensorium.models.plan import make_plan
from sensorium.recipe import read_recipe
from tests import toys


@pytest.fixture
def model():
    extensions = toys.extensions()
    plan = make_plan(read_recipe(toys.pair_recipe(), extensions.registry), extensions)
    for modality in plan.modalities.values():
        modality.load_state({"mean": 0.0})
    return Model(plan, plan.learner())


def test_one_value_is_embedded_as_a_list_of_it(model):
    raws = list(toys.vectors()._values["a"][:3])
    rows = model.embed(a=raws)["a"]
    for value, row in zip(raws, rows, strict=True):
        torch.testing.assert_close(model.embed(a=value)["a"], row[None])
    with pytest.raises(DataError, match="Value 0 of a cannot be decoded"):
        model.embed(a="no numbers")


def test_any_number_of_values_is_embedded_batch_by_batch(model):
    raws, taken = list(toys.vectors()._values["a"][:7]), []
    batches = model.stream("a", (taken.append(raw) or raw for raw in raws), batch=3)
    first = next(batches)
    assert len(taken) == 3, "no more is read than is embedded"
    torch.testing.assert_close(torch.cat([first, *batches]), model.embed(a=raws)["a"])
    assert [len(x) for x in model.stream("a", raws, batch=3)] == [3, 3, 1]
    with pytest.raises(DataError, match="Value 7 of a cannot be decoded"):
        list(model.stream("a", [*raws, "no numbers"], batch=3))


class Keyed:
    """Has keys and a length, as a graph of torch_geometric."""

    def __len__(self):
        return 2

    def __getitem__(self, key):
        return key

    def keys(self):
        return ["x", "edge_index"]


@pytest.mark.parametrize(
    "value",
    [
        "a.png",
        b"PNG",
        bytearray(b"PNG"),
        memoryview(b"PNG"),
        {"bytes": b"PNG"},
        Keyed(),
        SimpleNamespace(),
        np.ones(()),
    ],
)
def test_what_is_one_value(value):
    (only,) = several(value)
    assert only is value


@pytest.mark.parametrize("values", [["a"], ("a",), np.ones((2, 3)), torch.ones(2), toys.vectors()])
def test_what_is_several(values):
    assert several(values) is values


def test_a_model_says_what_it_is(model):
    text = repr(model)
    assert text.startswith("Model(a: mlp, 16 features; b: mlp, 16 features; clip; ")
    assert text.endswith(f"{sum(p.numel() for p in model.learner.parameters()):,} parameters on cpu)")


def test_a_source_says_what_it_is():
    assert repr(toys.vectors(1200)) == "ArraysSource(1,200 records; fields: a, b)"
