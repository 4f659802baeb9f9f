"""A recipe that is wrong is told in one sentence, with the path, the value and what would be right."""

import pytest

from sensorium.errors import PluginError, RecipeError
from sensorium.recipe import Recipe, read_recipe
from sensorium.recipe.merging import override
from sensorium.recipe.parts import Section
from sensorium.recipe.reading import changes
from sensorium.recipe.yaml_text import parse_yaml
from sensorium.registration.discovery import load_extensions

MINIMAL = {
    "data": {"source": {"name": "folder", "path": "pictures"}},
    "modalities": {"image": {"views": "simclr", "encoder": "cnn"}},
    "objective": "simclr",
    "train": {"epochs": 1},
}


@pytest.fixture(scope="module")
def registry():
    return load_extensions(environ={}, found=[]).registry


def test_a_bare_name_is_a_part_and_defaults_are_filled(registry):
    recipe = read_recipe(MINIMAL, registry)
    assert recipe.objective.name == "simclr"
    assert recipe.data.source.options == {"path": "pictures"}
    assert recipe.optimizer.lr == 1e-3


def test_overrides_apply_in_order_and_reach_into_bare_names(registry):
    recipe = read_recipe(
        MINIMAL, registry, ["objective.temperature=1e-1", "train.epochs=3", "train.epochs=5", "seed=7"]
    )
    assert recipe.objective.name == "simclr"
    assert recipe.objective.options == {"temperature": 0.1}
    assert (recipe.train.epochs, recipe.seed) == (5, 7)


def test_one_length_of_training_replaces_the_other(registry):
    assert read_recipe(MINIMAL, registry, ["train.steps=5"]).train.model_dump(include={"epochs", "steps"}) == {
        "epochs": None,
        "steps": 5,
    }
    assert read_recipe(MINIMAL, registry, ["train={steps: 5}", "train.grad_clip=2"]).train.steps == 5
    short = {"base": "simclr-cifar10", "train": {"steps": 7}}
    assert read_recipe(short, registry).train.epochs is None
    assert read_recipe(short, registry, ["train.epochs=0.5"]).train.model_dump(include={"epochs", "steps"}) == {
        "epochs": 0.5,
        "steps": None,
    }
    with pytest.raises(RecipeError, match="exactly one of epochs and steps"):
        read_recipe({**MINIMAL, "train": {"epochs": 1, "steps": 5}}, registry)


def test_an_override_leaves_the_given_mapping_alone():
    raw = {"train": {"epochs": 1}}
    assert override(raw, "train.epochs=2") == {"train": {"epochs": 2}}
    assert raw == {"train": {"epochs": 1}}


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["train.epocs=3"], ["train.epocs", "3", "did you mean 'epochs'", "accumulate"]),
        (["data.batch=many"], ["data.batch", "'many'", "integer"]),
        (["data.batch=0"], ["data.batch", "0", "greater than 0"]),
        (["train.precision=fp8"], ["train.precision", "'fp8'", "bf16-mixed"]),
        (["modalities.image.encodr=x"], ["modalities.image.encodr", "did you mean 'encoder'"]),
        (["train.steps=5", "train.epochs=2"], ["train", "one of epochs and steps, not epochs=2 and steps=5"]),
        (["train.epochs=null"], ["train", "exactly one of epochs and steps, neither is given"]),
        (["modalities.images.encoder.width=8"], ["modalities.images.views", "did you mean 'image'?"]),
        (["checkpoint.best=knn/accuracy"], ["checkpoint.best needs evaluate.every"]),
        (["seed.x=1"], ["goes through 'seed'"]),
        (["train.epochs"], ["not of the form key.sub=value"]),
        (["data.batch=[1"], ["not YAML"]),
    ],
)
def test_what_is_wrong_is_told_in_one_sentence(registry, overrides, words):
    raw = {**MINIMAL, "seed": 1}
    with pytest.raises(RecipeError) as caught:
        read_recipe(raw, registry, overrides)
    text = str(caught.value)
    assert "\n" not in text
    for word in words:
        assert word in text


def test_a_missing_key_is_named(registry):
    with pytest.raises(RecipeError, match="'objective' is missing"):
        read_recipe({k: v for k, v in MINIMAL.items() if k != "objective"}, registry)


