"""Sentences for users."""

import math
import pickle

import pytest

from sensorium import check_range
from sensorium.errors import EvaluationError, RecipeError, as_clause, not_found


@pytest.mark.parametrize(
    ("interval", "value", "phrase"),
    [
        ("[0, 1]", 1.5, "between 0 and 1, not 1.5"),
        ("[0, 1)", 1, "at least 0 and below 1, not 1"),
        ("(0, 1)", 0, "above 0 and below 1, not 0"),
        ("(0, 1]", 0.0, "above 0 and at most 1, not 0.0"),
        ("[1, inf)", 0, "at least 1, not 0"),
        ("(0, inf)", -2.5, "above 0, not -2.5"),
        ("(-inf, 0]", 3, "at most 0, not 3"),
        ("[0, 1]", math.nan, "between 0 and 1, not nan"),
        ("[0, 1]", [0.2, 1.2], r"between 0 and 1, not \[0.2, 1.2\]"),
    ],
)
def test_an_option_outside_its_interval_is_named(interval, value, phrase):
    with pytest.raises(RecipeError, match=f"The option 'ratio' of the views 'mask' must be {phrase}"):
        check_range("views 'mask'", interval, ratio=value)


def test_options_inside_their_interval_pass():
    check_range("views 'mask'", "[0, 1]", ratio=0, p=1.0, span=(0.0, 0.5), rest=None)
    check_range("views 'mask'", "[1, inf)", steps=10**9)


def test_what_is_not_found_is_told_in_whole_sentences():
    assert not_found("There is no 'x1'", "x1", ["x2"], "known: x2") == "There is no 'x1', did you mean 'x2'? Known: x2."
    assert not_found("There is no 'x1'", "x1", ["zzz"], "known: zzz") == "There is no 'x1'; known: zzz."


def test_evaluators_that_failed_for_one_reason_share_a_sentence_and_other_ranks_are_told():
    failures = {"knn": "No value.", "linear": "No value.", "svm": "ValueError: too few"}
    error = EvaluationError(failures, {"health": 1}).with_advice("Try again.")
    assert str(error) == (
        "The evaluators 'knn', 'linear' failed: no value. The evaluator 'svm' failed: ValueError: too few. Try again."
    )
    told = pickle.loads(pickle.dumps(error))
    assert (str(told), told.failures, told.tables, told.code) == (str(error), failures, {"health": 1}, 7)


@pytest.mark.parametrize(
    ("sentence", "clause"),
    [
        ("The end.", "the end"),
        ("MAP is low.", "MAP is low"),
        ("ValueError: x", "ValueError: x"),
        ("'a' is b.", "'a' is b"),
    ],
)
def test_a_sentence_stands_behind_a_colon(sentence, clause):
    assert as_clause(sentence) == clause
