"""Targets of classes: what they ask of encoders, and how their number reaches an objective."""

import pytest

from sensorium.errors import RecipeError
from sensorium.models.plan import make_plan
from sensorium.recipe import read_recipe
from sensorium.registration.discovery import load_extensions

EXTENSIONS = load_extensions({}, [])


def plan_of(name, *overrides):
    return make_plan(read_recipe(name, EXTENSIONS.registry, overrides), EXTENSIONS)


def test_a_class_for_each_token_needs_a_token_encoder():
    with pytest.raises(RecipeError, match=r"The target 'color' needs tokens, but modalities\.image\.encoder 'cnn'"):
        plan_of("colorization", "modalities.image.encoder=cnn")
    with pytest.raises(RecipeError, match=r"The objective 'mae' needs tokens, but modalities\.image\.encoder 'cnn'"):
        plan_of("mae", "modalities.image.encoder=cnn")


@pytest.mark.parametrize(
    ("name", "override", "classes"),
    [
        ("rotation", "seed=0", 4),
        ("jigsaw", "seed=0", 24),
        ("jigsaw", "modalities.image.views.permutations=12", 12),
        ("jigsaw", "objective.classes=200", 200),
        ("colorization", "seed=0", 261),
    ],
)
def test_an_objective_learns_from_the_views_how_many_classes_there_are(name, override, classes):
    assert plan_of(name, override).learner().objective.head[-1].out_features == classes


def test_an_objective_learns_from_the_views_how_many_there_are():
    for views, wide in (("{name: jigsaw, grid: 3}", 9), ("rotation", 1)):
        learner = plan_of("jigsaw", f"modalities.image.views={views}").learner()
        assert learner.objective.head[0].in_features == wide * learner.encoders["image"].dim
