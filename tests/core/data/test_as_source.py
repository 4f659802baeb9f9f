import itertools
from collections import namedtuple
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset

import sensorium
from sensorium.data import stream
from sensorium.data.arrays import ArraysSource
from sensorium.data.as_source import as_source
from sensorium.data.memory import Space
from sensorium.errors import DataError, RecipeError
from tests import toys

WORDS = ["1 2", "3 4", "5 6"]


def keys(source):
    return [source.key(i) for i in range(len(source))]


@pytest.mark.parametrize(
    "given",
    [WORDS, np.array(WORDS), pd.Series(WORDS, index=[2, 1, 0]), pa.array(WORDS)],
    ids=["list", "array", "pandas", "pyarrow"],
)
def test_values_of_the_only_field(given):
    source = as_source(given, ["a"])
    assert source.fields == ("a",)
    assert [source[i].values["a"] for i in range(3)] == WORDS
    assert [key.id for key in keys(source)] == ["0", "1", "2"]


class Words(IterableDataset):
    def __iter__(self):
        return iter([{"a": word, "kind": "x"} for word in WORDS])


@dataclass
class Word:
    a: str
    kind: str


NamedWord = namedtuple("NamedWord", ["kind", "a"])


@pytest.mark.parametrize(
    "given",
    [
        lambda: ({"a": word, "kind": "x"} for word in WORDS),
        Words,
        lambda: [Word(word, "x") for word in WORDS],
        lambda: (Word(word, "x") for word in WORDS),
        lambda: [NamedWord("x", word) for word in WORDS],
        lambda: ((word, "x") for word in WORDS),
    ],
    ids=["generator", "iterable dataset", "dataclasses", "stream of dataclasses", "named tuples", "stream of tuples"],
)
def test_streams_and_records_with_names(given):
    source = as_source(given(), ["a"])
    assert [source[i].values for i in range(3)] == [{"a": word} for word in WORDS]
    assert [list(key.labels.values()) for key in keys(source)] == [["x"]] * 3


def test_a_dataclass_without_a_field_of_the_recipe_is_a_value():
    words = [Word("1", "x"), Word("2", "y")]
    assert [as_source(words, ["b"])[i].values["b"] for i in range(2)] == words


def test_a_stream_that_fills_the_memory_is_refused(monkeypatch):
    free = iter([Space(8, 8), Space(8, 5), Space(8, 3)])
    monkeypatch.setattr(stream, "memory", lambda: next(free))
    with pytest.raises(DataError, match="a generator, whose first 2,000 items take half of the free memory"):
        as_source(({"a": "1"} for _ in itertools.count()), ["a"])


def test_an_array_is_the_values_along_its_first_axis():
    images = np.arange(24).reshape(2, 3, 4)
    source = as_source(torch.from_numpy(images), ["image"])
    assert len(source) == 2
    assert np.array_equal(source[1].values["image"], images[1])


COLUMNS = {
    "a": WORDS,
    "kind": ["x", None, "y"],
    "size": [1.5, float("nan"), 3.0],
    "id": ["p", "q", "r"],
    "split": ["train", "train", "test"],
    "group": [7, 8, 9],
}


@pytest.mark.parametrize("frame", [dict, pd.DataFrame, pa.table])
def test_columns_that_no_modality_reads_are_labels_but_for_id_split_and_group(frame):
    source = as_source(frame(COLUMNS), ["a"])
    assert [source[i].values for i in range(3)] == [{"a": word} for word in WORDS]
    assert [key.labels for key in keys(source)] == [{"kind": "x", "size": 1.5}, {}, {"kind": "y", "size": 3.0}]
    assert [(key.id, key.split, key.group) for key in keys(source)] == [
        ("p", "train", "7"),
        ("q", "train", "8"),
        ("r", "test", "9"),
    ]


def test_a_missing_cell_of_a_data_frame_is_a_missing_value():
    source = as_source(pd.DataFrame({"a": ["1", None], "b": [np.nan, "2"]}), ["a", "b"])
    assert [source[i].values for i in range(2)] == [{"a": "1", "b": None}, {"a": None, "b": "2"}]


