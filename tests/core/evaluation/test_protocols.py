"""The three ways of cutting parts."""

from __future__ import annotations

import numpy as np
import pytest

from sensorium import SensoriumError
from sensorium.evaluation.protocols import make_protocol
from tests.core.evaluation.tables_of_records import blobs, table


def speakers(prefix: str):
    labels = {"digit": [0, 1] * 6, "speaker": [s for s in "abcdef" for _ in range(2)]}
    return table({"sound": np.random.default_rng(0).normal(size=(12, 2))}, labels, prefix=prefix)


def test_given_hands_on_the_parts_once_for_each_repetition():
    train, test = blobs(10), blobs(10, prefix="t")
    rounds = list(make_protocol({"name": "given", "repeats": 3}).rounds(train, test, None))
    assert [seed for seed, _ in rounds] == [0, 1, 2]
    assert all(folds == [(train, test)] for _, folds in rounds)


def test_folds_measure_every_record_once_in_every_dealing():
    train, test = blobs(31), blobs(20, prefix="t")
    protocol = make_protocol({"name": "kfold", "folds": 4, "repeats": 2})
    assignments = []
    for _, folds in protocol.rounds(train, test, None):
        held = [name for _, part in folds for name in part.ids]
        assert sorted(held) == sorted(train.ids + test.ids)
        assert all(sorted(a.ids + b.ids) == sorted(held) for a, b in folds)
        shares = [np.mean(part.labels["kind"] == "c0") for _, part in folds]
        assert max(shares) - min(shares) < 0.15
        assignments.append([part.ids for _, part in folds])
    assert assignments[0] != assignments[1]


def test_one_value_is_left_out_at_a_time():
    ((_, folds),) = make_protocol({"name": "leave-one-group-out", "by": "speaker"}).rounds(
        speakers("r"), speakers("t"), "digit"
    )
    assert len(folds) == 6
    for train, test in folds:
        assert len(set(test.labels["speaker"])) == 1
        assert not set(test.labels["speaker"]) & set(train.labels["speaker"])
        assert len(test) == 4


def test_a_label_that_one_part_lacks_is_missing_in_its_records():
    train, test = speakers("r"), speakers("t")
    del test.labels["speaker"]
    ((_, folds),) = make_protocol({"name": "leave-one-group-out", "by": "speaker"}).rounds(train, test, "digit")
    assert all(len(a) == 22 and len(b) == 2 for a, b in folds)


def test_numbers_that_were_measured_are_not_classes():
    numbers = table({"a": np.zeros((40, 1))}, {"y": np.linspace(0, 1, 40).tolist()})
    empty = numbers.select(np.arange(0))
    (_, one), (_, other) = make_protocol({"name": "kfold", "folds": 2, "repeats": 2}).rounds(numbers, empty, None)
    assert one[0][1].ids != other[0][1].ids


@pytest.mark.parametrize(
    ("protocol", "sentence"),
    [
        ("kfodl", "no evaluation protocol named 'kfodl', did you mean 'kfold'"),
        ({"name": "kfold", "fold": 3}, "has no option 'fold'"),
        ({"name": "leave-one-group-out"}, "protocol.by is missing"),
        ({"name": "kfold", "folds": 1}, "'folds' of the protocol 'kfold' must be at least 2"),
        ({"folds": 3}, "has no name: write"),
    ],
)
def test_refuses_what_it_does_not_know(protocol, sentence):
    with pytest.raises(SensoriumError, match=sentence):
        make_protocol(protocol)


def test_refuses_more_folds_than_records():
    with pytest.raises(SensoriumError, match="10 folds need at least as many records"):
        list(make_protocol("kfold").rounds(blobs(4), blobs(3, prefix="t"), None))
    same = table({"a": np.eye(2)}, {"speaker": ["x", "x"]})
    with pytest.raises(SensoriumError, match="there is 1"):
        list(
            make_protocol({"name": "leave-one-group-out", "by": "speaker"}).rounds(
                same, same.select(np.arange(0)), None
            )
        )


def test_a_class_too_small_for_the_folds_is_named():
    part = table({"a": np.zeros((20, 1))}, {"y": ["rare" if i < 3 else "frequent" for i in range(20)]})
    empty = part.select(np.arange(0))
    (sentence,) = make_protocol({"name": "kfold", "folds": 5}).remarks(part, empty, None)
    assert "'rare' has 3 records or groups, so that some of the 5 folds hold out none of it: set folds to 3" in sentence
    assert make_protocol({"name": "kfold", "folds": 3}).remarks(part, empty, None) == []
    assert make_protocol("given").remarks(part, empty, None) == []
