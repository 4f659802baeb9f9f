"""The matrix: what fits what, what a cell is, what is computed again, what the table says."""

import ast
import json
from pathlib import Path

import pytest

import sensorium.matrix
from sensorium.errors import PluginError, RecipeError
from sensorium.matrix import runner
from sensorium.matrix.cells import Budget, Cell, cell_recipe, cell_settings
from sensorium.matrix.compatibility import Incompatible, objective_rows, tower_candidates
from sensorium.matrix.dataset_columns import declared_columns, declared_options
from sensorium.matrix.runner import run_matrix
from sensorium.matrix.table import Matrix
from sensorium.models.plan import make_plan
from sensorium.plugins.contrastive.simcse import SimCSE
from sensorium.recipe.reading import validate
from sensorium.registration.discovery import load_extensions
from sensorium.registration.registry import missing_packages
from tests.core.matrix import toy_columns

EXTENSIONS = toy_columns.extensions()
COLUMNS = declared_columns(EXTENSIONS)
ROWS = {row.name: row for row in objective_rows(EXTENSIONS, COLUMNS)}
BUDGET = Budget(steps=12)


def test_every_objective_has_a_row_and_one_that_solves_tasks_a_row_for_each():
    objectives = {spec.name for spec in EXTENSIONS.registry.specs("objectives")}
    assert {row.objective for row in ROWS.values()} == objectives
    assert "queue" in ROWS  # the toys' own objective: a row without a change to any column
    tasks = {row.task for row in ROWS.values() if row.objective == "predict"}
    assert {"signs", "rotation", "jigsaw", "color", "order"} <= tasks
    assert "predict" not in ROWS


def test_declared_options_that_name_an_objective_are_a_row_of_their_own():
    options = declared_options(EXTENSIONS)
    row = ROWS["hn-clip"]
    assert (row.objective, row.options(options)) == ("clip", {"negatives": {"beta": 0.25}})
    assert ROWS["clip"].options(options) == {}
    assert cell_settings(row, COLUMNS["pairs"], row.options(options), BUDGET)["objective"]["name"] == "clip"
    assert list(ROWS) == sorted(ROWS, key=lambda name: name.partition(":")[0])


@pytest.mark.parametrize("name", [name for name, column in COLUMNS.items() if not missing_packages(column.requires)])
def test_every_declared_column_serves_some_objectives_and_its_parts_fit(name):
    """Every first choice makes a plan: parts exist, their options are right, and they fit; no data is read."""
    column, options = COLUMNS[name], declared_options(EXTENSIONS)
    served = []
    for row in ROWS.values():
        if not row.is_shown_for(len(column.modalities)):
            continue
        try:
            choice = next(tower_candidates(row, column, EXTENSIONS.registry))
        except Incompatible:
            continue
        recipe = cell_recipe(row, column, choice, row.options(options), BUDGET)
        plan = make_plan(validate(recipe, name), EXTENSIONS)
        assert plan.source is not None
        served.append(row.name)
    assert len(served) >= 2


def test_an_objective_of_any_number_of_modalities_is_in_both_tables():
    assert all(ROWS["multimae"].is_shown_for(count) for count in (1, 2, 3))
    assert [ROWS["mae"].is_shown_for(count) for count in (1, 2)] == [True, False]
    assert [ROWS["clip"].is_shown_for(count) for count in (1, 2)] == [False, True]


def test_a_column_has_no_frozen_teacher():
    with pytest.raises(Incompatible, match="a frozen teacher, and no column has one"):
        next(tower_candidates(ROWS["mimic"], COLUMNS["audio"], EXTENSIONS.registry))