def test_files_yaml_and_python(registry, tmp_path):
    yaml_file, python_file = tmp_path / "r.yaml", tmp_path / "r.py"
    yaml_file.write_text(
        "data: {source: folder}\nmodalities: {image: {views: simclr, encoder: cnn}}\n"
        "objective: simclr\ntrain: {epochs: 1}\noptimizer: {lr: 5e-4}\n"
    )
    python_file.write_text(f"def recipe():\n    return {MINIMAL!r}\n")
    assert read_recipe(yaml_file, registry).optimizer.lr == 5e-4
    assert read_recipe(str(python_file), registry) == read_recipe(MINIMAL, registry)
    python_file.write_text("x = 1\n")
    with pytest.raises(RecipeError, match="defines no `recipe`"):
        read_recipe(python_file, registry)
    yaml_file.write_text("data: [1\n")
    with pytest.raises(RecipeError, match=r"not YAML.*line 2"):
        read_recipe(yaml_file, registry)
    yaml_file.write_text("- 1\n")
    with pytest.raises(RecipeError, match="not a mapping"):
        read_recipe(yaml_file, registry)
    with pytest.raises(RecipeError, match="no recipe file"):
        read_recipe("nowhere/r.yaml", registry)


def test_a_misspelt_shipped_name_suggests_the_nearest(registry):
    with pytest.raises(PluginError, match="did you mean 'image-text'"):
        read_recipe("imagetext", registry)


def test_every_shipped_recipe_is_valid_and_says_how_it_was_run(registry):
    specs = list(registry.specs("recipes"))
    assert "image-text" in {spec.name for spec in specs}
    for spec in specs:
        assert read_recipe(spec.name, registry).name == spec.name


def test_a_resolved_recipe_survives_its_own_yaml(registry):
    import yaml

    recipe = read_recipe("image-text", registry)
    assert Recipe.model_validate(parse_yaml(yaml.safe_dump(recipe.plain()), "dump")) == recipe


def test_every_key_has_a_help_text():
    def sections(cls):
        for sub in cls.__subclasses__():
            yield sub
            yield from sections(sub)

    found = list(sections(Section))
    assert Recipe in found
    for section in found:
        for name, field in section.model_fields.items():
            assert field.description, f"{section.__name__}.{name} has no help text"


def test_a_recipe_with_a_base_says_where_it_differs(registry, tmp_path):
    base = {**MINIMAL, "name": "mine", "objective": {"name": "simclr", "temperature": 0.1, "width": 64}, "seed": 3}
    (tmp_path / "mine.py").write_text(f"recipe = {base!r}")
    (tmp_path / "sub").mkdir()
    child = tmp_path / "sub" / "child.yaml"

    def read(text):
        child.write_text("base: ../mine.py\n" + text)
        return read_recipe(child, registry)

    assert read("objective: {width: 32}").objective.options == {"temperature": 0.1, "width": 32}
    assert read("objective: {name: simclr, width: 32}").objective.options == {"temperature": 0.1, "width": 32}
    assert read("objective: {name: byol, width: 32}").objective.options == {"width": 32}  # options of another part go
    assert read("objective: byol").objective.options == {}
    assert read("train: {epochs: null, steps: 7}").train.steps == 7
    tower = read("modalities: {image: {encoder: {name: cnn, width: 8}}}").modalities["image"]
    assert (tower.views.name, tower.encoder.options) == ("simclr", {"width": 8})
    assert (read("").name, read("name: ours").name, read("seed: 4").seed) == ("mine", "ours", 4)
    assert "base" not in read("").plain()
    assert read_recipe({"base": str(tmp_path / "mine.py"), "seed": 5}, registry).seed == 5
    assert read_recipe(child, registry, ["objective.temperature=0.3"]).objective.options["temperature"] == 0.3


