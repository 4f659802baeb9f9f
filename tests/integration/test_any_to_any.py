"""A run of MultiMAE on series and texts, half of them missing: tables of what is predicted from the others."""

import json

import numpy as np
import pytest

import sensorium
from sensorium import Record
from sensorium.data.arrays import ArraysSource
from sensorium.errors import DataError

RECIPE = {
    "name": "any",
    "data": {"batch": 16, "workers": 0, "val": 0.0, "test": 0.4},
    "modalities": {
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
    "train": {"steps": 4, "accelerator": "cpu"},
    "evaluate": {"evaluators": {"cross-prediction": None}},
    "log": {"loggers": {}},
}


def records(count=48):
    rng = np.random.default_rng(0)
    made = []
    for number in range(count):
        level = int(rng.integers(3))
        values = {"signal": level + 0.1 * rng.standard_normal((1, 16)), "text": ("low", "middle", "high")[level]}
        kept = values if number % 4 < 2 else {name: values[name] for name in (("signal",), ("text",))[number % 2]}
        made.append(Record(f"record {number}", kept))
    return ArraysSource.of_records(made, ("signal", "text"))


def test_a_run_is_measured_by_what_it_predicts(tmp_path):
    model = sensorium.fit(RECIPE, source=records(), run_dir=tmp_path / "run")
    table = json.loads((model.run.evaluations / "cross-prediction.json").read_text())
    assert {"chance", "nearest neighbor, features", "untrained", "trained"} <= table["rows"].keys()
    metrics = table["rows"]["trained"]["metrics"]
    assert {
        "text->signal R2",
        "signal->text R2",
        "signal->text accuracy",
        "signal->text perplexity ↓",
    } <= metrics.keys()
    assert abs(table["rows"]["chance"]["metrics"]["text->signal R2"]["mean"]) < 1e-6
    again = sensorium.evaluate(tmp_path / "run", ["cross-prediction"], source=records())["cross-prediction"]
    assert again.row("trained").metrics["text->signal R2"].mean == metrics["text->signal R2"]["mean"]
    assert {name: x.shape[1] for name, x in model.embed(text=["low"], signal=[np.zeros((1, 16))]).items()} == {
        "text": 16,
        "signal": 16,
    }


@pytest.mark.parametrize(
    ("objective", "names", "reason"),
    [
        ({"name": "clip", "dim": 8}, ("signal", "text"), "which the objective 'clip' does not make; 'multimae' does"),
        (RECIPE["objective"], ("signal",), "the recipe has one modality"),
    ],
)
def test_runs_that_predict_no_other_modality_are_refused_before_the_first_step(objective, names, reason, tmp_path):
    modalities = {name: RECIPE["modalities"][name] for name in names}
    with pytest.raises(DataError, match=reason):
        sensorium.fit(
            {**RECIPE, "objective": objective, "modalities": modalities}, source=records(), run_dir=tmp_path / "run"
        )


def test_a_term_of_a_sum_predicts(tmp_path):
    objective = [{"name": "clip", "dim": 8}, {**RECIPE["objective"], "weight": 0.5}]
    model = sensorium.fit({**RECIPE, "objective": objective}, source=records(), run_dir=tmp_path / "run")
    table = json.loads((model.run.evaluations / "cross-prediction.json").read_text())
    assert "text->signal top-1" in table["rows"]["trained"]["metrics"]
