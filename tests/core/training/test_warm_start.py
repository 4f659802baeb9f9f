"""A run that starts from another one begins with its weights, and with what its modalities had learned."""

import shutil

import pytest
import torch

import sensorium
from sensorium.errors import RunError
from tests import toys

EXTENSIONS = toys.extensions()
STILL = {"lr": 1e-12, "weight_decay": 0.0}
"""Rates so small that what a run ends with is what it began with."""


def trained(folder, recipe, source=None, **train):
    recipe = recipe | {"train": recipe["train"] | train}
    return sensorium.fit(recipe, source=source or toys.vectors(), run_dir=folder, extensions=EXTENSIONS)


def goes_on(folder, first, recipe, source=None, **train):
    return trained(folder, recipe | {"optimizer": STILL}, source, warm_start=str(first), epochs=1, **train)


def equal(one, other, prefix=""):
    a, b = dict(one.learner.named_parameters()), dict(other.learner.named_parameters())
    names = [name for name in a if name.startswith(prefix) and name in b]
    assert names
    return all(torch.allclose(a[name], b[name], atol=1e-6) for name in names)


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("start") / "first", toys.recipe(seed=3))


def test_encoders_heads_and_what_modalities_learned_go_on(first, tmp_path):
    elsewhere = toys.vectors(seed=5)
    second = goes_on(tmp_path / "second", first.run.folder, toys.recipe(), elsewhere)
    assert equal(first, second, "encoders.")
    assert equal(first, second, "objective.")
    states = [model.plan.modalities["a"].state() for model in (first, second)]
    assert states[0] == states[1]
    afresh = trained(tmp_path / "afresh", toys.recipe() | {"optimizer": STILL}, elsewhere)
    assert not equal(first, afresh, "encoders.")
    assert afresh.plan.modalities["a"].state() != states[0]


def test_training_does_move_what_it_starts_from(first, tmp_path):
    second = trained(tmp_path / "second", toys.recipe(), warm_start=str(first.run.folder))
    assert not equal(first, second, "encoders.")


def test_a_teacher_is_made_of_the_weights_that_are_taken_over(first, tmp_path):
    byol = {"name": "byol", "width": 32, "dim": 8, "momentum": 1.0}
    second = goes_on(tmp_path / "second", first.run.folder, toys.recipe(objective=byol))
    assert equal(first, second, "encoders.")
    taught = second.learner.objective.teacher.encoders["a"].parameters()
    for mine, theirs in zip(taught, first.learner.encoders["a"].parameters(), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-6)


def test_heads_of_another_objective_stay_as_they_are_made(first, tmp_path):
    other = toys.recipe(objective={"name": "supervised-contrastive", "width": 32, "dim": 8})
    second = goes_on(tmp_path / "second", first.run.folder, other)
    assert equal(first, second, "encoders.")
    assert not equal(first, second, "objective.")


def test_what_has_another_shape_begins_anew(tmp_path):
    moco = toys.recipe(objective={"name": "moco", "width": 32, "dim": 8, "queue": 32, "momentum": 1.0})
    short = trained(tmp_path / "short", moco)
    long = goes_on(tmp_path / "long", short.run.folder, moco | {"objective": {**moco["objective"], "queue": 64}})
    assert equal(short, long, "objective.project")
    assert equal(short, long, "objective.teacher")


def test_a_modality_that_is_new_begins_anew_and_a_frozen_one_stays(first, tmp_path):
    recipe = toys.pair_recipe()
    a, b = recipe["modalities"].values()
    towers = {"a": toys.recipe()["modalities"]["a"] | {"views": a["views"], "frozen": True}, "b": b}
    second = trained(tmp_path / "second", recipe | {"modalities": towers}, warm_start=str(first.run.folder))
    assert equal(first, second, "encoders.a.")
    alone = trained(tmp_path / "alone", recipe | {"modalities": towers})
    assert not equal(first, alone, "encoders.a.")


def test_a_run_goes_on_without_the_run_that_it_started_from(first, tmp_path):
    shutil.copytree(first.run.folder, tmp_path / "copy")
    second = goes_on(tmp_path / "second", tmp_path / "copy", toys.recipe())
    shutil.rmtree(tmp_path / "copy")
    resumed = sensorium.fit(
        None, ["train.epochs=2"], source=toys.vectors(), resume=second.run.folder, extensions=EXTENSIONS
    )
    assert equal(first, resumed, "encoders.")


def test_what_cannot_be_taken_over_is_said(first, tmp_path):
    wide = toys.recipe()
    wide["modalities"]["a"] = wide["modalities"]["a"] | {"encoder": {"name": "mlp", "dim": 12}}
    with pytest.raises(RunError, match=r"train\.warm_start: the encoder of 'a' in .* differs from this recipe's"):
        goes_on(tmp_path / "wide", first.run.folder, wide)
    renamed = toys.recipe()
    renamed["modalities"] = {"z": renamed["modalities"]["a"]}
    with pytest.raises(RunError, match=r"train\.warm_start: .* has none of the modalities z\."):
        goes_on(tmp_path / "renamed", first.run.folder, renamed)
    with pytest.raises(RunError, match=r"train\.warm_start: .* is not a run folder"):
        goes_on(tmp_path / "nowhere", tmp_path / "missing", toys.recipe())
    (tmp_path / "empty").mkdir()
    shutil.copy(first.run.recipe_file, tmp_path / "empty")
    with pytest.raises(RunError, match=r"train\.warm_start: .* has no readable checkpoint"):
        goes_on(tmp_path / "unread", tmp_path / "empty", toys.recipe())
