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
