import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.data.arrays import ArraysSource
from sensorium.data.splits import assign_parts, part_name
from sensorium.errors import DataError, RecipeError
from sensorium.recipe.schema import HoldOut

SHARES = {"val": 0.2, "test": 0.2}


def source(count, **options):
    return ArraysSource({"x": list(range(count))}, **options)


def ids(parts, records):
    return {part: {records.key(int(i)).id for i in found} for part, found in parts.items()}


@given(st.lists(st.sampled_from("abcdefgh") | st.none(), min_size=1, max_size=60), st.integers(0, 9))
@settings(deadline=None, max_examples=50)
def test_parts_cover_the_records_once_and_groups_share_a_split(groups, seed):
    groups += [None] * 60
    parts = assign_parts(source(len(groups), groups=groups), {"val": 0.3, "test": 0.3}, seed)
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(len(groups)))
    of_group: dict = {}
    for part, found in parts.items():
        for i in found:
            if groups[i] is not None:
                assert of_group.setdefault(groups[i], part) == part


def test_parts_have_their_fractions():
    parts = assign_parts(source(5000), {"val": 0.1, "test": 0.3}, seed=0)
    assert [round(len(parts[p]) / 5000, 1) for p in ("train", "val", "test")] == [0.6, 0.1, 0.3]


def test_a_record_keeps_its_part_when_records_are_added():
    few, many = source(100), source(200)
    before, after = ids(assign_parts(few, SHARES, 0), few), ids(assign_parts(many, SHARES, 0), many)
    assert all(before[part] <= after[part] for part in before)


def test_splits_of_the_source_take_precedence_and_val_is_drawn_from_train():
    splits = ["train"] * 100 + ["test"] * 50
    parts = assign_parts(source(150, splits=splits), SHARES, seed=0)
    assert parts["test"].tolist() == list(range(100, 150))
    assert 5 < len(parts["val"]) < 40
    assert parts["val"].max() < 100
    splits[0] = "validation"
    parts = assign_parts(source(150, splits=splits), SHARES, seed=0)
    assert parts["val"].tolist() == [0]
    assert parts["train"].tolist() == list(range(1, 100))


def test_a_known_split_applies_to_its_group():
    parts = assign_parts(source(3, splits=["test", None, "train"], groups=["a", "a", "b"]), {}, seed=0)
    assert parts["test"].tolist() == [0, 1]


def test_a_group_in_two_splits_is_an_error():
    records = source(2, splits=["train", "test"], groups=["a", "a"])
    with pytest.raises(DataError, match="group 'a' has records in train and in test"):
        assign_parts(records, SHARES, 0)


def test_an_unknown_split_is_named():
    with pytest.raises(DataError, match="record '1' has the split 'holdout'"):
        assign_parts(source(2, splits=["train", "holdout"]), SHARES, 0)


def test_no_record_for_training_is_an_error():
    with pytest.raises(DataError, match="None of the 2 records is left for training"):
        assign_parts(source(2, splits=["test", "test"]), SHARES, 0)


@pytest.mark.parametrize("fractions", [{"val": 0.6, "test": 0.4}, {"val": -0.1}, {"train": 0.5}])
def test_fractions_out_of_range_are_refused(fractions):
    with pytest.raises(RecipeError, match=r"data\.val and data\.test are fractions"):
        assign_parts(source(3), fractions, 0)


def test_ids_must_be_unique_in_any_source():
    records = source(3)
    records._ids = ["a", "b", "a"]
    with pytest.raises(DataError, match="Two records have the id 'a'"):
        assign_parts(records, SHARES, 0)


def test_part_names():
    assert [part_name(w) for w in ("Train", "validation", " dev", "test", "cats")] == [
        "train",
        "val",
        "val",
        "test",
        None,
    ]


def test_records_of_one_label_value_are_held_out_whatever_the_source_says():
    records = source(
        12,
        labels={"device": [1, 2, 3] * 4},
        splits=["test", None, "train", "test", "val", None] * 2,
        ids=[f"r{i}" for i in range(12)],
    )
    parts = ids(assign_parts(records, {"val": 0.3, "test": 0.3}, 0, HoldOut(by="device", value="2")), records)
    assert parts["test"] == {"r1", "r4", "r7", "r10"}
    assert parts["train"] | parts["val"] == {f"r{i}" for i in range(12) if i % 3 != 1}
    with pytest.raises(DataError, match="No record has the value '4' of the label 'device'"):
        assign_parts(records, {"val": 0.0, "test": 0.0}, 0, HoldOut(by="device", value="4"))
    torn = source(4, labels={"device": [1, 2, 1, 2]}, groups=["g", "g", "h", "i"])
    with pytest.raises(DataError, match="The group 'g' has records in train and in test"):
        assign_parts(torn, {"val": 0.0, "test": 0.0}, 0, HoldOut(by="device", value="2"))
