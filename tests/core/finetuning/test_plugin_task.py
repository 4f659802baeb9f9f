"""A plugin's task is fine-tuned, measured, stored and restored as the built-in ones are."""

from importlib.metadata import EntryPoint

import pytest

import sensorium
from sensorium.errors import PluginError, RecipeError
from sensorium.models.plan import make_plan
from sensorium.recipe import read_recipe
from sensorium.registration.discovery import load_extensions
from tests import toys

PLUGINS = {"toys": "tests.toys", "ordinal": "tests.core.finetuning.ordinal"}
EXTENSIONS = load_extensions({}, [EntryPoint(name, module, "sensorium") for name, module in PLUGINS.items()])


def recipe(**finetune):
    return read_recipe(toys.recipe(finetune=finetune), EXTENSIONS.registry)


def test_a_plugins_task_goes_all_the_way(tmp_path):
    source = toys.vectors(count=160)
    sensorium.fit(toys.recipe(), source=source, run_dir=tmp_path / "run", extensions=EXTENSIONS)
    changes = ["finetune.task={name: ordinal, smoothing: 0.01}", "finetune.labels=[class]", "finetune.epochs=2"]
    done = sensorium.finetune(
        tmp_path / "run",
        [*changes, "finetune.seeds=1"],
        source=source,
        start="trained",
        run_dir=tmp_path / "tuned",
        extensions=EXTENSIONS,
    )
    probe, chance = (done.table.row(name).metrics["MAE ↓"].mean for name in ("linear probe", "chance"))
    assert probe < chance
    assert [row.name for row in done.table.rows] == ["chance", "baseline", "linear probe", "fine-tuned"]
    assert any(note.startswith("linear layer") for note in done.table.row("baseline").notes)
    values = [source[i].values["a"] for i in range(6)]
    predictor = sensorium.load_predictor(tmp_path / "tuned", EXTENSIONS)
    assert predictor.predict(values) == done.predictor.predict(values)
    assert set(predictor.predict(values)) <= set(predictor.task.ranks)
    assert predictor.task.smoothing == 0.01


def test_what_does_not_fit_is_told_before_anything_is_read():
    with pytest.raises(RecipeError, match=r"'ordinal' has no option 'smooting', did you mean 'smoothing'"):
        make_plan(recipe(task={"name": "ordinal", "smooting": 1}), EXTENSIONS)
    with pytest.raises(PluginError, match=r"no fine-tuning task named 'ordinary', did you mean 'ordinal'"):
        make_plan(recipe(task="ordinary"), EXTENSIONS)
    with pytest.raises(RecipeError, match=r"labels_per_class counts records of a class, and a regression has none"):
        make_plan(recipe(task="regression", labels_per_class=3), EXTENSIONS)
