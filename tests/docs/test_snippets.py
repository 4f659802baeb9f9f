"""Python that pages show is run as far as no data and no downloaded weights are needed."""

import torch

import sensorium
from sensorium.models.plan import make_plan
from sensorium.recipe import read_recipe
from sensorium.recipe.yaml_text import parse_yaml
from sensorium.registration.discovery import load_extensions
from sensorium.types import TrainingSize

from .pages import ROOT, blocks


def test_fine_tuning_takes_ten_lines_whose_recipe_is_valid(monkeypatch):
    block = blocks(ROOT / "docs" / "how-to" / "open-clip.md", "python")[0]
    assert len([line for line in block.splitlines() if line.strip()]) <= 10
    registry, plans = (extensions := load_extensions({}, [])).registry, []

    def fit(recipe, overrides, run_dir):
        plans.append(make_plan(read_recipe(recipe, registry, overrides), extensions))

    monkeypatch.setattr(sensorium, "fit", fit, raising=False)
    exec(block, {})
    (plan,) = plans
    towers = plan.recipe.modalities
    assert towers["image"].weights == towers["text"].weights == "vit-b-32.safetensors"
    assert plan.recipe.objective.options["dim"] == 512


def test_the_notebook_of_the_page_on_python_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for block in blocks(ROOT / "docs" / "how-to" / "from-python.md", "python"):
        exec(block, names)
    assert names["one"].shape == (1, names["model"].learner.encoders["timeseries"].dim)
    assert names["all_of_them"].shape[0] == len(names["x"])
    assert repr(names["tables"]).startswith("## knn")


def test_the_optimizer_and_the_schedule_of_their_page_make_a_plan():
    names: dict = {}
    for block in blocks(ROOT / "docs" / "how-to" / "optimizers.md", "python"):
        exec(block, names)
    extensions = load_extensions()
    plan = make_plan(read_recipe(names["recipe"] | {"base": "simclr"}, extensions.registry), extensions)
    found = plan.optimization.resolved(TrainingSize(1000, 64, 100))
    optimizer = found.optimizer(plan.learner())
    assert type(optimizer) is torch.optim.NAdam
    assert optimizer.param_groups[0]["lr"] == found.settings.lr == 1e-3
    assert found.lr_at(99, 100, 1.0) < 1e-4
    shown = parse_yaml(blocks(ROOT / "docs" / "how-to" / "optimizers.md", "yaml")[0], "the page")
    assert make_plan(read_recipe(shown | {"base": "simclr"}, extensions.registry), extensions)
