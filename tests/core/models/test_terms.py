"""Several objectives of a recipe: which views of which modalities each sees, and what does not fit."""

import pytest

from sensorium import Needs, Objective, Sum, register
from sensorium.errors import RecipeError
from sensorium.models.plan import make_plan
from sensorium.recipe import read_recipe
from sensorium.registration.discovery import load_extensions
from sensorium.training.auto import resolve, training_size

EXTENSIONS = load_extensions({}, [])
VIT = {"name": "vit", "patch": 8, "width": 32, "depth": 1, "heads": 2}
CROPS = "{name: multicrop, local_views: 2}"


def plan_of(objective, *overrides, views=("random-resized-crop", "simclr"), name="image-text"):
    recipe = {
        "base": name,
        "modalities": {
            "image": {"modality": {"size": 32}, "views": list(views), "encoder": VIT},
            "text": {"encoder": {"width": 32, "depth": 1, "heads": 2}},
        },
        "objective": objective,
    }
    return make_plan(read_recipe(recipe, EXTENSIONS.registry, overrides), EXTENSIONS)


def seen(plan, term):
    (found,) = (one for one in plan.terms if one.name == term)
    return {name: list(numbers) for name, numbers in found.views.items()}


def test_a_term_sees_the_first_views_that_fit_it():
    plan = plan_of(["clip", {"name": "mae", "on": "image"}, {"name": "simclr", "on": "image"}])
    assert seen(plan, "clip") == {"image": [0], "text": [0]}
    assert seen(plan, "mae") == {"image": [0]}
    assert seen(plan, "simclr") == {"image": [1, 2]}
    assert plan.generators["image"].views == 3


def test_or_those_that_it_names():
    terms = [
        "clip",
        {"name": "mae", "on": "image", "views": "simclr"},
        {"name": "lejepa", "on": "image", "views": [1, 0]},
    ]
    plan = plan_of(terms)
    assert seen(plan, "mae") == {"image": [1]}
    assert seen(plan, "lejepa") == {"image": [1, 2, 0]}


def test_crops_of_any_number_are_all_seen_and_the_first_by_those_that_take_fewer():
    terms = ["clip", {"name": "dino", "on": "image"}, {"name": "mae", "on": "image", "views": "multicrop"}]
    plan = plan_of(terms, f"modalities.image.views.1={CROPS}")
    assert seen(plan, "dino") == {"image": [1, 2, 3, 4]}
    assert seen(plan, "mae") == {"image": [1]}


def test_views_with_what_a_term_makes_use_of_come_first():
    masks = {"name": "block-patch-mask"}
    plan = plan_of(["clip", {"name": "mae", "on": "image"}], views=["random-resized-crop", masks])
    assert seen(plan, "mae") == {"image": [1]}


def test_mined_negatives_are_seen_by_those_that_use_them_alone():
    terms = ["clip", {"name": "mae", "on": "image"}, {"name": "simclr", "on": "image", "views": "simclr"}]
    plan = plan_of(terms, "data.negatives={path: x.parquet, count: 2}")
    assert seen(plan, "clip") == {"image": [0, 3, 4], "text": [0, 1, 2]}
    assert seen(plan, "mae") == {"image": [0]}
    assert plan.generators["image"].mined is plan.generators["image"].generators[0]


def test_one_objective_sees_the_views_of_all_generators():
    plan = plan_of("lejepa", "modalities.text=null")
    assert plan.views == 3
    assert not isinstance(plan.learner().objective, Sum)


def test_the_sum_is_built_of_the_terms():
    terms = ["clip", {"name": "mae", "on": "image", "weight": 0.5, "width": 8, "heads": 2}]
    plan = plan_of([*terms, {"name": "simclr", "on": "image", "start": 0.25}])
    plan.modalities["text"].fit(["a few words"])
    learner = plan.learner()
    assert [(t.name, t.weight, t.start) for t in learner.objective._terms] == [
        ("clip", 1.0, 0.0),
        ("mae", 0.5, 0.0),
        ("simclr", 1.0, 0.25),
    ]
    assert learner.objective.seen_by("mae") == ("image",)


def test_auto_values_are_those_of_each_term_and_the_steps_that_it_has():
    terms = ["clip", {"name": "byol", "on": "image"}, {"name": "byol", "on": "image", "start": 0.5, "width": 64}]
    plan = plan_of(terms, "train.steps=4000", "train.epochs=null")
    found = resolve(plan, training_size(plan, 10_000))
    assert found["objective.1.momentum"] == 1 - 1 / 200
    assert found["objective.2.momentum"] == 1 - 1 / 100
    assert plan.recipe.objective[1].options["momentum"] == plan.terms[1].make.options["momentum"] == 1 - 1 / 200
    assert plan.terms[2].make().momentum == 1 - 1 / 100


def test_it_is_said_as_it_is():
    recipe = plan_of(["clip", {"name": "simclr", "on": "image", "weight": 0.5, "start": 0.25}]).recipe
    assert recipe.objective_in_words == "clip + 0.5 simclr on image from 25%"
    assert recipe.modalities["image"].views_in_words == "random-resized-crop and simclr"
    assert recipe.plain()["objective"][1] == {
        "name": "simclr",
        "on": ["image"],
        "weight": 0.5,
        "start": 0.25,
    }


