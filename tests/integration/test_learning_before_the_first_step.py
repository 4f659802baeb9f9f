"""Objectives that learn from the train part before the first step: what they are shown, and who keeps what."""

import json

import pytest
import torch

import sensorium
from sensorium.errors import RecipeError
from tests import toys

ONE = {"modality": "vector", "field": "a", "views": {"name": "noise", "views": 1}, "encoder": "mlp"}


def fit(folder, *overrides, source=None, **changes):
    made = toys.recipe(modalities={"a": ONE}, objective="sums", **changes)
    return sensorium.fit(
        made, *overrides, source=source or toys.vectors(), run_dir=folder, extensions=toys.extensions()
    )


def losses_of(folder):
    return [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_it_learns_from_as_many_records_as_it_asks_for(tmp_path):
    objective = fit(tmp_path / "run").learner.objective
    mean, std = objective.statistics[0].tolist()
    assert std > 0
    source = toys.vectors()
    modality = toys.VectorModality()
    modality.load_state(json.loads((tmp_path / "run" / "modalities" / "a.json").read_text()))
    sums = [modality.decode(source[i].values["a"]).sum() for i in range(len(source))]
    assert min(sums) < mean < max(sums)


def test_workers_and_caches_change_nothing(tmp_path):
    fit(tmp_path / "plain")
    for name, data in {"worker": {"workers": 1}, "cache": {"cache": "ram"}}.items():
        made = {"batch": 16, "workers": 0, "val": 0.15, "test": 0.15, "max_bad": 0.05} | data
        fit(tmp_path / name, data=made)
        assert losses_of(tmp_path / name) == losses_of(tmp_path / "plain")


def test_an_opened_and_a_resumed_run_keep_what_was_learned(tmp_path, monkeypatch):
    whole = fit(tmp_path / "whole")
    opened = sensorium.load(tmp_path / "whole", extensions=toys.extensions())
    assert torch.equal(opened.learner.objective.statistics, whole.learner.objective.statistics)
    monkeypatch.setattr(toys.Sums, "fit", None)  # a resume learns nothing anew
    again = sensorium.fit(
        overrides=["train.epochs=4"], resume=tmp_path / "whole", source=toys.vectors(), extensions=toys.extensions()
    )
    assert torch.equal(again.learner.objective.statistics, whole.learner.objective.statistics)


def test_it_takes_one_modality_or_several_with_missing_values(tmp_path):
    towers = {"a": ONE, "b": ONE | {"field": "b"}}
    made = toys.recipe(modalities=towers, objective="sums")
    model = sensorium.fit(made, source=toys.incomplete_pairs(), run_dir=tmp_path / "run", extensions=toys.extensions())
    assert model.learner.objective.statistics.shape == (2, 2)


def test_a_modality_without_descriptors_is_refused(tmp_path, monkeypatch):
    monkeypatch.delattr(toys.VectorModality, "descriptors")
    with pytest.raises(RecipeError, match=r"descriptors of each record, which the modality of modalities\.a does"):
        fit(tmp_path / "run")


def test_a_loop_of_ones_own_shows_it_views():
    modality = toys.VectorModality()
    objective = toys.Sums()
    learner = sensorium.Learner({"a": toys.MLP(modality)}, objective, descriptors={"a": 2})
    x_BD = torch.randn(12, 8, generator=torch.Generator().manual_seed(0))
    view = sensorium.View(toys.VectorBatch(x_BD), info={"descriptors": torch.stack([x_BD.sum(1), x_BD[:, 0]], 1)})
    learner.train().fit([{"a": [view]}])
    assert learner.training
    assert torch.allclose(objective.statistics[0], torch.stack([x_BD.sum(1).mean(), x_BD.sum(1).std()]))
    assert learner({"a": [view]}).loss.isfinite()
