"""Sentences for users."""

import math

import pytest

from sensorium import check_range
from sensorium.errors import RecipeError, not_found


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
