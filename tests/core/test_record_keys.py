"""Keys of records: one packed tensor of what is asked for, read like a mapping."""

import pytest
import torch

from sensorium.record_keys import NO_KEYS, RecordKeys, changed, key_of
from sensorium.types import Record, record_keys

RECORDS = [
    Record("a", {}, {"kind": "x", "size": 1.0}, group="g"),
    Record("b", {}, {"kind": "x"}, group="g"),
    Record("c", {}, {"size": float("nan")}),
]


def test_what_is_asked_for_is_one_tensor():
    everything = record_keys(RECORDS)
    assert everything.names == ("record", "group", "label:kind", "label:size")
    asked = record_keys(RECORDS, ("record", "label:kind"))
    assert asked.packed.shape == (3, 2)
    assert asked.packed.dtype == torch.int64
    assert all(torch.equal(asked[name], everything[name]) for name in asked)
    assert "group" not in asked
    assert asked.get("group") is None
    many = [Record(str(i), {}, {f"assay {n}": n for n in range(617)}) for i in range(4)]
    assert record_keys(many, ("record", "label:assay 3")).packed.shape == (4, 2)


def test_records_of_a_label_or_group_share_a_key_and_others_have_their_own():
    keys = record_keys(RECORDS)
    group_B, kind_B, size_B = keys["group"], keys["label:kind"], keys["label:size"]
    assert group_B[0] == group_B[1]
    assert kind_B[0] == kind_B[1]
    assert torch.equal(keys["record"][[2]], group_B[[2]])
    assert torch.equal(keys["record"][1:], size_B[1:])
    unknown = record_keys(RECORDS, ("label:color",))
    assert torch.equal(unknown["label:color"], keys["record"])
    assert record_keys([], ("record", "group")).packed.shape == (0, 2)


def test_keys_are_picked_together_whatever_they_are_given_as():
    keys = record_keys(RECORDS)
    picked = changed(keys, lambda rows: rows[[2, 0]])
    assert isinstance(picked, RecordKeys)
    assert torch.equal(picked["record"], keys["record"][[2, 0]])
    own = changed({"record": torch.arange(3)}, lambda rows: rows[[2, 0]])
    assert own["record"].tolist() == [2, 0]
    assert changed(NO_KEYS, lambda rows: rows[[2, 0]]) is NO_KEYS
    with pytest.raises(KeyError):
        keys["label:color"]
    with pytest.raises(Exception, match="the keys record, group, label:kind, label:size: a training gives those that"):
        key_of(keys, "label:color")
