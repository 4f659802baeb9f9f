"""The recipes on bundled images are cells of the matrix, each with its own number of steps."""

import pytest

from sensorium.contracts import has_target
from sensorium.matrix.cells import Budget, cell_recipe
from sensorium.matrix.compatibility import objective_rows, tower_candidates
from sensorium.matrix.dataset_columns import declared_columns, declared_options
from sensorium.models.plan import make_plan
from sensorium.recipe import read_recipe
from sensorium.recipe.reading import validate
from sensorium.registration.discovery import load_extensions

EXTENSIONS = load_extensions({}, [])
COLUMNS = declared_columns(EXTENSIONS)
ROWS = {row.name: row for row in objective_rows(EXTENSIONS, COLUMNS)}
CAUSAL = ("next-embedding",)
"""Objectives that take causal encoders alone, not the first of a column."""
CELLS = ("data", "modalities", "objective", "optimizer", "train")
"""The sections that metrics depend on."""


def on_images():
    """The recipes that train as the matrix does: on the source of its column, one modality, by no label.

    Those of another name than a row of the matrix have settings of their own, which their headers tell.
    """
    recipes = [read_recipe(spec.name, EXTENSIONS.registry) for spec in EXTENSIONS.registry.specs("recipes")]
    source = COLUMNS["image"].data["source"]
    alike = [r for r in recipes if r.data.source.model_dump() == source and len(r.modalities) == 1]
    alone = [r for r in alike if not isinstance(r.objective, list) and "label" not in r.objective.options]
    return [r for r in alone if row_of(r) is not None]


def row_of(recipe):
    """The row of the matrix that a recipe is a cell of: that of its name, or of the task that it solves."""
    (generator,) = make_plan(recipe, EXTENSIONS).generators.values()
    is_task = has_target(generator, "class")
    return ROWS.get(f"{recipe.objective.name}:{generator.target}" if is_task else recipe.name)


@pytest.mark.parametrize("recipe", on_images(), ids=lambda recipe: recipe.name)
def test_a_recipe_is_the_cell_of_its_objective(recipe):
    row, name = row_of(recipe), recipe.objective.name
    encoder = recipe.modalities["image"].encoder.model_dump()
    choices = list(tower_candidates(row, COLUMNS["image"], EXTENSIONS.registry))
    if name in CAUSAL:  # which refuse the encoders before
        choices = [choice for choice in choices if choice["image"].encoder.model_dump() == encoder]
    choice = choices[0]
    options = row.options(declared_options(EXTENSIONS))
    cell = validate(cell_recipe(row, COLUMNS["image"], choice, options, Budget(recipe.train.steps)), name)

    def facts(one):
        plain = one.plain()
        plain["train"].pop("accelerator")
        for tower in plain["modalities"].values():
            tower["field"] = None
        return {section: plain[section] for section in CELLS}

    assert facts(recipe) == facts(cell)


def test_there_is_one_for_each_method_on_images():
    assert len(on_images()) >= 20
