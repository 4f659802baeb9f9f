"""What is said over what is inherited: files over their base, and the command line over a recipe, by one rule."""

import json

import pytest

from sensorium.errors import RecipeError
from sensorium.models.plan import make_plan
from sensorium.recipe import read_recipe
from sensorium.recipe.merging import merged
from sensorium.recipe.reading import changes
from sensorium.recipe.yaml_text import one_line, parse_yaml
from sensorium.registration.discovery import load_extensions

BASE = """
data: {source: {name: table, path: all.csv, columns: {image: file, text: words}}, batch: 64}
modalities:
  image: {modality: {name: image, size: 48}, views: random-resized-crop, encoder: {name: cnn, width: 16}}
  text: {views: plain, encoder: {name: transformer, width: 64, depth: 2}}
objective: {name: clip, dim: 32}
optimizer: {lr: 0.1}
train: {epochs: 3, grad_clip: 0.5}
evaluate: {evaluators: {retrieval: {positives: record}, knn: {modality: image, k: 20}, health: }}
"""


@pytest.fixture(scope="module")
def extensions():
    return load_extensions(environ={}, found=[])


@pytest.fixture
def said(extensions, tmp_path):
    """Return the recipe that a saying makes of the base, once said in a file and once on the command line."""
    (tmp_path / "base.yaml").write_text(BASE)

    def paths(values, above=""):
        for key, value in values.items():
            if above.count(".") < 1 and isinstance(value, dict) and value:
                yield from paths(value, f"{above}{key}.")
            else:
                yield f"{above}{key}={one_line(value)}"

    def read(text):
        (tmp_path / "own.yaml").write_text(f"base: base.yaml\n{text}")
        in_file = read_recipe(tmp_path / "own.yaml", extensions.registry)
        words = paths(json.loads(json.dumps(parse_yaml(text, "said"), default=lambda _: {})))
        on_line = read_recipe(tmp_path / "base.yaml", extensions.registry, list(words))
        assert in_file == on_line
        return in_file

    return read


def test_null_takes_an_evaluator_away(said):
    assert list(said("evaluate: {evaluators: {knn: null}}").evaluate.evaluators) == ["retrieval", "health"]
    assert said("evaluate: {evaluators: {}}").evaluate.evaluators == {}
    assert said("evaluate: {evaluators: null}").evaluate.evaluators == {}


def test_null_takes_a_tower_away(said):
    assert list(said("modalities: {text: null}\nobjective: simclr").modalities) == ["image"]


def test_a_mapping_is_merged_and_a_part_of_another_name_replaces(said):
    recipe = said("evaluate: {evaluators: {knn: {k: 5}, linear: {label: x}}}\nobjective: {name: siglip}")
    assert recipe.evaluate.evaluators["knn"].options == {"modality": "image", "k": 5}
    assert list(recipe.evaluate.evaluators) == ["retrieval", "knn", "health", "linear"]
    assert recipe.objective.options == {}
    assert said("evaluate: {evaluators: {knn: {name: knn, k: 5}}}").evaluate.evaluators["knn"].options["modality"]
    assert said("data: {source: {name: table, path: mine.csv}}").data.source.options["columns"]


def test_null_is_a_value_where_there_can_be_none_and_the_default_elsewhere(said, extensions):
    recipe = said("train: {grad_clip: null}\ndata: {batch: null}\noptimizer: null")
    assert (recipe.train.grad_clip, recipe.data.batch, recipe.optimizer.lr) == (None, 256, 1e-3)
    encoder = said("modalities: {image: {encoder: {width: null}}}")
    assert make_plan(encoder, extensions).encoders["image"].options == {}


def test_null_takes_an_entry_of_an_option_away(extensions):
    raw = {**parse_yaml(BASE, "base"), "data": {"source": {"name": "table", "path": "a", "columns": {"image": "x"}}}}
    recipe = read_recipe({**raw, "evaluate": {}}, extensions.registry, ["data.source.columns={text: t, image: null}"])
    assert make_plan(recipe, extensions).source.options["columns"] == {"text": "t"}