def test_a_label_may_be_an_array_or_a_tensor():
    source = as_source({"a": WORDS, "class": torch.tensor([2, 0, 1]), "size": np.array([0.5, np.nan, 1])}, ["a"])
    assert [key.labels for key in keys(source)] == [{"class": 2, "size": 0.5}, {"class": 0}, {"class": 1, "size": 1.0}]


@pytest.mark.parametrize(
    ("given", "fields", "sentence"),
    [
        ("photos.csv", ["a"], "source is 'photos.csv': hand in an array"),
        (np.zeros, ["a"], "which has no items"),
        (ArraysSource, ["a"], "hand in an array"),
        ((np.zeros(3), np.zeros(3)), ["a"], "hand in an array"),
        (5, ["a"], "of type int, which has no items"),
        (np.array(1.0), ["a"], "which has no items"),
        (DataLoader(WORDS), ["a"], r"hand in its dataset, as loader\.dataset"),
        (iter([]), ["a"], "no records"),
        ([], ["a"], "no records"),
        (np.zeros((0, 3)), ["a"], "no records"),
        ({}, ["a"], r"columns \(none\)"),
        ({"b": WORDS}, ["a"], "the columns b, and the recipe reads a"),
        (WORDS, ["a", "b"], "reads 2 fields: hand in a mapping {'a': ..., 'b': ...}"),
        ({"a": WORDS, "pixels": [[1], [2], [3]]}, ["a"], "No modality of the recipe reads 'pixels'.*row 0.*list"),
        ({"a": WORDS, "class": [1, 2]}, ["a"], "3 entries, the label 'class' 2"),
        ({"a": WORDS, "id": ["p", "p", "q"]}, ["a"], "the id 'p'"),
        ([{"b": 1}], ["a"], "keys b, and the recipe reads a"),
        ([("1", "x", "y")], ["a"], "tuples of 3"),
    ],
)
def test_what_is_no_source_is_refused_in_one_sentence_and_leaves_no_folder(given, fields, sentence, tmp_path):
    with pytest.raises(DataError, match=sentence):
        as_source(given, fields)
    if fields == ["a"]:
        recipe = {**toys.recipe(), "modalities": {"a": toys.recipe()["modalities"]["a"]}}
        with pytest.raises(DataError):
            sensorium.fit(recipe, source=given, run_dir=tmp_path / "run", extensions=toys.extensions())
        assert not (tmp_path / "run").exists()


def test_a_training_that_finds_no_data_leaves_no_folder(tmp_path):
    gone = [f"data.source={{name: table, path: {tmp_path}/gone.csv}}"]
    with pytest.raises(DataError, match=r"gone\.csv"):
        sensorium.fit(toys.recipe(), gone, run_dir=tmp_path / "run", extensions=toys.extensions())
    assert not (tmp_path / "run").exists()


def test_a_training_and_all_that_follows_take_columns(tmp_path):
    source, extensions = toys.vectors(), toys.extensions()
    columns = {name: list(source._values[name]) for name in ("a", "b")} | {
        "class": source.columns().labels["class"].to_pylist()
    }
    recipe = toys.pair_recipe(evaluate={"evaluators": {"knn": {"modality": "a", "k": 5}}})
    model = sensorium.fit(recipe, source=columns, run_dir=tmp_path / "run", extensions=extensions)
    tables = sensorium.evaluate(tmp_path / "run", source=pd.DataFrame(columns), extensions=extensions)
    assert tables["knn"].row("trained").metrics["accuracy"].mean > 0.3
    assert repr(tables).startswith("## knn")
    assert tables._repr_html_().count("<table>") == 1
    assert repr(model.run).endswith(": finished, step 12 of 12)")


def test_a_run_on_what_was_handed_in_is_not_one_on_the_records_of_its_recipe(tmp_path):
    (tmp_path / "other.csv").write_text("a,b\n" + "1 2,3 4\n" * 30)
    recipe = toys.pair_recipe()
    recipe["data"] |= {"source": {"name": "table", "path": str(tmp_path / "other.csv")}}
    model = sensorium.fit(recipe, source=toys.vectors(), run_dir=tmp_path / "run", extensions=toys.extensions())
    assert model.plan.recipe.data.source is None
    with pytest.raises(RecipeError, match=r"names no source.*source=\.\.\."):
        sensorium.search(tmp_path / "run", "1 2", extensions=toys.extensions())
