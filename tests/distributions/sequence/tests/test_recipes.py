"""The recipe with text, trained a short while, retrieves better than chance."""

import json

import sensorium


def test_retrieval_beats_chance(tmp_path):
    recipe = {"base": "protein-text", "train": {"epochs": None, "steps": 50}, "log": {"loggers": {}}}
    recipe["train"]["accelerator"] = "cpu"
    model = sensorium.fit(recipe, run_dir=tmp_path / "run")
    table = json.loads((model.run.evaluations / "retrieval.json").read_text())
    found = {
        row: table["rows"][row]["metrics"]["sequence->text R@1"]["mean"] for row in ("chance", "untrained", "trained")
    }
    assert found["trained"] > 3 * found["chance"], found
    assert found["trained"] > found["untrained"], found
