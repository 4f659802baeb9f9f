"""Targets of classes: what they ask of encoders, and how their number reaches an objective."""

from dataclasses import replace

import pytest

from sensorium import Needs
from sensorium.errors import RecipeError
from sensorium.modalities.image.encoders.timm import Timm
from sensorium.models.plan import make_plan
from sensorium.plugins.crossmodal.clip import CLIP
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


def test_models_of_a_library_without_tokens_are_refused_and_those_with_them_named():
    swin = "modalities.image.encoder={name: timm, model: swin_tiny_patch4_window7_224}"
    with pytest.raises(
        RecipeError, match=r"needs tokens, but modalities\.image\.encoder 'timm' .*: vit; .*: .*timm"
    ) as e:
        plan_of("mae", swin)
    assert "cnn" not in str(e.value)
    assert issubclass(
        plan_of("mae", "modalities.image.encoder={name: timm, model: test_vit}").encoders["image"].cls, Timm
    )


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


@pytest.mark.parametrize(
    ("objective", "counts"),
    [(Needs(), {1}), (Needs(modalities="many"), {2, 3, 4}), (Needs(modalities=3), {3})],
)
def test_needs_say_how_many_modalities_an_objective_takes(objective, counts):
    assert {count for count in (1, 2, 3, 4) if objective.takes(count)} == counts


def test_an_objective_of_exactly_two_modalities_names_those_that_take_three(monkeypatch):
    monkeypatch.setattr(CLIP, "needs", replace(CLIP.needs, modalities=3))
    with pytest.raises(
        RecipeError, match=r"'clip' takes 3 modalities, but the recipe has 2 \(image, text\); for 2, .*align"
    ):
        plan_of("image-text", "objective=clip")
