"""Feature tables out of record batches."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import Tensor

from sensorium import Batch, Record, RecordColumns, SensoriumError, Span
from sensorium.evaluation.features import BaselineReader, FeatureReader, feature_tables, read_features, times_of
from sensorium.types import RankedValues, RecordBatch


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


class Encoding(FeatureReader):
    """As much of a model's reader as the tables ask for."""

    def __init__(self, encode, *names):
        self.encode, self.columns = encode, {"features": names}

    def __call__(self, records):
        return {"features": {n: (self.encode(n, b), records.present[n]) for n, b in records.batches.items()}}


def doubled(name: str, batch: Numbers) -> Tensor:
    weight = torch.ones(1, 2, requires_grad=True, dtype=torch.bfloat16 if name == "b" else torch.float32)
    return batch.x.to(weight.dtype) * weight * 2


def read(reader, batches=BATCHES):
    return feature_tables([read_features(iter(batches), [reader])], RecordColumns.of_keys(RECORDS))[0]["features"]


def test_rows_stand_where_their_records_are():
    table = read(Encoding(doubled, "a", "b"))
    assert table.ids == ["p", "q", "s"]
    np.testing.assert_array_equal(table.features["a"], np.array([[2, 2], [4, 4], [np.nan, np.nan]], np.float32))
    np.testing.assert_array_equal(table.features["b"][:, 0], np.array([np.nan, 10, 12], np.float32))
    assert table.features["b"].dtype == np.float32
    assert table.present["a"].tolist() == [True, True, False]
    assert table.labels["kind"].tolist() == ["cat", "dog", "cat"]
    assert table.labels["size"].tolist() == [1.5, None, None]


def test_an_id_is_never_taken_for_the_group_of_another():
    assert len(set(read(Encoding(doubled)).groups)) == 3


def test_a_diverged_model_is_named():
    def diverged(name, batch):
        return torch.where(batch.x == 2, torch.nan, batch.x)

    with pytest.raises(SensoriumError, match=r"features of 'a' are not finite for 1 of 2 .* first is 'q'"):
        read(Encoding(diverged))


def test_no_records_and_absent_modalities_make_empty_columns():
    nothing = read(Encoding(doubled, "a"), [])
    assert len(nothing) == 0
    assert nothing.features["a"].shape == (0, 0)
    table = read(Encoding(doubled, "a", "c"))
    assert not table.present["c"].any()
    assert table.features["c"].shape == (3, 0)


def test_all_readers_see_each_record_once():
    seen = []

    def noting(name, batch):
        seen.append((name, len(batch)))
        return doubled(name, batch)

    batches = iter(BATCHES)
    (both, single) = feature_tables(
        [read_features(batches, [Encoding(noting, "a", "b"), Encoding(doubled, "a")])], RecordColumns.of_keys(RECORDS)
    )
    assert sorted(seen) == [("a", 2), ("b", 1), ("b", 1)]
    np.testing.assert_array_equal(both["features"].features["a"], single["features"].features["a"])
    assert both["features"].labels is single["features"].labels


@pytest.mark.parametrize("cut", [0, 1, 2])
def test_what_ranks_read_joins_to_what_one_reads(cut):
    """Column "b" is unknown before a rank meets it, and the ranks meet different columns."""
    ranks = [read_features(part, [Encoding(doubled, "a", "c")]) for part in (BATCHES[:cut], BATCHES[cut:])]
    joined = feature_tables(ranks, RecordColumns.of_keys(RECORDS))[0]["features"]
    whole = read(Encoding(doubled, "a", "c"))
    assert joined.ids == whole.ids
    assert joined.groups == whole.groups
    assert joined.positions.tolist() == whole.positions.tolist()
    assert set(joined.features) == set(whole.features) == {"a", "b", "c"}
    for name in whole.features:
        np.testing.assert_array_equal(joined.features[name], whole.features[name])
        np.testing.assert_array_equal(joined.present[name], whole.present[name])


def test_rows_come_to_the_host_in_pieces(monkeypatch):
    copies = []
    monkeypatch.setattr(Tensor, "cpu", lambda self: copies.append(len(self)) or self)
    whole = read(Encoding(doubled, "a", "b"))
    assert copies == [2, 2]  # once a column
    monkeypatch.setattr("sensorium.evaluation.features.PIECE", 1)
    pieces = read(Encoding(doubled, "a", "b"))
    assert copies[2:] == [2, 1, 1]  # as soon as they are large
    np.testing.assert_array_equal(pieces.features["b"], whole.features["b"])


class Plain:
    """As much of a modality as the table asks for."""

    def __init__(self, features: bool) -> None:
        self.features = features

    def baseline_features(self, batch):
        return batch.x.numpy() * 10 if self.features else None


def test_hand_made_features_where_there_are_any():
    table = read(BaselineReader({"a": Plain(True), "b": Plain(False)}))
    assert list(table.features) == list(table.present) == ["a"]
    assert table.features["a"][:2].tolist() == [[10.0], [20.0]]
    assert not read(BaselineReader({"a": Plain(False), "b": Plain(False)})).features


def test_select_and_join_are_each_others_inverse():
    table = read(Encoding(doubled, "a", "b"))
    again = table.select(np.array([0])).join(table.select(np.array([1, 2])))
    assert again.ids == table.ids
    assert again.groups == table.groups
    for name in ("a", "b"):
        np.testing.assert_array_equal(again.features[name], table.features[name])
        np.testing.assert_array_equal(again.present[name], table.present[name])
    assert again.labels["size"].tolist() == table.labels["size"].tolist()


def test_time_stamps_go_with_their_records():
    table = replace(read(Encoding(doubled, "a", "b")), times=[(0.0, 1.0), None, (4.0, 5.0)])
    again = table.select(np.array([2, 0])).join(table.select(np.array([1])))
    assert again.times == [(4.0, 5.0), (0.0, 1.0), None]
    assert times_of(RecordColumns.of_keys([Record("a", {}), Record("b", {}, time=Span(1, 2))])) == [None, (1, 2)]
    assert times_of(RecordColumns.of_keys([Record("a", {})])) == []


FURTHER = [
    replace(BATCHES[0], further={"b": [RankedValues(Numbers(torch.tensor([[7.0]])), np.array([False, True]))]}),
    replace(
        BATCHES[1],
        further={"b": [RankedValues(Numbers(torch.tensor([[8.0 + i]])), np.array([True])) for i in range(2)]},
    ),
]


@pytest.mark.parametrize("cut", [0, 1, 2])
def test_further_values_of_records_are_features_too(cut):
    modality = type(
        "Modality", (), {"baseline_features": lambda self, batch: batch.x.numpy(), "baseline_description": ""}
    )()
    reader = BaselineReader({"a": modality, "b": modality})
    ranks = [read_features(part, [reader]) for part in (FURTHER[:cut], FURTHER[cut:])]
    table = feature_tables(ranks, RecordColumns.of_keys(RECORDS))[0]["features"]
    assert list(table.features) == ["a", "b"]
    assert table.values("b").rows.tolist() == [1, 2, 1, 2, 2]
    assert table.values("b").x[:, 0].tolist() == [5, 6, 7, 8, 9]
    assert table.values("a").rows.tolist() == [0, 1]
    assert table.select(np.array([2, 0])).values("b").x[:, 0].tolist() == [6, 8, 9]
    assert table.select(np.array([2, 0])).values("b").rows.tolist() == [0, 0, 0]