MAE = {"name": "mae", "on": "image"}
SIMCLR = {"name": "simclr", "on": "image"}


@pytest.mark.parametrize(
    ("objective", "sentence"),
    [
        (["clip", "mae"], "The objective 'mae' takes one modality, but objective.1 is on 2 (image, text); name one by"),
        ([{"name": "clip", "on": "image"}], "The objective 'clip' takes 2 modalities, but objective.0 is on 1 (image)"),
        (["clip", {"name": "mae", "on": "imag"}], "objective.1.on names the modality 'imag', did you mean 'image'?"),
        ([MAE, SIMCLR], "No objective is on modalities.text: name it in the `on` of one, or take it away by"),
        (["clip", MAE], "No objective sees modalities.image.views.1 'simclr': leave it out, or name it in the `views`"),
        (["clip", SIMCLR, SIMCLR], "objective.2 is the same as objective.1: leave it out and raise objective.1.weight"),
        (["clip", SIMCLR, {**SIMCLR, "weight": 3}], "objective.2 is the same as objective.1: leave it out and raise"),
        (
            ["clip", SIMCLR, {**MAE, "views": "simlcr"}],
            "objective.2.views names 'simlcr', which is none of modalities.",
        ),
        (
            ["clip", {**SIMCLR, "weigth": 2}],
            "objective.1.weigth = 2: 'simclr' has no option 'weigth', did you mean 'weight'? Its options: ",
        ),
        (["clip", SIMCLR, {**MAE, "views": 2}], "objective.2.views names 2, which is none of modalities.image.views;"),
        (
            ["clip", {**SIMCLR, "name": "lejepa", "global_views": 5}],
            "objective.1.global_views is 5, but modalities.image",
        ),
        (
            ["clip", {**SIMCLR, "views": 0}],
            "The objective 'simclr' needs 2 view(s) of each record, but modalities.image",
        ),
        (
            ["clip", SIMCLR, {"name": "predict", "on": "image"}],
            "The objective 'predict' needs the target 'class', but ",
        ),
    ],
)
def test_what_does_not_fit_is_told(objective, sentence):
    with pytest.raises(RecipeError) as caught:
        plan_of(objective)
    assert str(caught.value).startswith(sentence)


def test_a_generator_that_is_there_twice_is_named_by_its_number():
    views = ["random-resized-crop", "simclr", {"name": "simclr", "strength": 0.1}]
    terms = ["clip", {**SIMCLR, "views": "simclr"}, {"name": "byol", "on": "image", "views": 2}]
    with pytest.raises(RecipeError) as caught:
        plan_of(terms, views=views)
    assert str(caught.value) == (
        "objective.1.views names 'simclr', and modalities.image.views has it 2 times: give a number "
        "(0: random-resized-crop, 1: simclr, 2: simclr)."
    )
    plan = plan_of(terms, "objective.1.views=1", views=views)
    assert seen(plan, "byol") == {"image": [3, 4]}


def test_who_changes_examples_as_they_are_loaded_stands_alone():
    with pytest.raises(RecipeError, match=r"modalities\.image\.views\.0 changes examples as they are loaded"):
        plan_of(["clip", SIMCLR], "modalities.image.modality.canvas=64")


@pytest.mark.parametrize("override", ["data.negatives=x.parquet"])
def test_negatives_that_no_objective_uses_are_refused(override):
    with pytest.raises(RecipeError, match=r"The objectives 'simclr' and 'mae' make no use of data\.negatives"):
        plan_of([SIMCLR, {**MAE, "views": 0}], override, "modalities.text=null")


def test_gradient_caching_names_the_terms_that_need_tokens():
    cached = "train={gradient_cache: true, accumulate: 2}"
    with pytest.raises(RecipeError) as caught:
        plan_of(["clip", MAE, SIMCLR, {"name": "simmim", "on": "image"}], cached)
    assert str(caught.value) == (
        "train.gradient_cache keeps one vector of each record, but the objectives 'mae' and 'simmim' learn from "
        "tokens: leave it off."
    )
    plan_of(["clip", SIMCLR], cached)


def test_an_option_called_like_a_key_of_a_term_is_told():
    class Weighted(Objective):
        """Has an option of that name.

        Args:
            weight: of something.
        """

        needs = Needs(views=1)

        def __init__(self, weight: float = 1.0) -> None:
            super().__init__()
            self.weight = weight

        def build(self, encoders):
            pass

        def forward(self, views, encode):
            pass

    register("objective", "weighted-for-a-test", Weighted)
    extensions = load_extensions()
    alone = {"name": "weighted-for-a-test", "weight": 3.0}
    recipe = {"base": "mae", "objective": alone}
    assert make_plan(read_recipe(recipe, extensions.registry), extensions).objective().weight == 3.0
    with pytest.raises(RecipeError) as caught:
        make_plan(read_recipe({**recipe, "objective": [alone]}, extensions.registry), extensions)
    assert str(caught.value).startswith(
        "objective.0: the objective 'weighted-for-a-test' has an option 'weight', which among several objectives"
    )
