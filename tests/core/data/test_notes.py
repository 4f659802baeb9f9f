import logging

import numpy as np

import sensorium
from sensorium.data.notes import data_notes
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
