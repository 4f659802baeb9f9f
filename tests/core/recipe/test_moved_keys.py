import warnings

import pytest

from sensorium.recipe import read_recipe
from sensorium.recipe.reading import to_yaml
from sensorium.registration.discovery import load_extensions

REGISTRY = load_extensions({}, []).registry


def test_a_held_out_group_is_a_split_now():
    held = "data.hold_out={by: speaker, value: theo}"
    with pytest.warns(FutureWarning, match=r"'data.hold_out' is deprecated .* use data.split="):
        recipe = read_recipe("spoken-digits", REGISTRY, [held])
    assert recipe.data.split.name == "hold-out"
    assert recipe.data.split.options == {"by": "speaker", "value": "theo"}
    assert "hold_out" not in to_yaml(recipe)


def test_a_null_of_an_older_run_says_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        recipe = read_recipe("spoken-digits", REGISTRY, ["data.hold_out=null"])
    assert recipe.data.split.name == "random"


OF_OLDER_RUN = {
    **{"name": "adamw", "lr": 1e-3, "weight_decay": 0.05, "momentum": 0.9, "betas": [0.9, 0.98], "eps": 1e-6},
    **{"schedule": "cosine", "warmup": 0.05, "min_lr_ratio": 0.0},
}


@pytest.mark.parametrize(
    ("changed", "options", "schedule"),
    [
        ({}, {}, {}),
        ({"betas": [0.9, 0.99], "min_lr_ratio": 0.1}, {"betas": [0.9, 0.99]}, {"min_lr_ratio": 0.1}),
        ({"name": "sgd", "momentum": 0.8, "betas": [0.9, 0.99]}, {"momentum": 0.8}, {}),
        ({"schedule": "constant", "min_lr_ratio": 0.1}, {}, {}),
    ],
)
def test_the_optimizer_of_an_older_run_keeps_what_had_an_effect(changed, options, schedule):
    older = read_recipe("simclr", REGISTRY).plain() | {"optimizer": OF_OLDER_RUN | changed}
    older["finetune"]["optimizer"] = OF_OLDER_RUN | changed
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        recipe = read_recipe(older, REGISTRY)
    for optimizer in (recipe.optimizer, recipe.finetune.optimizer):
        assert (optimizer.options, optimizer.schedule.options) == (options, schedule)
    assert read_recipe(recipe, REGISTRY) == recipe


def test_an_older_run_names_no_order_and_has_that_of_its_time():
    older = read_recipe("simclr", REGISTRY).plain()
    assert older["data"].pop("order")["name"] == "shuffled"
    recipe = read_recipe(older, REGISTRY)
    assert recipe.data.order.name == "randperm"
    assert read_recipe(recipe, REGISTRY) == recipe
    assert read_recipe("simclr", REGISTRY, ["data.batch=8"]).data.order.name == "shuffled"


def test_min_lr_ratio_is_of_the_schedule_now():
    with pytest.warns(FutureWarning, match=r"use optimizer.schedule=\{name: cosine, min_lr_ratio: 0.1\}"):
        recipe = read_recipe("simclr", REGISTRY, ["optimizer.min_lr_ratio=0.1"])
    assert recipe.optimizer.schedule.options == {"min_lr_ratio": 0.1}


@pytest.mark.parametrize(
    ("given", "loggers"),
    [
        (["log.tensorboard=false"], {}),
        (["log.wandb=birds"], {"tensorboard": {}, "wandb": {"project": "birds"}}),
        (["log.tensorboard=false", "log.wandb=birds"], {"wandb": {"project": "birds"}}),
        (["log.loggers={csv: {}}", "log.wandb=birds"], {"csv": {}, "wandb": {"project": "birds"}}),
        (["log.tensorboard=true", "log.wandb=null"], {"tensorboard": {}}),
    ],
)
def test_tensorboard_and_wandb_are_loggers_now(given, loggers):
    is_default = "log.wandb=null" in given
    with warnings.catch_warnings() if is_default else pytest.warns(FutureWarning, match="use log.loggers"):
        warnings.simplefilter("error" if is_default else "always")
        recipe = read_recipe("spoken-digits", REGISTRY, given)
    assert {name: part.options for name, part in recipe.log.loggers.items()} == loggers
    assert read_recipe(recipe.plain(), REGISTRY) == recipe
