"""`auto` values: what they become, that they are printed and stored, and what a recipe says wins."""

import logging

import pytest
import yaml

import sensorium
from sensorium.errors import RecipeError
from sensorium.models.plan import make_plan
from sensorium.recipe import read_recipe
from sensorium.registration.options import options_of
from sensorium.training.auto import resolve
from sensorium.types import TrainingSize
from tests import toys


def found(objective, scale, **optimizer):
    extensions = toys.extensions()
    recipe = toys.recipe(objective=objective, optimizer=optimizer)
    plan = make_plan(read_recipe(recipe, extensions.registry), extensions)
    values = resolve(plan, scale)
    assert plan.recipe.objective.options.items() >= dict(plan.objective.options).items()
    return values, plan


SMALL, CIFAR, IMAGENET = (
    TrainingSize(1200, 64, 600),
    TrainingSize(45_000, 512, 17_400),
    TrainingSize(1_281_167, 4096, 93_900),
)


@pytest.mark.parametrize(
    ("objective", "option", "values"),
    [
        ("moco", "queue", [128, 4096, 65_536]),
        ("nnclr", "queue", [128, 4096, 65_536]),
        ("dino", "prototypes", [128, 4096, 65_536]),
        ("swav", "prototypes", [32, 256, 2048]),
        ("byol", "momentum", [0.99, 0.996, 0.996]),
        ("moco", "momentum", [0.99, 0.996, 0.996]),
    ],
)
def test_values_grow_with_the_data(objective, option, values):
    for scale, value in zip((SMALL, CIFAR, IMAGENET), values, strict=True):
        assert found(objective, scale)[0][f"objective.{option}"] == pytest.approx(value)


@pytest.mark.parametrize("records", [1, 3, 40, 100, 1000])
def test_a_queue_never_holds_more_than_there_is(records):
    assert 1 <= found("moco", TrainingSize(records, 1, 10))[0]["objective.queue"] <= records


def test_what_a_recipe_says_wins_and_auto_may_be_said():
    values, plan = found({"name": "moco", "queue": 100, "momentum": "auto"}, SMALL)
    assert set(values) == {"objective.momentum"}
    assert plan.objective().negative_options.memory == 100
    with pytest.raises(RecipeError, match=r"objective.width = 'auto' is not an integer"):
        found({"name": "moco", "width": "auto"}, SMALL)


@pytest.mark.parametrize(
    ("rule", "batch", "rate"), [("adamw", 256, 1e-3), ("adamw", 64, 5e-4), ("sgd", 512, 0.12), ("lars", 64, 0.075)]
)
def test_the_rate_follows_the_batch_by_its_rule(rule, batch, rate):
    values, plan = found("simclr", TrainingSize(10_000, batch, 1000), name=rule, lr="auto", warmup="auto")
    assert values["optimizer.lr"] == plan.recipe.optimizer.lr == pytest.approx(rate)
    assert values["optimizer.warmup"] == pytest.approx(0.1)
    assert found("simclr", TrainingSize(10_000, batch, 1000), name=rule)[0] == {}, "a number is left alone"


@pytest.mark.parametrize(("steps", "share"), [(100, 0.3), (500, 0.2), (100_000, 0.05)])
def test_the_warm_up_is_a_hundred_steps_within_bounds(steps, share):
    assert found("simclr", TrainingSize(10_000, 256, steps), warmup="auto")[0]["optimizer.warmup"] == pytest.approx(
        share
    )


def test_a_run_prints_and_stores_them_and_trains_with_them(tmp_path, caplog):
    recipe = toys.recipe(objective={"name": "moco", "width": 16, "dim": 8}, optimizer={"lr": "auto"})
    with caplog.at_level(logging.INFO, "sensorium"):
        model = sensorium.fit(recipe, source=toys.vectors(), run_dir=tmp_path / "run", extensions=toys.extensions())
    (line,) = [r.getMessage() for r in caplog.records if r.getMessage().startswith("records")]
    assert line.endswith("; auto: objective.queue=64, objective.momentum=0.99, optimizer.lr=0.00025")
    stored = yaml.safe_load((tmp_path / "run" / "recipe.yaml").read_text())
    assert stored["objective"]["queue"] == len(model.learner.objective.queue.rows) == 64
    assert stored["optimizer"]["lr"] == 0.00025
    assert sensorium.load(tmp_path / "run", extensions=toys.extensions()).alike(model)


def test_listings_call_them_auto():
    extensions = toys.extensions()
    told = {o.name: o.public()["default"] for o in options_of(extensions.registry.find("objectives", "moco").load())}
    assert (told["queue"], told["momentum"], told["width"]) == ("auto", "auto", 2048)
