"""Rows, series and texts predicted from one another by one trunk, records that lack some of them included."""

import json

import numpy as np

import sensorium
from sensorium import Record, Source

RECIPE = {
    "name": "any",
    "data": {"batch": 16, "workers": 0, "val": 0.0, "test": 0.3},
    "modalities": {
        "tabular": {"views": "plain", "encoder": {"name": "columns", "dim": 16}},
        "signal": {
            "modality": "timeseries",
            "views": "plain",
            "encoder": {"name": "patch-transformer", "patch": 4, "width": 16, "depth": 1, "heads": 2},
        },
        "text": {
            "modality": {"name": "text", "tokenizer": "characters", "length": 12},
            "views": "plain",
            "encoder": {"name": "transformer", "width": 16, "depth": 1, "heads": 2},
        },
    },
    "objective": {"name": "multimae", "width": 16, "depth": 1, "heads": 2, "decoder_width": 16, "decoder_depth": 1},
    "train": {"steps": 3, "accelerator": "cpu"},
    "evaluate": {"evaluators": {"cross-prediction": None, "each": {"name": "cross-prediction", "sources": "each"}}},
    "log": {"loggers": {}},
}


class Records(Source):
    """Records in memory."""

    fields = tuple(RECIPE["modalities"])

    def __init__(self, records):
        self.records = records

    def __len__(self):
        return len(self.records)

    def key(self, index):
        return Record(self.records[index].id, {})

    def __getitem__(self, index):
        return self.records[index]


def records(count=60):
    rng = np.random.default_rng(0)
    made = []
    for number in range(count):
        kind = int(rng.integers(3))
        values = {
            "tabular": {"size": float(kind + 0.1 * rng.standard_normal()), "place": ("Lima", "Oslo", "Lagos")[kind]},
            "signal": kind + 0.1 * rng.standard_normal((1, 16)),
            "text": ("low", "middle", "high")[kind],
        }
        lacking = list(values)[number % 5 :][:1]
        made.append(Record(f"record {number}", {name: v for name, v in values.items() if name not in lacking}))
    return Records(made)


def test_rows_series_and_texts_are_predicted_from_one_another(tmp_path):
    model = sensorium.fit(RECIPE, source=records(), run_dir=tmp_path / "run")
    tables = {n: json.loads((model.run.evaluations / f"{n}.json").read_text()) for n in ("cross-prediction", "each")}
    joint, single = ({key.split()[0] for key in t["rows"]["trained"]["metrics"]} for t in tables.values())
    assert joint == {"signal+text->tabular", "tabular+text->signal", "tabular+signal->text"}
    assert len(single) == 6
    assert "nearest neighbor, baseline features" in tables["each"]["rows"]
