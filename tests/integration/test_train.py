import json

import pytest
import torch

import sensorium
from sensorium.errors import RunError
from tests import toys


def test_a_run_leaves_what_its_contract_says(tmp_path):
    extensions = toys.extensions()
    recipe = toys.pair_recipe(
        evaluate={"every": 1, "evaluators": {"retrieval": None, "knn": {"modality": "a", "k": 5}}}
    )
    model = sensorium.fit(recipe, source=toys.vectors(missing=0.2), run_dir=tmp_path / "run", extensions=extensions)
    run = model.run
    status = json.loads(run.status_file.read_text())
    assert status["state"] == "finished"
    assert {p["name"] for p in status["plugins"]} >= {"toys", "crossmodal"}
    lines = [json.loads(line) for line in run.metrics_file.read_text().splitlines()]
    assert lines[0]["loss"] > lines[-2]["loss"]
    assert any("val/retrieval/a->b r@10" in line for line in lines)
    assert {"data_wait", "records_per_second", "lr", "epoch"} <= set(lines[0])
    for path in (run.gallery_file, run.log_file, run.modalities / "a.json", run.model / "model.safetensors"):
        assert path.stat().st_size > 0
    table = json.loads((run.evaluations / "retrieval.json").read_text())
    assert list(table["rows"]) == ["chance", "untrained", "trained"]
    assert (run.evaluations / "sheet-a-to-b.png").exists()

    again = sensorium.load(run.folder, extensions=extensions)
    raws = list(toys.vectors()._values["a"][:5])
    assert torch.equal(again.embed(a=raws)["a"], model.embed(a=raws)["a"])
    assert again.embed(a=raws, space="features")["a"].shape == (5, 16)


def test_a_run_folder_that_exists_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="exists and is not empty"):
        sensorium.fit(toys.recipe(), source=toys.vectors(), run_dir=tmp_path, extensions=toys.extensions())
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 1
