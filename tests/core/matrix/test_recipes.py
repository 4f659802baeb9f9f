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
CELLS = ("data", "modalities", "objective", "optimizer", "train")
"""The sections that metrics depend on."""


def on_images():
    """The recipes that train as the matrix does: on the source of its column, one modality, by no label."""
    recipes = [read_recipe(spec.name, EXTENSIONS.registry) for spec in EXTENSIONS.registry.specs("recipes")]
    source = COLUMNS["image"].data["source"]
    alike = [r for r in recipes if r.data.source.model_dump() == source and len(r.modalities) == 1]
    return [r for r in alike if not isinstance(r.objective, list) and "label" not in r.objective.options]


@pytest.mark.parametrize("recipe", on_images(), ids=lambda recipe: recipe.name)
def test_a_recipe_is_the_cell_of_its_objective(recipe):
    (generator,) = make_plan(recipe, EXTENSIONS).generators.values()
    name = recipe.objective.name
    row = ROWS.get(recipe.name) or ROWS[f"{name}:{generator.target}" if has_target(generator, "class") else name]
    choice = next(tower_candidates(row, COLUMNS["image"], EXTENSIONS.registry))
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
