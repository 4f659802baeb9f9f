import numpy as np
import pytest

from sensorium.data.arrays import ArraysSource
from sensorium.errors import DataError
from sensorium.types import Record


def test_records_of_arrays_and_lists():
    source = ArraysSource(
        {"image": np.arange(12).reshape(3, 4), "text": ["a", None, "c"]},
        labels={"kind": [1, None, 2]},
        ids=["x", "y", "z"],
        splits=["train", "validation", None],
        groups=[7, None, "g"],
    )
    assert (len(source), source.fields) == (3, ("image", "text"))
    first, second, third = source
    assert first.values["image"].tolist() == [0, 1, 2, 3]
    assert second.values["text"] is None
    assert [r.labels for r in source] == [{"kind": 1}, {}, {"kind": 2}]
    assert [r.split for r in source] == ["train", "val", None]
    assert [r.group for r in source] == ["7", None, "g"]
    assert third.id == source.key(2).id == "z"
    assert source.key(0).values == {}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"values": {}}, "got no values"),
        ({"values": {"x": []}}, "empty"),
        ({"values": {"x": [1, 2], "y": [1]}}, "the field 'x' has 2 entries, the field 'y' 1"),
        ({"values": {"x": [1, 2]}, "labels": {"k": [1, 2, 3]}}, "the label 'k' 3"),
        ({"values": {"x": [1, 2]}, "ids": ["a", "a"]}, "the id 'a'"),
    ],
)
def test_invalid_arrays_are_refused(arguments, sentence):
    with pytest.raises(DataError, match=sentence):
        ArraysSource(**arguments)


def test_records_of_any_source_are_read_into_memory():
    given = [
        Record("a", {"x": 1.0, "y": "dropped"}, {"kind": "one"}, "train", "g"),
        Record("b", {"y": "dropped"}, {}, "test"),
    ]
    held = ArraysSource.of_records(given, ["x"], root="here")
    assert (held.fields, held.root, len(held)) == (("x",), "here", 2)
    assert held[0] == Record("a", {"x": 1.0}, {"kind": "one"}, "train", "g")
    assert held[1] == Record("b", {"x": None}, {}, "test")
