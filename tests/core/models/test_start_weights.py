"""A training begins with the weights that its recipe names; what comes later needs their file no more."""

import json

import pytest
import torch

import sensorium
from sensorium.data.arrays import ArraysSource
from sensorium.errors import RecipeError
from sensorium.models.plan import make_plan
from sensorium.recipe import read_recipe
from sensorium.weights import read_weights
from tests import toys


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """Return a run to start from."""
    with_toys = toys.extensions()
    return sensorium.fit(
        toys.recipe(seed=5),
        source=toys.vectors(),
        run_dir=tmp_path_factory.mktemp("first") / "run",
        extensions=with_toys,
    ).run


def plan_of(weights, **changes):
    extensions = toys.extensions()
    recipe = read_recipe(toys.recipe(**changes), extensions.registry, [f"modalities.a.weights={weights}"])
    return make_plan(recipe, extensions)


def encoder_of(learner):
    return {name: tensor.clone() for name, tensor in learner.encoder("a").state_dict().items()}


def test_first_weights_are_those_of_the_run_and_heads_stay_the_same(first):
    plan = plan_of(first.folder)
    started, random = plan.learner(), plan.learner(pretrained=False)
    expected = read_weights(first.folder, "a")
    assert all(torch.equal(tensor, expected[name]) for name, tensor in encoder_of(started).items())
    assert not all(torch.equal(tensor, expected[name]) for name, tensor in encoder_of(random).items())
    plain = plan_of("random").learner()
    for name, tensor in plain.state_dict().items():
        assert torch.equal(random.state_dict()[name], tensor), name
        if name.startswith("objective."):
            assert torch.equal(started.state_dict()[name], tensor), name


def test_run_json_says_what_was_loaded(first, tmp_path):
    recipe = toys.recipe(seed=6)
    recipe["modalities"]["a"]["weights"] = str(first.folder)
    run = sensorium.fit(recipe, source=toys.vectors(), run_dir=tmp_path / "run", extensions=toys.extensions()).run
    noted = json.loads(run.status_file.read_text())["weights"]["a"]
    assert noted["where"] == str(first.folder)
    assert noted["missing"] == noted["unexpected"] == []
    assert noted["loaded"] == len(read_weights(first.folder, "a"))
    assert len(noted["digest"]) == 32


def test_a_finished_run_is_opened_without_the_file_it_began_with(first, tmp_path):
    file = tmp_path / "weights.pth"
    torch.save(read_weights(first.folder, "a"), file)
    recipe = toys.recipe(seed=6)
    recipe["modalities"]["a"]["weights"] = str(file)
    trained = sensorium.fit(recipe, source=toys.vectors(), run_dir=tmp_path / "run", extensions=toys.extensions())
    file.unlink()
    opened = sensorium.load(trained.run.folder, extensions=toys.extensions())
    assert all(torch.equal(w, encoder_of(trained.learner)[n]) for n, w in encoder_of(opened.learner).items())


def test_weights_that_are_not_there_name_the_key(tmp_path):
    with pytest.raises(RecipeError, match=r"modalities.a.weights: There is no file or folder .*gone"):
        plan_of(tmp_path / "gone").learner()


def test_a_training_looks_for_them_before_any_data_is_read(tmp_path):
    recipe = toys.recipe()
    recipe["modalities"]["a"]["weights"] = str(tmp_path / "gone")
    untouched = UnreadableSource({"a": ["1 2"]})
    with pytest.raises(RecipeError, match=r"modalities.a.weights: There is no file or folder .*gone"):
        sensorium.fit(recipe, source=untouched, run_dir=tmp_path / "run", extensions=toys.extensions())


class UnreadableSource(ArraysSource):
    """Fails when a record is read."""

    def __getitem__(self, index):
        raise AssertionError("a record was read")
