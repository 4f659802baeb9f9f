"""What README and how-to pages tell people to type is what the program takes."""

import re

import pytest

from sensorium.cli.main import program
from sensorium.models.plan import make_plan
from sensorium.recipe import read_recipe
from sensorium.recipe.merging import without_base
from sensorium.recipe.yaml_text import parse_yaml
from sensorium.registration.discovery import load_extensions

from .materials import make_models
from .pages import PAGES, ROOT, blocks, commands, name_of, write_recipes

SHOWING = [page for page in PAGES if page.name == "README.md" or {"how-to", "get-started"} & set(page.parts)]


@pytest.fixture(scope="module")
def extensions():
    return load_extensions({}, [])


def parsed(words):
    """Return the words that name the command, and its arguments and options as the program reads them."""
    command, names, rest = program(), [], words
    while hasattr(command, "commands"):
        context = command.make_context("sensorium", list(rest), resilient_parsing=True)
        name, command, rest = command.resolve_command(context, list(rest))
        names.append(name)
    return " ".join(names), command.make_context(names[-1], list(rest)).params


@pytest.mark.parametrize("page", SHOWING, ids=name_of)
def test_every_command_line_is_understood(page, extensions, tmp_path, monkeypatch):
    """Commands parse; recipes and runs exist; overrides, and the parts that they name, are valid for their recipe."""
    monkeypatch.chdir(tmp_path)
    write_recipes(page, tmp_path)
    make_models(page.read_text(encoding="utf-8"), tmp_path)
    runs = {}
    for words in commands(page):
        name, given = parsed(words)
        overrides = [word for word in given.get("arguments") or given.get("overrides") or () if "=" in word]
        if name == "train" and given["resume"] and given["resume"] != "auto":
            assert given["resume"] in runs
        elif name == "train":
            make_plan(read_recipe(given["recipe"], extensions.registry, overrides), extensions)
            runs[given["run_dir"]] = (given["recipe"], overrides)
        elif name in ("evaluate", "embed", "finetune"):
            for run in [given["run"]] if name != "evaluate" else [w for w in given["arguments"] if "=" not in w]:
                recipe, before = runs[run]
                raw = read_recipe(recipe, extensions.registry, [*before, *overrides]).plain()
                for table in given.get("evaluators") or ():
                    raw["evaluate"]["evaluators"].setdefault(table, table)
                make_plan(read_recipe(raw, extensions.registry), extensions)
                if given.get("run_dir"):
                    runs[given["run_dir"]] = (recipe, [*before, *overrides])


@pytest.mark.parametrize("page", SHOWING, ids=name_of)
def test_every_recipe_shown_is_valid(page, extensions, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_recipes(page, tmp_path)
    make_models(page.read_text(encoding="utf-8"), tmp_path)
    for block in blocks(page, "yaml"):
        if block.startswith(("apiVersion", "resources")):  # of a cluster
            continue
        shown = without_base(parse_yaml(block, name_of(page)))
        if "modalities" not in shown or "my-sensor" in shown["modalities"]:
            continue
        make_plan(read_recipe(shown, extensions.registry), extensions)


@pytest.mark.parametrize("page", SHOWING, ids=name_of)
def test_every_python_snippet_compiles(page):
    for block in blocks(page, "python"):
        compile(block, name_of(page), "exec")


def test_readme_shows_the_lines_that_make_runs():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8").replace("$(BIN)", ".venv/bin").replace(" --quiet", "")
    wanted = r"^\t(\S+ -m pip install .+|\S+/sensorium train .+|\S+ -m pytest)$"
    lines = re.findall(wanted, makefile, flags=re.MULTILINE)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(lines) >= 5
    assert [line for line in lines if not re.search(rf"^{re.escape(line)}( +#.*)?$", readme, flags=re.MULTILINE)] == []


def test_every_evaluator_is_on_the_page_about_them(extensions):
    page = (ROOT / "docs" / "how-to" / "evaluate.md").read_text(encoding="utf-8")
    assert [s.name for s in extensions.registry.specs("evaluators") if f"| `{s.name}` |" not in page] == []
