import logging

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, Subset, TensorDataset

from sensorium.data.as_source import as_source
from sensorium.errors import DataError


class Items(Dataset):
    """A dataset that counts how often its items are read."""

    def __init__(self, items, **attributes):
        self.items, self.reads = items, 0
        vars(self).update(attributes)

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        self.reads += 1
        return self.items[index]


def labels(source):
    return [source.key(i).labels for i in range(len(source))]


def test_items_that_are_values():
    source = as_source(Items(["1", "2"]), ["a"])
    assert [source[i].values for i in range(2)] == [{"a": "1"}, {"a": "2"}]
    assert source._dataset.reads == 3  # the first, and both values


def test_tuples_are_fields_in_order_and_a_label():
    source = as_source(Items([("1", "one", np.int64(7)), ("2", "two", np.int64(8))]), ["a", "b"])
    assert source.fields == ("a", "b")
    assert source[1].values == {"a": "2", "b": "two"}
    assert labels(source) == [{"label": 7}, {"label": 8}]
    assert as_source(Items([("1",)]), ["a", "b"]).fields == ("a",)


def test_tensors_and_subsets():
    data = TensorDataset(torch.arange(12).view(4, 3), torch.tensor([1, 0, 1, 0]))
    source = as_source(Subset(data, [2, 3]), ["a"])
    assert torch.equal(source[0].values["a"], torch.tensor([6, 7, 8]))
    assert labels(source) == [{"label": 1}, {"label": 0}]


def test_mappings_name_fields_labels_and_what_a_record_is_called(caplog):
    items = [{"a": "1", "kind": "x", "id": "p", "split": "train"}, {"b": "2", "a": None, "id": "q", "split": "test"}]
    with caplog.at_level(logging.INFO, "sensorium"):
        source = as_source(Items(items), ["a", "b"])
    assert caplog.messages == ["reading the labels of 2 items of Items once"]
    assert source.fields == ("a", "b")
    assert [source[i].values for i in range(2)] == [{"a": "1"}, {"b": "2", "a": None}]
    assert labels(source) == [{"kind": "x"}, {}]
    assert [(source.key(i).id, source.key(i).split) for i in range(2)] == [("p", "train"), ("q", "test")]
    assert [source[i].values["a"] for i in range(2)] == [as_source(items, ["a"])[i].values["a"] for i in range(2)]


def test_labels_are_taken_where_no_item_need_be_read():
    source = as_source(Items([("1", 3), ("2", 4)], targets=torch.tensor([3, 4])), ["a"])
    assert labels(source) == [{"label": 3}, {"label": 4}]
    assert source._dataset.reads == 1


def test_a_file_in_two_keys_is_a_value_and_no_record():
    source = as_source([{"bytes": b"x", "path": None}], ["image"])
    assert source[0].values == {"image": {"bytes": b"x", "path": None}}


def test_a_dataset_without_items_is_refused():
    with pytest.raises(DataError, match="Items that was given as source has no items"):
        as_source(Items([]), ["a"])
