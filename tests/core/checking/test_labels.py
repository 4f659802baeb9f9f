import numpy as np

from sensorium.checking.labels import count_labels
from sensorium.data.arrays import ArraysSource


def test_labels_are_counted_by_part():
    source = ArraysSource(
        {"x": [0] * 6}, labels={"kind": ["b", "a", None, "b", float("nan"), "a"], "n": list(range(6))}
    )
    parts = {"train": np.arange(4), "val": np.arange(0), "test": np.arange(4, 6)}
    found = count_labels(source.columns(), parts)
    assert found["kind"].classes == {
        "a": {"train": 1, "val": 0, "test": 1},
        "b": {"train": 2, "val": 0, "test": 0},
    }
    assert found["kind"].missing == {"train": 1, "val": 0, "test": 1}
    assert list(found["n"].classes) == [0, 1, 2, 3, 4, 5]


def test_numbers_and_words_under_one_label_are_both_counted():
    source = ArraysSource({"x": [0] * 3}, labels={"kind": [np.int64(2), "two", 1.5]})
    found = count_labels(source.columns(), {"train": np.arange(3)})
    assert list(found["kind"].classes) == [1.5, 2, "two"]