def test_choices_follow_what_an_objective_needs():
    registry, image = EXTENSIONS.registry, COLUMNS["image"]

    def first(row):
        return next(tower_candidates(ROWS[row], image, registry))["image"]

    assert (first("simclr").views.name, first("simclr").encoder.name) == ("simclr", "cnn")
    assert first("dino").views.name == "multicrop"  # the mutant: the first that fits, without small crops
    assert (first("mae").views.name, first("mae").encoder.name) == ("plain", "vit")
    assert (first("predict:color").views.name, first("predict:color").encoder.name) == ("colorization", "vit")
    assert first("predict:rotation").encoder.name == "cnn"
    assert first("infograph").encoder.name == "cnn"  # its tokens are local, and no masks are asked of it
    (graph,) = next(tower_candidates(ROWS["context-prediction"], COLUMNS["graph"], registry)).values()
    assert graph.views.name == "context-graph"  # the mutant: the first two views that fit, without anchors
    (series,) = next(tower_candidates(ROWS["ts2vec"], COLUMNS["timeseries"], registry)).values()
    assert series.views.name == "overlapping-crops"
    with pytest.raises(Incompatible, match="No view generator of this modality has the target 'tokens'"):
        first("masked-token")
    with pytest.raises(Incompatible, match="No view generator of this modality has the target 'order'"):
        first("predict:order")
    with pytest.raises(Incompatible, match="No encoder of this modality is a token encoder"):
        next(tower_candidates(ROWS["ibot"], COLUMNS["vectors"], registry))
    with pytest.raises(Incompatible, match="No view generator of this modality returns 1 view of each record"):
        next(tower_candidates(ROWS["mae"], COLUMNS["vectors"], registry))


def test_a_cell_is_trained_measured_kept_and_not_computed_again(tmp_path, monkeypatch):
    found = run_matrix(tmp_path, ["simcse", "predict:signs", "vectors"], BUDGET, EXTENSIONS)
    cell = found.cells["simcse", "vectors"]
    assert set(cell.metrics) == {"chance", "baseline", "untrained", "trained"}
    assert cell.parts == {"vectors": {"views": "noise", "encoder": "mlp"}}
    assert cell.settings["objective"] == {"name": "simcse", "temperature": 0.1}
    assert found.cells["predict:signs", "vectors"].parts["vectors"]["views"] == "signs"
    written = json.loads((tmp_path / "matrix.json").read_text())
    assert {c["row"] for c in written["cells"]} == {"simcse", "predict:signs"}
    assert "| simcse |" in (tmp_path / "matrix.md").read_text()

    asked = []

    def counted(row, name, *rest):
        asked.append((row.name, name))
        return Cell(row.name, name, runner.cell_settings(row, *rest[:3]), reason="not computed here")

    monkeypatch.setattr(runner, "run_cell", counted)
    again = run_matrix(tmp_path, ["simcse", "predict:signs", "vectors"], BUDGET, EXTENSIONS)
    assert asked == []
    assert again.cells == found.cells
    run_matrix(tmp_path, ["simcse", "queue", "vectors"], BUDGET, EXTENSIONS)
    assert asked == [("queue", "vectors")]
    longer = run_matrix(tmp_path, ["simcse", "vectors"], Budget(13), EXTENSIONS)
    assert asked[1:] == [("simcse", "vectors")]
    assert list(longer.cells) == [("simcse", "vectors")]  # cells of another budget are not mixed in


def test_a_column_says_how_many_steps_it_is_worth():
    column = COLUMNS["vectors"]
    assert (Budget().on(column).steps, Budget(7, 2).on(column)) == (column.steps, Budget(7, 2))
    row = ROWS["simcse"]
    slow = column.model_copy(update={"steps": 1500})
    recipe = cell_recipe(row, slow, next(tower_candidates(row, slow, EXTENSIONS.registry)), {}, Budget())
    assert recipe["train"]["steps"] == 1500
    assert cell_settings(row, slow, {}, Budget())["budget"] == {"steps": 1500, "seeds": 1}


def test_seeds_are_trained_each_and_columns_of_pairs_take_objectives_of_pairs(tmp_path):
    found = run_matrix(tmp_path, ["clip", "simclr", "pairs"], Budget(12, seeds=2), EXTENSIONS)
    assert list(found.cells) == [("clip", "pairs")]
    metrics = found.cells["clip", "pairs"].metrics
    assert len(metrics["trained"]) == len(metrics["untrained"]) == 2
    assert metrics["trained"][0] != metrics["trained"][1]


