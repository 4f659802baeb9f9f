"""Whatever fields and labels are called, their values come back under their names."""

import random

import pytest

import sensorium
from sensorium.data.arrays import ArraysSource
from sensorium.data.several import values_of
from sensorium.recipe.merging import overridden
from sensorium.recipe.yaml_text import one_line

from .test_pack import packed_again

NAMES = ["Text", "text", "TEXT", "text_value", "a/b", "a.b", "A/b", "A", "a b", "a_b", "a;b", "json", "json.a", "JSON"]
NAMES += ["__key__", "", " ", "0", "1", "0.jpg", "größe", "日本", "*", "`", "a`b", "_rowid", "id", "split", "group"]
NAMES += ["'", '"', "a: b", "{c}", "#", "\n", "-", ".", "..", "jpg", "cls", "x" * 300, "x" * 299 + "y", "null", "true"]
FORMS = ["parquet", "webdataset", "lance"]


def source_of(fields, labels):
    """Three records whose values say where they belong; the last has several of each field."""
    values = {
        field: [f"{field!r} {i}" if i < 2 else [f"{field!r} {i}", f"{field!r} too"] for i in range(3)]
        for field in fields
    }
    said = {label: [f"{label!r} {i}" for i in range(3)] for label in labels}
    return ArraysSource(values, labels=said, groups=list("xyz"), splits=["train", "val", "test"])


def assert_same(source, given):
    assert sorted(source.fields) == sorted(given.fields)
    for record, expected in zip(source, given, strict=True):
        found = {field: list(values_of(value)) for field, value in record.values.items()}
        assert found == {field: list(values_of(value)) for field, value in expected.values.items()}
        assert (record.id, record.labels, record.split, record.group) == (
            *(expected.id, expected.labels, expected.split, expected.group),
        )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("seed", range(4))
def test_values_and_labels_come_back_under_their_names(seed, form, tmp_path):
    if form == "lance":
        pytest.importorskip("lance")
    draw = random.Random(seed)
    fields = NAMES if seed == 0 else draw.sample(NAMES, 8)
    given = source_of(fields, draw.sample(NAMES, len(NAMES) if seed == 0 else 8))
    made = sensorium.pack(None, tmp_path / "out", ["data.workers=0"], source=given, form=form)
    options = overridden({}, [f"data.source={one_line(made.source)}"])["data"]["source"]  # as it is printed
    assert_same(sensorium.build("sources", options.pop("name"), **options), given)
    again = sensorium.pack(tmp_path / "out", tmp_path / "again", ["data.workers=0"], form=form)
    assert_same(packed_again(again), given)


@pytest.mark.parametrize("form", FORMS)
def test_labels_splits_and_groups_that_no_record_has_come_back(form, tmp_path):
    if form == "lance":
        pytest.importorskip("lance")
    labels = {"ok": ["x", "y"], "none": [None, None]}
    given = ArraysSource({"text": ["a", "b"]}, labels, groups=[None, None], splits=[None, None])
    found = packed_again(sensorium.pack(None, tmp_path / "out", ["data.workers=0"], source=given, form=form))
    assert_same(found, given)
    assert set(found.columns().labels) == {"ok", "none"}