def test_a_key_with_nothing_behind_it_leaves_what_is_inherited(extensions, tmp_path):
    (tmp_path / "base.yaml").write_text(BASE)
    (tmp_path / "own.yaml").write_text("base: base.yaml\nevaluate: {evaluators: {knn: , linear: }}\ntrain:\n")
    recipe = read_recipe(tmp_path / "own.yaml", extensions.registry)
    assert recipe.evaluate.evaluators["knn"].options == {"modality": "image", "k": 20}
    assert recipe.evaluate.evaluators["linear"].options == {}
    assert recipe.train.epochs == 3


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("evaluate.evaluators.knnn=null", ["knnn", "none of that name is inherited", "did you mean 'knn'?"]),
        ("modalities.audio=null", ["modalities.audio", "image, text"]),
        ("data.source.path=", ["has no value: write null for none"]),
        ("objective=null", ["'objective' is missing"]),
    ],
)
def test_what_cannot_be_taken_away_is_told(extensions, override, words):
    with pytest.raises(RecipeError) as error:
        read_recipe(parse_yaml(BASE, "base"), extensions.registry, [override])
    assert all(word in str(error.value) for word in words)


def test_a_part_can_be_named_before_or_behind_its_options(extensions):
    for words in (["optimizer.name=sgd", "optimizer.lr=0.3"], ["optimizer.lr=0.3", "optimizer.name=sgd"]):
        optimizer = read_recipe(parse_yaml(BASE, "base"), extensions.registry, words).optimizer
        assert (optimizer.name, optimizer.lr) == ("sgd", 0.3)


def test_what_was_taken_away_is_listed_among_the_changes(extensions):
    overrides = ["evaluate.evaluators.knn=null"]
    recipe = read_recipe("simclr", extensions.registry, overrides)
    assert changes(recipe, "simclr", extensions.registry, overrides) == ("simclr", overrides)


def test_a_list_of_names_stands_for_a_mapping_and_replaces_what_is_inherited(said):
    recipe = said("evaluate: {evaluators: [knn, linear]}")
    assert recipe.plain()["evaluate"]["evaluators"] == {"knn": {"name": "knn"}, "linear": {"name": "linear"}}


def test_options_are_said_over_a_list_of_names(extensions):
    raw = {**parse_yaml(BASE, "base"), "callbacks": ["early-stopping"], "log": {"loggers": ["csv"]}}
    recipe = read_recipe(
        raw, extensions.registry, ["callbacks.early-stopping.patience=3", "log.loggers.tensorboard={}"]
    )
    assert recipe.callbacks["early-stopping"].options == {"patience": 3}
    assert list(recipe.log.loggers) == ["csv", "tensorboard"]
    assert list(read_recipe(raw, extensions.registry, ["callbacks=[time-limit]"]).callbacks) == ["time-limit"]


@pytest.mark.parametrize("given", ["csv", 5, [{"name": "csv"}]])
def test_entries_of_another_form_are_refused_with_the_right_one(given, extensions):
    raw = {**parse_yaml(BASE, "base"), "log": {"loggers": given}}
    with pytest.raises(
        RecipeError, match=r"'log.loggers': .* is neither a list of names, \[NAME\], nor a mapping, {NAME"
    ):
        read_recipe(raw, extensions.registry)


@pytest.mark.parametrize(
    ("overrides", "left"),
    [
        (["objective.0=null", "objective.1.weight=3"], [("mae", 3.0), ("simclr", 1.0)]),
        (["objective.1.weight=3", "objective.0=null"], [("mae", 3.0), ("simclr", 1.0)]),
        (["objective.0=null", "objective.1=null"], [("simclr", 1.0)]),
        (["objective.1=null", "objective.3={name: byol, on: image}"], [("clip", 1.0), ("simclr", 1.0), ("byol", 1.0)]),
        (["objective.1=null", "objective.1={name: mae, weight: 3}"], [("clip", 1.0), ("mae", 3.0), ("simclr", 1.0)]),
    ],
)
def test_numbers_of_elements_are_those_before_any_is_taken_away(extensions, overrides, left):
    raw = {"base": "clip-mae", "objective": ["clip", {"name": "mae", "on": "image"}, {"name": "simclr", "on": "image"}]}
    found = read_recipe(raw, extensions.registry, overrides).objective
    assert [(term.name, term.weight) for term in found] == left


def test_one_text_is_no_list_of_overrides():
    for given in ("train.steps=3", ["data.batch=2", *"train.steps=3"]):
        with pytest.raises(
            RecipeError, match=r"Overrides are a list of texts, such as \['train\.steps=100'\], not one"
        ):
            read_recipe("mae", load_extensions().registry, given)


def test_options_over_a_bare_text_are_said_of_what_it_stands_for():
    base = {"encoder": "cnn", "teacher": "runs/teacher"}
    assert merged(base, {"encoder": {"width": 8}})["encoder"] == {"name": "cnn", "width": 8}
    assert merged(base, {"teacher": {"dim": 8}})["teacher"] == {"weights": "runs/teacher", "dim": 8}
    others = {"encoder": {"name": "timm"}, "weights": "vit.pth"}
    assert merged(base, {"teacher": others})["teacher"] == others