def test_bases_are_followed_to_the_end_and_not_in_circles(registry, tmp_path):
    for name, text in {
        "a": "base: b.yaml\nseed: 1",
        "b": "base: c.yaml\nname: second",
        "c": "base: simclr-cifar10\nname: third",
        "loop": "base: pool.yaml",
        "pool": "base: loop.yaml",
        "number": "base: 3",
        "nowhere": "base: simclr-cifar11",
    }.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    found = read_recipe(tmp_path / "a.yaml", registry)
    assert (found.seed, found.name, found.data.batch) == (1, "second", 512)
    with pytest.raises(RecipeError, match=r"bases form a cycle: .*loop\.yaml -> .*pool\.yaml -> .*loop\.yaml"):
        read_recipe(tmp_path / "loop.yaml", registry)
    with pytest.raises(RecipeError, match="'base' is 3, but it should be a recipe's name"):
        read_recipe(tmp_path / "number.yaml", registry)
    with pytest.raises(PluginError, match="did you mean 'simclr-cifar10'"):
        read_recipe(tmp_path / "nowhere.yaml", registry)


def test_changes_are_told_against_the_shipped_recipe(registry, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("base: simclr\nname: mine\ndata: {batch: 32}\n")
    for given in ("simclr", str(file)):
        overrides = ["train.accelerator=cpu"] if given == "simclr" else []
        name, differences = changes(read_recipe(given, registry, overrides), given, registry, overrides)
        assert name == "simclr"
        assert differences == (overrides or ["data.batch=32"])


def test_off_is_a_word_and_booleans_are_true_and_false(registry):
    recipe = read_recipe(MINIMAL, registry, ["data.cache=off", "train.compile=True", "train.deterministic=no"])
    assert recipe.data.cache == "off"
    assert recipe.train.compile is True
    assert recipe.train.deterministic is False
    assert parse_yaml("cache: off\nramp: on", "x.yaml") == {"cache": "off", "ramp": "on"}


@pytest.mark.parametrize(
    ("given", "order"),
    [
        ("shuffled", {"name": "shuffled", "window": None}),
        ("blocks", {"name": "blocks", "window": 16}),
        ("{name: blocks, window: 4}", {"name": "blocks", "window": 4}),
    ],
)
def test_an_order_is_a_name_or_a_name_with_its_window(registry, given, order):
    assert read_recipe("simclr", registry, [f"data.order={given}"]).plain()["data"]["order"] == order


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("block", r"'data\.order\.name' is 'block', but it should be 'shuffled', 'blocks' or 'randperm'"),
        ("{window: 4}", r"'data\.order': window is an option of blocks, not of shuffled: write"),
        ("{name: blocks, windw: 4}", r"there is no key 'data\.order\.windw' \(given 4\), did you mean 'window'\?"),
        ("{name: blocks, window: 0}", r"'data\.order\.window' is 0, but it should be greater than 0"),
    ],
)
def test_an_order_that_is_none_is_named(registry, given, problem):
    with pytest.raises(RecipeError, match=problem):
        read_recipe("simclr", registry, [f"data.order={given}"])


def test_neighbors_and_blocks_exclude_each_other(registry):
    with pytest.raises(RecipeError, match="order: blocks keeps those of a fragment together: choose one of them"):
        read_recipe("simclr", registry, ["data.order=blocks", "data.neighbors=mined.parquet"])


@pytest.mark.parametrize(
    ("overrides", "blamed"),
    [
        (["data.batch=many"], "the override 'data.batch=many'"),
        (["seed=1", " data.batch = many"], "the override ' data.batch = many'"),
        (["data={batch: many}"], "the override 'data={batch: many}'"),
        (["train.steps=4", "train.epochs=3"], "the overrides 'train.steps=4' and 'train.epochs=3'"),
        (["train={steps: 4}", "train.epochs=3"], "the overrides 'train={steps: 4}' and 'train.epochs=3'"),
        (["train.steps=4", "seed=2", "train={epochs: 3}"], "the override 'train={epochs: 3}'"),
        (["seed=1"], "recipe"),
    ],
)
def test_the_override_that_is_wrong_is_blamed_not_the_recipe(registry, overrides, blamed):
    given = MINIMAL | {"monitor": {"every": "often"}} if overrides == ["seed=1"] else MINIMAL
    with pytest.raises(RecipeError) as error:
        read_recipe(given, registry, overrides)
    assert str(error.value).startswith(f"{blamed}: ")
