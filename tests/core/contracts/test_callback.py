import pytest
import torch
from torch import nn

from sensorium import Callback, Training
from sensorium.contracts.callback import EVENTS
from sensorium.errors import PluginError


def training(**given):
    learner = nn.Linear(2, 1)
    return Training(learner, torch.optim.SGD(learner.parameters(), lr=0.1), steps=10, **given)


def test_events_are_before_and_after_of_each_thing():
    things = ("training", "epoch", "step", "evaluation", "checkpoint")
    assert set(EVENTS) == {f"{when}_{thing}" for when in ("before", "after") for thing in things}


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("after_stp", r"has a method 'after_stp', which no training calls, did you mean 'after_step'\?"),
        ("before_epochs", r"did you mean 'before_epoch'\?"),
        ("on_train_batch_end", r"has a method 'on_train_batch_end', which no training calls.*before_training"),
    ],
)
def test_a_misspelt_method_is_an_error_where_the_class_is_defined(name, sentence):
    with pytest.raises(PluginError, match=sentence):
        type("Mine", (Callback,), {name: lambda self, training: None})


def test_a_misspelt_method_of_a_base_is_one_too():
    class Helper:
        def after_stepp(self, training):
            """Not called by anybody."""

    with pytest.raises(PluginError, match="after_stepp"):
        type("Mine", (Callback, Helper), {})


def test_a_method_with_other_arguments_is_an_error():
    with pytest.raises(PluginError, match=r"after_step\(self, training\) must take \(self, training, outcome, loss\)"):
        type("Mine", (Callback,), {"after_step": lambda self, training: None})


def test_methods_of_its_own_and_more_arguments_with_defaults_are_fine():
    class Mine(Callback):
        on = True

        def helps(self):
            """Of its own."""

        def after_step(self, training, outcome, loss, scale=1.0):
            """Take one argument more."""

        def after_evaluation(self, *given):
            """Take whatever there is."""

        def _before_all(self):
            """Private."""

    assert Mine().state_dict() == {}


def test_the_first_reason_to_finish_counts():
    seen = training(step=5, steps_per_epoch=4)
    assert seen.epoch == 1.25
    seen.finish("first")
    seen.finish("second")
    assert seen.finish_reason == "first"
