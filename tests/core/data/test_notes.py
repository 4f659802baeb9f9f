import logging

import numpy as np

import sensorium
from sensorium.data.arrays import ArraysSource
from sensorium.data.notes import data_notes, pair_notes, split_notes
from sensorium.data.splits import assign_parts
from tests import toys


class Talking(toys.VectorModality):
    seen: list = []

    def notes(self, raws):
        self.seen.append(raws)
        return [f"{sum(raw.count('-') > 3 for raw in raws)} of {len(raws)} values are mostly negative"]


def test_the_source_and_each_modality_speak_of_a_sample_of_the_train_part():
    source = toys.vectors(missing=0.3)
    source.notes = lambda: ["columns a and b are vectors"]
    modality = Talking()
    Talking.seen.clear()
    said = data_notes(source, np.arange(40), {"a": "b"}, {"a": modality})
    assert said[0] == "columns a and b are vectors"
    assert said[1].startswith("a: ")
    assert "values are mostly negative" in said[1]
    present = sum(source[i].values.get("b") is not None for i in range(40))
    assert 0 < len(Talking.seen[0]) == present < 40
    assert data_notes(source, np.arange(0), {"a": "b"}, {"a": modality})[1] == "a: 0 of 0 values are mostly negative"


def test_a_training_starts_with_the_notes_and_keeps_them(tmp_path, caplog):
    source = toys.vectors()
    source.notes = lambda: ["the last column is ignored"]
    with caplog.at_level(logging.INFO, "sensorium"):
        model = sensorium.fit(toys.recipe(), source=source, run_dir=tmp_path / "run", extensions=toys.extensions())
    assert any(text.startswith("note") and "the last column is ignored" in text for text in caplog.messages)
    assert model.run.status()["notes"] == ["the last column is ignored"]


def notes_of(splits, **fractions):
    source = ArraysSource({"x": range(len(splits))}, splits=splits)
    return split_notes(source.columns(), assign_parts(source, fractions, 0))


def test_a_part_that_is_drawn_from_a_named_train_part_is_said():
    (note,) = notes_of(["train"] * 2000 + ["test"] * 100, val=0.1, test=0.1)
    assert note.startswith("the source names no val part: ")
    assert "of its 2,000 train records (" in note
    assert note.endswith("went to val; data.val=0 leaves them in train")
    (note,) = notes_of(["train"] * 2000 + ["validation"] * 100, val=0.1, test=0.1)
    assert "names no test part" in note
    assert "data.test=0" in note
    assert notes_of(["train"] * 2000 + ["test"] * 100, val=0, test=0.1) == []
    assert notes_of([None] * 2000, val=0.1, test=0.1) == []  # the recipe cuts all parts, as it says
    (note,) = notes_of([None] * 2000 + ["test"] * 100, val=0.1, test=0.1)
    assert "of its 2,000 train records" in note


def test_a_pair_of_modalities_that_no_record_has_is_told():
    values = {"a": ["1"] * 6, "b": ["1", "1", "1", None, None, None], "c": [None, None, None, "1", "1", "1"]}
    source, fields = ArraysSource(values), {name: name for name in values}
    pairs = [("a", "b"), ("b", "c")]
    (said,) = pair_notes(source, np.arange(6), fields, pairs)
    assert said.startswith("no record of the train part has both b (3) and c (3): the pair b - c is never trained")
    assert len(pair_notes(source, np.arange(3), fields, [("a", "c")])) == 1  # of the train part alone
    assert pair_notes(source, np.arange(6), fields, [("a", "b"), ("a", "c")]) == []


def test_a_training_says_which_pair_it_never_trains(tmp_path, caplog):
    caplog.set_level(logging.INFO, "sensorium")
    whole = toys.vectors()
    a = [whole[i].values["a"] if i % 2 else None for i in range(96)]
    b = [None if i % 2 else whole[i].values["b"] for i in range(96)]
    recipe = toys.pair_recipe() | {"train": {"steps": 1, "accelerator": "cpu"}}
    sensorium.fit(recipe, source=ArraysSource({"a": a, "b": b}), run_dir=tmp_path, extensions=toys.extensions())
    assert "the pair a - b is never trained" in caplog.text
