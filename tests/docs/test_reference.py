"""The reference is what the code says: `python docs/generate_reference.py` writes it anew."""

import importlib.util
import inspect
import re

import pytest

import sensorium
from sensorium import errors
from sensorium.cli.main import program
from sensorium.runs.run import Run

from .pages import ROOT

REFERENCE = ROOT / "docs" / "reference"


@pytest.fixture(scope="module")
def generator():
    spec = importlib.util.spec_from_file_location("generate_reference", ROOT / "docs" / "generate_reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["recipe.md", "cli.md", "api.md"])
def test_page_is_up_to_date(generator, name):
    fresh = generator.pages()[REFERENCE / name]
    assert (REFERENCE / name).read_text(encoding="utf-8") == fresh, "run python docs/generate_reference.py"


def test_every_recipe_key_is_listed_with_its_help(generator):
    page = (REFERENCE / "recipe.md").read_text(encoding="utf-8")
    keys = dict(generator.recipe_keys())
    assert {"data.source", "modalities.NAME.encoder", "optimizer.lr", "evaluate.evaluators"} <= set(keys)
    assert [key for key in keys if f"| `{key}` |" not in page] == []
    assert [key for key, field in keys.items() if not field.description] == []


def test_every_command_is_listed_with_every_option():
    """The program is asked itself, by the help that it prints."""
    page = (REFERENCE / "cli.md").read_text(encoding="utf-8")
    group = program()
    for name, lazy in group.commands.items():
        command = lazy.load()
        below = getattr(command, "commands", None)
        for words, inner in ({f"{name} {n}": c for n, c in below.items()} if below else {name: command}).items():
            section = page.partition(f"## `sensorium {words}`\n")[2].partition("\n## ")[0]
            assert section, words
            for parameter in inner.params:
                option = [word for word in parameter.opts if word.startswith("--")]
                written = option[0] if option else (parameter.metavar or parameter.name.upper()).strip("[]")
                assert written == "--help" or re.search(rf"\| `{re.escape(written)}[ `]", section), (words, written)


@pytest.mark.parametrize("page", ["docs/reference/cli.md", "README.md"])
def test_every_exit_code_is_listed(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    codes = {0, 70, 130, *(c.code for c in vars(errors).values() if hasattr(c, "code"))}
    assert [code for code in codes if not re.search(rf"^\| {code} \|", text, flags=re.MULTILINE)] == []


def test_every_public_name_has_a_docstring_and_a_heading(generator):
    page = (REFERENCE / "api.md").read_text(encoding="utf-8")
    names = [(home, name) for home, name in generator.public_names()]
    assert {name for _, name in names} == set(sensorium.__all__) - {"API_VERSION", "__version__"}
    assert [name for _, name in names if f"### `{name}`\n" not in page] == []
    things = {
        name: module if name in sensorium._MODULES else getattr(module, name)
        for home, name in names
        for module in [importlib.import_module(home)]
    }
    assert [name for name, thing in things.items() if name != "hookimpl" and not inspect.getdoc(thing)] == []
    assert [name for name, thing in things.items() if getattr(sensorium, name) is not thing] == []


def test_every_path_of_a_run_is_listed(tmp_path):
    page = (REFERENCE / "run-folder.md").read_text(encoding="utf-8")
    paths = [value.relative_to(tmp_path).as_posix() for value in vars(Run(tmp_path)).values() if value != tmp_path]
    assert [path for path in paths if f"| `{path}" not in page] == []
