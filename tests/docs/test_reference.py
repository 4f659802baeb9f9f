"""Generated pages are what the code says: `make reference` writes them anew."""

import importlib
import inspect
import re
from typing import get_args

import pytest

import sensorium
from docs.generate import api_pages, markdown, objective_pages, pages, recipe_page
from docs.generate.modality_pages import WORDS as MODALITIES
from docs.generate.view_images import IMAGES, path_of
from sensorium import errors
from sensorium.cli.main import program
from sensorium.registration.discovery import load_extensions
from sensorium.registration.options import check_options, options_of
from sensorium.runs.run import Run

from .pages import ROOT

REFERENCE = ROOT / "docs" / "reference"


@pytest.fixture(scope="module")
def registry():
    return load_extensions({}, []).registry


def test_pages_are_up_to_date():
    fresh = pages.pages()
    stale = [path.name for path, text in fresh.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    assert stale == [], "run make reference"
    assert pages.generated() <= set(fresh), "run make reference"


def test_every_objective_has_a_formula_and_an_alternative(registry):
    """`docs/generate/objectives.toml` holds what no code says."""
    names = registry.names("objectives")
    assert sorted(objective_pages.WORDS) == sorted(names)
    assert [name for name, words in objective_pages.WORDS.items() if set(words) != KEYS] == []


def test_letters_name_options_that_exist(registry):
    shared = {option.name for option in options_of(sensorium.NegativeOptions)}
    for name, words in objective_pages.WORDS.items():
        listed = options_of(registry.find("objectives", name).load())
        options = {one.name for option in listed for one in (option, *option.suboptions)}
        options |= {value for option in listed for value in get_args(option.annotation) if isinstance(value, str)}
        named = {word.rpartition(".")[2] for word in re.findall(r"`([\w.]+)`", words["letters"])}
        assert named <= options | shared, name


KEYS = {"title", "formula", "letters", "otherwise"}


def test_every_formula_can_be_drawn():
    from docs.generate import math_hook

    for name in objective_pages.WORDS:
        page = (ROOT / "docs" / "objectives" / f"{name}.md").read_text(encoding="utf-8")
        drawn = math_hook.with_mathml(page)
        assert "<math" in drawn
        assert not re.search(r"\$|```math|\\[a-z]", drawn), name


def test_every_modality_names_its_sources(registry):
    """`docs/generate/modalities.toml` holds what no code says; every source feeds a modality."""
    assert sorted(MODALITIES) == sorted(registry.names("modalities"))
    named = {source for words in MODALITIES.values() for source in words["sources"]}
    assert named == set(registry.names("sources"))


@pytest.mark.parametrize("name", sorted(MODALITIES))
def test_samples_of_modalities_are_options_that_exist(registry, name):
    sample = MODALITIES[name]["sample"]
    spec = registry.find("modalities", name)
    if spec.missing_packages():
        pytest.skip(f"needs {', '.join(spec.missing_packages())}")
    check_options(spec.load(), sample["modality"], f"{name}.sample.modality", name=name)
    if "source" in sample:
        source = dict(sample["source"])
        kind = registry.find("sources", source.pop("name"))
        check_options(kind.load(), source, f"{name}.sample.source", name=kind.name)


def test_every_view_generator_has_an_image(registry):
    wanted = {path_of(spec) for spec in registry.specs("views") if spec.modality in MODALITIES}
    assert set(IMAGES.rglob("*.png")) == wanted, "run make reference-images"


def test_every_recipe_key_is_listed_with_its_help():
    page = (REFERENCE / "recipe.md").read_text(encoding="utf-8")
    keys = dict(recipe_page.recipe_keys())
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
            section = section.replace("\\|", "|")  # as a cell of a table writes it
            for parameter in inner.params:
                option = [word for word in parameter.opts if word.startswith("--")]
                written = option[0] if option else (parameter.metavar or parameter.name.upper()).strip("[]")
                found = re.search(rf"\| `(--[a-z-]+, )*{re.escape(written)}[ ,`]", section)
                assert written == "--help" or found, (words, written)


@pytest.mark.parametrize("page", ["docs/reference/cli.md", "README.md"])
def test_every_exit_code_is_listed(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    codes = {0, 70, 130, *(c.code for c in vars(errors).values() if hasattr(c, "code"))}
    assert [code for code in codes if not re.search(rf"^\| {code} \|", text, flags=re.MULTILINE)] == []


def test_every_public_name_has_a_docstring_and_a_section():
    names = api_pages.all_names()
    assert {name for _, name in names} >= set(sensorium.__all__) - {"API_VERSION", "__version__"}
    text = "".join(path.read_text(encoding="utf-8") for path in (REFERENCE / "api").glob("*.md"))
    assert [name for _, name in names if f"## `{name}`\n" not in text] == []
    things = {
        name: module if name in sensorium._MODULES else getattr(module, name)
        for home, name in names
        for module in [importlib.import_module(home)]
    }
    assert [name for name, thing in things.items() if name != "hookimpl" and not inspect.getdoc(thing)] == []
    public = [name for name in things if name in sensorium.__all__]
    assert [name for name in public if getattr(sensorium, name) is not things[name]] == []


@pytest.mark.parametrize("name", ["Encode.tokenize", "FeatureTable.select", "losses.nt_xent", "Modality.decode"])
def test_methods_and_functions_have_sections_with_their_arguments(name):
    text = "".join(path.read_text(encoding="utf-8") for path in (REFERENCE / "api").glob("*.md"))
    section = text.partition(f"# `{name}`\n")[2].partition("\n## ")[0]
    assert f"{name.rpartition('.')[2]}(" in section


def test_every_path_of_a_run_is_listed(tmp_path):
    page = (REFERENCE / "run-folder.md").read_text(encoding="utf-8")
    paths = [value.relative_to(tmp_path).as_posix() for value in vars(Run(tmp_path)).values() if value != tmp_path]
    assert [path for path in paths if f"| `{path}" not in page] == []


DOCSTRING = """Summary.

    ```python
    def loss(x):
        return x < 1

        # after a blank line
    ```

    Prose, and a table of its own:

        indented < code

    Args:
        x: a tensor; one
            value, whatever it is: a path, an array.
        *rest: likewise.
    """


def documented(x, call=len, make=re.compile, *rest):
    pass


def test_docstrings_keep_their_code_and_their_arguments_whole():
    documented.__doc__ = DOCSTRING
    text = markdown.docstring(documented)
    assert "def loss(x):\n    return x < 1\n\n    # after a blank line\n```\n" in text
    assert "```text\nindented < code\n```" in text
    assert "- `x`: a tensor; one\n  value, whatever it is: a path, an array.\n- `*rest`: likewise." in text


def test_signatures_show_what_source_says():
    assert "call=len, make=compile, *rest" in markdown.signature(documented, "documented")
    found = api_pages.api_pages()
    assert [path for path, text in found.items() if re.search(r"ForwardRef| at 0x|^- `\s", text, re.MULTILINE)] == []
    assert [path for path, text in found.items() if has_nested_fences(text)] == []


def has_nested_fences(text):
    """Whether a fence that names its language stands inside another one."""
    is_open = False
    for line in re.findall(r"^```.*", text, flags=re.MULTILINE):
        if is_open and line != "```":
            return True
        is_open = not is_open
    return is_open
