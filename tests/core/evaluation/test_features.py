"""Feature tables out of record batches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from sensorium import Batch, Record, SensoriumError
from sensorium.evaluation.features import baseline_table, feature_table
from sensorium.types import RecordBatch


@dataclass
class Numbers(Batch):
    x: Tensor


RECORDS = [
    Record("p", {}, {"kind": "cat", "size": np.float64(1.5)}, group="pets"),
    Record("q", {}, {"kind": "dog"}),
    Record("s", {}, {"kind": "cat"}, group="q"),
]
BATCHES = [
    RecordBatch(
        ["p", "q"],
        {"a": Numbers(torch.tensor([[1.0], [2.0]])), "b": Numbers(torch.tensor([[5.0]]))},
        {"a": torch.tensor([True, True]), "b": torch.tensor([False, True])},
        positions=np.array([0, 1]),
    ),
    RecordBatch(
        ["s"],
        {"b": Numbers(torch.tensor([[6.0]]))},
        {"a": torch.tensor([False]), "b": torch.tensor([True])},
        positions=np.array([2]),
    ),
]


def doubled(name: str, batch: Numbers) -> Tensor:
    weight = torch.ones(1, 2, requires_grad=True, dtype=torch.bfloat16 if name == "b" else torch.float32)
    return batch.x.to(weight.dtype) * weight * 2


def test_rows_stand_where_their_records_are():
    table = feature_table(iter(BATCHES), doubled, RECORDS.__getitem__, ["a", "b"])
    assert table.ids == ["p", "q", "s"]
    np.testing.assert_array_equal(table.features["a"], np.array([[2, 2], [4, 4], [np.nan, np.nan]], np.float32))
    np.testing.assert_array_equal(table.features["b"][:, 0], np.array([np.nan, 10, 12], np.float32))
    assert table.features["b"].dtype == np.float32
    assert table.present["a"].tolist() == [True, True, False]
    assert table.labels["kind"].tolist() == ["cat", "dog", "cat"]
    assert table.labels["size"].tolist() == [1.5, None, None]


def test_an_id_is_never_taken_for_the_group_of_another():
    groups = feature_table(iter(BATCHES), doubled, RECORDS.__getitem__, ["a"]).groups
    assert len(set(groups)) == 3


def test_a_diverged_model_is_named():
    def diverged(name, batch):
        return torch.where(batch.x == 2, torch.nan, batch.x)

    with pytest.raises(SensoriumError, match=r"features of 'a' are not finite for 1 of 2 .* first is 'q'"):
        feature_table(iter(BATCHES), diverged, RECORDS.__getitem__, ["a"])


def test_no_records_and_absent_modalities_make_empty_columns():
    assert len(feature_table([], doubled, RECORDS.__getitem__, ["a"])) == 0
    table = feature_table(iter(BATCHES), doubled, RECORDS.__getitem__, ["a", "c"])
    assert not table.present["c"].any()


class Plain:
    """As much of a modality as the table asks for."""

    def __init__(self, features: bool) -> None:
        self.features = features

    def baseline_features(self, batch):
        return batch.x.numpy() * 10 if self.features else None


def test_hand_made_features_where_there_are_any():
    table = baseline_table(BATCHES, {"a": Plain(True), "b": Plain(False)}, RECORDS.__getitem__)
    assert list(table.features) == list(table.present) == ["a"]
    assert table.features["a"][:2].tolist() == [[10.0], [20.0]]
    assert baseline_table(BATCHES, {"a": Plain(False), "b": Plain(False)}, RECORDS.__getitem__) is None


def test_select_and_join_are_each_others_inverse():
    table = feature_table(iter(BATCHES), doubled, RECORDS.__getitem__, ["a", "b"])
    again = table.select(np.array([0])).join(table.select(np.array([1, 2])))
    assert again.ids == table.ids
    assert again.groups == table.groups
    for name in ("a", "b"):
        np.testing.assert_array_equal(again.features[name], table.features[name])
        np.testing.assert_array_equal(again.present[name], table.present[name])
    assert again.labels["size"].tolist() == table.labels["size"].tolist()