def test_a_part_that_refuses_is_passed_over_and_its_sentence_kept(tmp_path):
    found = run_matrix(tmp_path, ["next-token", "ts2vec", "vectors"], BUDGET, EXTENSIONS)
    assert (
        found.cells["next-token", "vectors"].reason
        == "No view generator of this modality returns 1 view of each record."
    )
    assert "The objective 'ts2vec' compares tokens, and here are none" in found.cells["ts2vec", "vectors"].reason


def test_names_that_are_no_row_and_no_column_are_told(tmp_path):
    with pytest.raises(RecipeError, match="neither a row nor a column 'simclar', did you mean 'simclr'"):
        run_matrix(tmp_path, ["simclar"], BUDGET, EXTENSIONS)


def test_an_invalid_declaration_is_an_error(monkeypatch):
    monkeypatch.setitem(toy_columns.sensorium_matrix, "columns/vectors", {"description": "nothing else"})
    with pytest.raises(PluginError, match=r"an invalid column at 'columns/vectors\.data'"):
        declared_columns(EXTENSIONS)
    monkeypatch.setitem(toy_columns.sensorium_matrix, "rows/vectors", {})
    with pytest.raises(PluginError, match="'rows/vectors': its keys begin with 'columns/' or 'objectives/'"):
        declared_columns(EXTENSIONS)


def test_the_table_marks_what_learned_and_says_why_what_has_none():
    def cell(row, **parts):
        return Cell(row, "vectors", {}, **parts)

    cells = [
        cell("simclr", metrics={"chance": [-0.25], "untrained": [0.5], "trained": [0.75]}),
        cell("queue", metrics={"chance": [0.25], "untrained": [0.5], "trained": [0.5]}),
        cell("byol", metrics={"untrained": [0.5, 0.6], "trained": [0.7, 0.8]}),
        cell("mae", reason="no encoder shows its tokens"),
        cell("jepa", reason="no encoder shows its tokens"),
    ]
    rows = [ROWS[c.row] for c in cells] + [ROWS["vicreg"]]
    text = Matrix(rows, {"vectors": COLUMNS["vectors"]}, {(c.row, "vectors"): c for c in cells}).markdown()
    assert "| *chance* | -.250 |" in text
    assert "| simclr | **.750** (.500) |" in text
    assert "| queue | .500 (.500) |" in text  # the mutant: as good as the first weights counts as better
    assert "| byol | **.750 ± .071** (.550 ± .071) |" in text
    assert "| mae | – [1] |" in text
    assert "| jepa | – [1] |" in text
    assert "1. no encoder shows its tokens." in text
    assert "| vicreg |  |" in text
    assert "2 of 3 trained encoders are better" in text


def test_the_matrix_names_no_objective_and_no_modality():
    registry = load_extensions({}, []).registry
    names = {spec.name for kind in ("objectives", "modalities", "views", "encoders") for spec in registry.specs(kind)}
    for path in Path(sensorium.matrix.__file__).parent.glob("*.py"):
        strings = {n.value for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Constant)}
        assert not strings & names, path.name


def test_a_cell_that_fails_says_why_and_ends_nothing(tmp_path, monkeypatch):
    class Broken(SimCSE):
        def forward(self, views, encode):
            raise ZeroDivisionError("a planted fault")

    monkeypatch.setattr("sensorium.plugins.contrastive.simcse.SimCSE", Broken)
    matrix = run_matrix(tmp_path, ["simcse", "barlow-twins", "vectors"], Budget(steps=2), EXTENSIONS)
    assert "planted fault" in matrix.cells["simcse", "vectors"].reason
    assert matrix.cells["barlow-twins", "vectors"].reason == ""
    assert "a planted fault" in (tmp_path / "matrix.md").read_text()


def test_a_column_whose_data_cannot_be_read_fails_as_a_column(tmp_path, monkeypatch):
    def fail(column, ext):
        raise OSError("no such disk")

    monkeypatch.setattr(runner, "_source", fail)
    matrix = run_matrix(tmp_path, ["simcse", "barlow-twins", "vectors"], Budget(steps=2), EXTENSIONS)
    reason = "The data of the column 'vectors' cannot be read: OSError: no such disk."
    assert [cell.reason for cell in matrix.cells.values()] == [reason, reason]
