"""What is deprecated warns with what to write instead: at the line that causes it, and once in the log of a command."""

import logging
import warnings

import pytest

from sensorium.deprecation import Deprecated, deprecated, deprecations_in_log


def ask(key="wandb"):
    deprecated(f"The recipe key 'log.{key}'", f"log.loggers.{key}", since="0.2", removal="0.4")


def test_a_warning_names_the_remedy_and_the_line_that_causes_it():
    with pytest.warns(Deprecated) as caught:
        ask()
    assert str(caught[0].message) == (
        "The recipe key 'log.wandb' is deprecated since Sensorium 0.2 and ends with 0.4: use log.loggers.wandb."
    )
    assert caught[0].filename == __file__


def test_python_shows_the_warning_by_default():
    with warnings.catch_warnings(record=True) as caught:
        warnings.resetwarnings()
        ask()
    assert [w.category for w in caught] == [Deprecated]


def test_a_command_says_each_once_in_the_log_and_leaves_other_warnings_alone(caplog):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with deprecations_in_log(), caplog.at_level(logging.WARNING, "sensorium"):
            for key in ("wandb", "wandb", "tensorboard"):
                ask(key)
            warnings.warn("another", UserWarning, stacklevel=1)
    assert [record.message.split("'")[1] for record in caplog.records] == ["log.wandb", "log.tensorboard"]
    assert [str(w.message) for w in caught] == ["another"]
