"""The recipe with text, trained a short while, retrieves better than chance."""

import json

import sensorium


def test_retrieval_beats_chance(tmp_path):
    recipe = {"base": "tabular-text", "train": {"epochs": None, "steps": 60}, "log": {"loggers": {}}}
    recipe["train"]["accelerator"] = "cpu"
    model = sensorium.fit(recipe, run_dir=tmp_path / "run")
    table = json.loads((model.run.evaluations / "retrieval.json").read_text())
    found = {
        row: table["rows"][row]["metrics"]["tabular->text R@10"]["mean"] for row in ("chance", "untrained", "trained")
    }
    assert found["trained"] > 1.5 * found["chance"], found
    assert found["trained"] > found["untrained"], found
