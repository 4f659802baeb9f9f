"""Distributions that strangers could have written: public names alone, and everything loads and passes the checks."""

import ast
from unittest import SkipTest

import pytest

import sensorium
from docs.generate.distributions import distributions, extensions
from docs.generate.gallery_page import WORDS
from sensorium.recipe import read_recipe
from sensorium.testing import checks_of

PUBLIC_MODULES = {"sensorium.testing"}
"""Modules whose own names are public too, as docs/how-to/write-a-plugin.md says."""
IN_THEIR_OWN_TESTS = ("source", "runs on a gpu", "heavy imports", "recipe")
"""Parts of the names of checks that take a second or more; `.ci/run` runs them all, on what pip installed."""


def sensorium_names(tree):
    """Return what a file imports of sensorium: "sensorium.NAME" or a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "sensorium")
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "sensorium":
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "sensorium":
            yield f"sensorium.{node.attr}"


@pytest.mark.parametrize("one", distributions(), ids=lambda one: one.name)
def test_only_public_names_are_used(one):
    public = {"sensorium", *(f"sensorium.{name}" for name in sensorium.__all__)}
    private = [
        f"{file.name}: {name}"
        for file in [*one.files(), *sorted(one.folder.glob("tests/*.py"))]
        for name in sensorium_names(ast.parse(file.read_text(encoding="utf-8")))
        if name not in public and name.rpartition(".")[0] not in PUBLIC_MODULES
    ]
    assert private == []


def test_each_is_a_project_of_its_own():
    for one in distributions():
        assert "sensorium>=0.1,<1" in one.project["dependencies"]
        assert one.project["entry-points"] == {"sensorium": {one.name: one.package.name}}
        assert (one.folder / "README.md").is_file()
        assert sorted(one.folder.glob("tests/test_*.py"))
    assert set(WORDS) == {one.name for one in distributions()}


def test_they_load_beside_the_built_in_plugins():
    states = {plugin.name: plugin.sentence for plugin in extensions().plugins if plugin.state != "loaded"}
    assert states == {}


@pytest.mark.parametrize("one", distributions(), ids=lambda one: one.name)
def test_they_hold_to_the_contracts(one):
    checks = [
        check for check in checks_of(one.name, extensions()) if not any(w in check.name for w in IN_THEIR_OWN_TESTS)
    ]
    assert len(checks) > 50
    for check in checks:
        try:
            check()
        except SkipTest:
            continue


def test_their_recipes_are_valid():
    registry = extensions().registry
    names = {one.name for one in distributions()}
    recipes = [spec for spec in registry.specs("recipes") if spec.plugin in names]
    assert len(recipes) == 6
    for spec in recipes:
        read_recipe(spec.name, registry)
