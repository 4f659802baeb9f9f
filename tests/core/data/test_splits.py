from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings, strategies as st

from sensorium import Split
from sensorium.data.arrays import ArraysSource
from sensorium.data.splits import assign_parts, part_name
from sensorium.data.splits.by_time import ByTime
from sensorium.data.splits.random_split import HoldOut
from sensorium.data.splits.stratified import Stratified
from sensorium.errors import DataError, RecipeError
from sensorium.registration.options import check_options

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
    records._columns = replace(records._columns, ids=pa.array(["a", "b", "a"]))
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


@pytest.mark.parametrize("value", [2, "2"])
def test_the_value_that_is_held_out_is_compared_as_text(value):
    split = HoldOut(**check_options(HoldOut, {"by": "device", "value": value}, "data.split"))
    for devices in ([1, 2, 1, 2], ["1", "2", "1", "2"]):
        records = source(4, labels={"device": devices}, ids=["r0", "r1", "r2", "r3"])
        assert ids(assign_parts(records, {"val": 0.0, "test": 0.0}, 0, split), records)["test"] == {"r1", "r3"}


class Named(Split):
    """Whatever a test hands in."""

    def __init__(self, parts):
        self.parts = parts

    def assign(self, source, fractions, seed):
        return self.parts


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (["train"] * 3, "The split Named assigns 3 parts to 4 records"),
        (["train", "val", "holdout", "test"], "assigns the part 'holdout'; it must be train, val or test"),
        (["train", "test", "train", "test"], "The group 'g' has records in train and in test"),
        (["test"] * 4, "None of the 4 records is left for training"),
    ],
)
def test_what_a_split_of_a_plugin_returns_is_checked(parts, said):
    with pytest.raises(DataError, match=said):
        assign_parts(source(4, groups=["g", "g", None, None]), SHARES, 0, Named(parts))


def test_the_latest_records_are_the_test_part():
    days = [f"2026-01-{day:02}" for day in (5, 1, 9, 3, 7, 2, 8, 4, 10, 6)]
    records = source(10, labels={"day": days}, splits=["train"] * 10)
    parts = assign_parts(records, {"val": 0.2, "test": 0.3}, 0, ByTime(by="day"))
    dated = {part: sorted(days[i] for i in found) for part, found in parts.items()}
    assert dated["test"] == ["2026-01-08", "2026-01-09", "2026-01-10"]
    assert dated["val"] == ["2026-01-06", "2026-01-07"]


def test_records_of_one_time_and_groups_stay_together_when_cut_by_time():
    records = source(8, labels={"t": [1, 1, 2, 2, 3, 3, 3, 0]})
    parts = assign_parts(records, {"val": 0.2, "test": 0.25}, 0, ByTime(by="t"))
    assert parts["test"].tolist() == [4, 5, 6]
    assert parts["val"].tolist() == [2, 3]
    grouped = source(8, labels={"t": list(range(8))}, groups=["g", *[None] * 6, "g"])
    parts = assign_parts(grouped, {"val": 0.0, "test": 0.25}, 0, ByTime(by="t"))
    assert parts["test"].tolist() == [0, 7]


@pytest.mark.parametrize("stamps", [["2026-01-01", "soon"], [1.0, None], [1.0, float("nan")]])
def test_a_record_without_a_time_is_named(stamps):
    with pytest.raises(DataError, match="no time in the label 't' of the record '1'"):
        assign_parts(source(2, labels={"t": stamps}), SHARES, 0, ByTime(by="t"))
    with pytest.raises(DataError, match="no time stamp of the record '0'"):
        assign_parts(source(2), SHARES, 0, ByTime())


@given(st.lists(st.sampled_from("aab"), min_size=12, max_size=60), st.integers(0, 5))
@settings(deadline=None, max_examples=30)
def test_each_class_has_its_fraction_in_each_part(classes, seed):
    classes += ["rare"] * 3 + ["common"] * 20
    parts = assign_parts(source(len(classes), labels={"kind": classes}), SHARES, seed, Stratified(by="kind"))
    for name in set(classes):
        count = classes.count(name)
        held = {part: sum(classes[i] == name for i in found) for part, found in parts.items()}
        wanted = max(round(0.2 * count), int(count >= 3))
        assert (held["val"], held["test"]) == (wanted, wanted)


def test_stratified_parts_do_not_depend_on_the_order_of_records():
    forward = source(40, labels={"kind": ["a", "b"] * 20}, ids=[f"r{i}" for i in range(40)])
    back = source(40, labels={"kind": ["b", "a"] * 20}, ids=[f"r{i}" for i in reversed(range(40))])
    one, other = (ids(assign_parts(records, SHARES, 3, Stratified(by="kind")), records) for records in (forward, back))
    assert one == other
    with pytest.raises(DataError, match="No record has the label 'sort'"):
        assign_parts(forward, SHARES, 0, Stratified(by="sort"))
