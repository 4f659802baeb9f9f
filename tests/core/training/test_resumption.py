"""The recipe that a run goes on with, when its caller names the one that it was begun with again."""

import pytest

from sensorium.errors import SensoriumError
from sensorium.models.plan import make_plan
from sensorium.recipe import read_recipe
from sensorium.registration.discovery import load_extensions
from sensorium.runs.run import Run
from sensorium.training.auto import resolve
from sensorium.training.resumption import recipe_now
from sensorium.types import TrainingSize

EXTENSIONS = load_extensions()
NAMES = [spec.name for spec in EXTENSIONS.registry.specs("recipes")]


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_recipe_named_again_changes_nothing(name, tmp_path):
    """What a training fills in (values for `auto`, defaults of parts) is no change of the caller's."""
    try:
        plan = make_plan(read_recipe(name, EXTENSIONS.registry), EXTENSIONS, for_training=True)
    except SensoriumError as error:
        pytest.skip(f"it cannot be planned here: {error}")
    resolve(plan, TrainingSize(50_000, plan.recipe.data.batch, 1_000))
    run = Run(tmp_path)
    run.keep_recipe(plan.recipe)
    resolved, changed = recipe_now(run, name, [], EXTENSIONS.registry)
    assert changed == {}
    assert resolved == plan.recipe
