"""Trainings of several objectives: resumed across the start of one, from weights, with caching, from objects."""

import json
import shutil

import pytest
import torch

import sensorium
from sensorium import GradientCache, Needs, Objective, Outcome
from sensorium.errors import RecipeError
from sensorium.recipe.schema import Monitor
from sensorium.seeding import seed_globals
from sensorium.testing.objective_case import rows_of
from sensorium.training.collapse_alarm import CollapseAlarm
from tests import toys
from tests.core.blocks.sums import ROWS, Term, gradients, learner_of, part, views_of

EXTENSIONS = toys.extensions()
SIMCLR = {"name": "simclr", "width": 32, "dim": 8}
BYOL = {"name": "byol", "width": 32, "dim": 8, "weight": 0.5, "start": 0.5}
STEPS = 8


def recipe(**changes):
    return toys.recipe(
        objective=[SIMCLR, BYOL],
        train={"steps": STEPS, "accelerator": "cpu"},
        checkpoint={"every": 0.1, "keep": 20},
        monitor={"every": 1},
        **changes,
    )


def trained(folder, recipe, **given):
    return sensorium.fit(recipe, source=toys.vectors(), run_dir=folder, extensions=EXTENSIONS, evaluate=False, **given)


def equal(one, other):
    one, other = one.learner.state_dict(), other.learner.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("sums") / "whole", recipe())


def test_each_term_is_logged_and_watched_from_its_start_on(whole):
    lines = [json.loads(line) for line in (whole.run.folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "byol/loss" in line] == list(range(STEPS // 2 + 1, STEPS + 1))
    assert all(line["simclr/gradient"] > 0 for line in lines)
    last = lines[-1]
    assert last["loss"] == pytest.approx(last["simclr/loss"] + 0.5 * last["byol/loss"], rel=1e-5)
    assert {"health/simclr/features/std", "health/byol/projection/rank"} <= last.keys()
    assert "simclr + 0.5 byol from 50%" in repr(whole)


@pytest.mark.parametrize("step", [STEPS // 2 - 1, STEPS // 2, STEPS // 2 + 1])
def test_a_resume_is_bit_equal_across_the_start_of_a_term(whole, step, tmp_path):
    shutil.copytree(whole.run.folder, tmp_path / "run")
    for file in (tmp_path / "run" / "checkpoints").glob("*.ckpt"):
        if int(file.stem.removeprefix("step-")) > step:
            file.unlink()
    resumed = sensorium.fit(None, source=toys.vectors(), resume=tmp_path / "run", extensions=EXTENSIONS, evaluate=False)
    assert equal(resumed, whole)


def test_heads_go_on_by_the_names_of_their_terms(whole, tmp_path):
    still = {"optimizer": {"lr": 1e-12, "weight_decay": 0.0}, "seed": 7}
    onward = {"train": {"steps": 1, "accelerator": "cpu", "warm_start": str(whole.run.folder)}}
    alone = trained(tmp_path / "alone", recipe(**still) | {"objective": SIMCLR} | onward)
    among = trained(tmp_path / "among", recipe(**still) | {"objective": [{**BYOL, "start": 0.0}, SIMCLR]} | onward)
    theirs = dict(whole.learner.objective.parts["simclr"].named_parameters())
    for objective in (alone.learner.objective, among.learner.objective.parts["simclr"]):
        for name, weight in objective.named_parameters():
            torch.testing.assert_close(weight, theirs[name], atol=1e-6, rtol=0)
    back = {"objective": [SIMCLR], "train": {"steps": 1, "accelerator": "cpu", "warm_start": str(alone.run.folder)}}
    again = trained(tmp_path / "again", recipe(**still) | back)
    for name, weight in again.learner.objective.parts["simclr"].named_parameters():
        torch.testing.assert_close(weight, theirs[name], atol=1e-6, rtol=0)


def test_gradient_caching_is_exact():
    def learner():
        return learner_of(
            [
                Term(part("clip"), views={"a": [0]}),
                Term(part("simclr"), on="a", weight=0.5, views=[0, 1]),
                Term(part("clip", dim=4), weight=2.0, start=0.5, views={"a": [0]}),
            ]
        )

    views = views_of(a=2)
    one = learner()
    outcome = one(views)
    outcome.loss.backward()
    other = learner()
    parts = [
        {name: [rows_of(view, rows) for view in made] for name, made in views.items()}
        for rows in torch.arange(ROWS).split([3, 5])
    ]
    cached = GradientCache(parts, other).backward()
    torch.testing.assert_close(cached.loss, outcome.loss)
    expected, found = gradients(one), gradients(other)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-8, atol=1e-10)
    for name in ("clip/gradient", "simclr/gradient"):
        torch.testing.assert_close(cached.logs[name], outcome.logs[name])


class Spread(Objective):
    """Pushes features apart."""

    needs = Needs(views=1)

    def build(self, encoders):
        self.head = torch.nn.Linear(encoders.single.dim, 4)

    def forward(self, views, encode):
        z = self.head(encode(views)[0].pooled)
        return Outcome(-z.std(0).clamp(max=1).mean(), features={"features": z.detach()})


def test_a_list_may_hold_objects_names_and_mappings_of_both(tmp_path):
    given = [SIMCLR, {"name": Spread(), "weight": 0.25}, Spread]
    folder = tmp_path / "given"
    model = trained(folder, recipe(), objective=given)
    assert list(model.learner.objective.parts) == ["simclr", "spread", "spread-2"]
    objectives = model.plan.recipe.plain()["objective"]
    assert objectives[1] == {"name": "given", "class": f"{Spread.__module__}.Spread", "weight": 0.25}
    opened = sensorium.load(folder, objective=given, extensions=EXTENSIONS)
    assert equal(opened, model)
    with pytest.raises(RecipeError) as caught:
        sensorium.load(folder, extensions=EXTENSIONS)
    assert str(caught.value).startswith("This recipe needs objects that are handed in, for the objective 1")
    assert "as objective=[...], objective=[...]" in str(caught.value)


def test_the_alarm_names_the_term_and_its_remedy(caplog):
    seed_globals("alarm")
    alarm = CollapseAlarm(Monitor(patience=1), terms={"clip": "raise objective.0.temperature", "mae": None})
    flat, wide = torch.ones(16, 4), torch.randn(16, 4)
    with caplog.at_level("WARNING", "sensorium"):
        alarm.check(5, Outcome(torch.zeros(()), features={"clip/image": wide, "mae/features": flat}))
    assert "mae: complete collapse of features by step 5: all records have the same features" in caplog.text
    assert "to do: lower optimizer.lr" in caplog.text
    assert "clip" not in caplog.text
    caplog.clear()
    with caplog.at_level("WARNING", "sensorium"):
        alarm.check(6, Outcome(torch.zeros(()), features={"clip/image": flat, "mae/features": wide}))
    assert "clip: complete collapse of image by step 6" in caplog.text
    assert "to do: raise objective.0.temperature, or lower optimizer.lr" in caplog.text
