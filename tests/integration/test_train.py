import json

import pytest
import torch

import sensorium
from sensorium.errors import DataError, RunError
from sensorium.plugins.contrastive.simclr import SimCLR
from sensorium.recipe import read_recipe
from sensorium.runs.run import Run
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
    assert any("val/retrieval/a->b R@10" in line for line in lines)
    assert {"data_wait", "records_per_second", "lr", "epoch"} <= set(lines[0])
    for path in (run.gallery_file, run.log_file, run.modalities / "a.json", run.model / "model.safetensors"):
        assert path.stat().st_size > 0
    table = json.loads((run.evaluations / "retrieval.json").read_text())
    assert list(table["rows"]) == ["chance", "baseline", "untrained", "trained"]
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


def test_a_run_that_failed_before_it_learned_may_be_tried_again(tmp_path):
    run, extensions = tmp_path / "run", toys.extensions()
    gone = [f"data.source={{name: table, path: {tmp_path}/gone.csv, columns: {{a: a, b: b}}}}"]
    with pytest.raises(DataError, match=r"gone\.csv"):
        sensorium.fit(toys.recipe(), gone, run_dir=run, extensions=extensions)
    recipe = toys.recipe(seed=7)
    model = sensorium.fit(recipe, source=toys.vectors(), run_dir=run, extensions=extensions)
    assert "seed: 7" in model.run.recipe_file.read_text()
    assert model.run.status()["state"] == "finished"
    with pytest.raises(RunError, match="exists and is not empty"):  # what was learned is left alone
        sensorium.fit(recipe, source=toys.vectors(), run_dir=run, extensions=extensions)


def test_a_run_without_a_checkpoint_can_only_begin_anew(tmp_path, monkeypatch):
    run, extensions = tmp_path / "run", toys.extensions()

    def stop(*_, **__):
        raise RuntimeError("stopped")

    given = {"source": toys.vectors(), "run_dir": run, "extensions": extensions}
    monkeypatch.setattr(SimCLR, "forward", stop)
    with pytest.raises(RuntimeError, match="stopped"):
        sensorium.fit(toys.recipe(), **given)
    monkeypatch.undo()
    with pytest.raises(RunError, match=rf"no checkpoint: .* start it anew .* --run-dir {run} --resume auto\."):
        sensorium.load(run, extensions=extensions)
    with pytest.raises(RunError, match=r"has no checkpoint 'last'; it has: none, so that .* anew \(--resume auto\)"):
        sensorium.load(run, "last", extensions=extensions)
    with pytest.raises(RunError, match=r"exists and is not empty: .* --resume auto begins it anew"):
        sensorium.fit(toys.recipe(), **given)
    assert sensorium.fit(toys.recipe(), resume="auto", **given).run.is_finished


def test_runs_of_one_second_have_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sensorium.runs.run.time.strftime", lambda form: "20261125-120000")
    extensions = toys.extensions()
    recipe = read_recipe(toys.recipe(), extensions.registry)
    folders = [Run.create(None, recipe, extensions).folder.as_posix() for _ in range(3)]
    assert folders == [f"runs/{recipe.name}-20261125-120000{end}" for end in ("", "-2", "-3")]


@pytest.mark.parametrize(("part", "changes"), [("test", ["data.test=0"]), ("val", ["data.val=0", "evaluate.every=1"])])
def test_a_part_that_is_missing_is_told_before_the_training(tmp_path, part, changes):
    recipe, extensions = toys.recipe(evaluate={"evaluators": {"knn": {"k": 5}}}), toys.extensions()
    with pytest.raises(DataError, match=f"There is no {part} part"):
        sensorium.fit(recipe, changes, source=toys.vectors(), run_dir=tmp_path / "run", extensions=extensions)
    assert not (tmp_path / "run" / "metrics.jsonl").exists()
    if part == "test":  # who wants no figures may train without
        changes = [*changes, "evaluate.evaluators={}"]
        sensorium.fit(recipe, changes, source=toys.vectors(), run_dir=tmp_path / "run", extensions=extensions)


def test_a_training_without_evaluators_may_keep_when_they_would_measure(tmp_path):
    recipe = toys.recipe(evaluate={"every": 1, "evaluators": {}})
    model = sensorium.fit(recipe, source=toys.vectors(), run_dir=tmp_path / "run", extensions=toys.extensions())
    assert model.run.status()["state"] == "finished"


def test_seeds_are_measured_together(tmp_path):
    extensions, source = toys.extensions(), toys.vectors()
    for seed in (0, 1):
        recipe = toys.recipe(seed=seed, evaluate={"evaluators": {"knn": {"k": 5}}})
        sensorium.fit(recipe, source=source, run_dir=tmp_path / f"seed{seed}", extensions=extensions)
    runs = [tmp_path / "seed0", tmp_path / "seed1"]
    (table,) = sensorium.evaluate(runs, source=source, extensions=extensions).values()
    assert [row.name for row in table.rows] == ["chance", "baseline", "untrained", "trained"]
    for row in ("untrained", "trained"):
        assert all(len(metric.scores) == 2 for metric in table.row(row).metrics.values())
    assert len(next(iter(table.row("baseline").metrics.values())).scores) == 1

    changed = ["data.test=0.3", "evaluate.evaluators.knn.k=3"]
    (table,) = sensorium.evaluate(runs, None, changed, source=source, extensions=extensions).values()
    assert len(table.row("trained").metrics["accuracy"].scores) == 2
    assert table.counts[1] > 20

    other = toys.recipe(optimizer={"lr": 0.5}, evaluate={"evaluators": {"knn": {"k": 5}}})
    sensorium.fit(other, source=source, run_dir=tmp_path / "other", extensions=extensions)
    with pytest.raises(RunError, match="differ in more than their seed"):
        sensorium.evaluate([runs[0], tmp_path / "other"], source=source, extensions=extensions)
