"""Benchmark scripts use names, options and recipes that exist; none is trained here."""

import argparse
import ast
import importlib
import inspect
import pkgutil
import re
import shlex
from pathlib import Path

import pytest

from sensorium.models.plan import make_plan
from sensorium.recipe import read_recipe
from sensorium.registration.discovery import load_extensions

from .pages import ROOT

FOLDER = ROOT / "docs" / "benchmarks"
SCRIPTS = sorted(FOLDER.rglob("*.py"))
RUN = "data.source.path=data"
WITH_ROWS = (
    *("cifar10_gpu", "forecast_anomaly", "hard_negatives", "hard_weights", "moleculenet", "node_graphs"),
    *("reconstructions", "spoken_digits", "three_modalities", "tu_graphs"),
)
"""Scripts that train several recipes, or one with several overrides."""


def tree_of(script):
    return ast.parse(script.read_text(encoding="utf-8"))


def options_of(script):
    """Return the options of a script: attribute to the string that declares it."""
    calls = [node for node in ast.walk(tree_of(script)) if isinstance(node, ast.Call)]
    added = [c.args[0].value for c in calls if isinstance(c.func, ast.Attribute) and c.func.attr == "add_argument"]
    return {option.lstrip("-").replace("-", "_"): option for option in added}


def namespaces(tree):
    """Return the variables that hold a parsed command line."""
    found = {a.arg for a in ast.walk(tree) if isinstance(a, ast.arg) and "Namespace" in ast.dump(a)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and ".parse_" in ast.unparse(node.value):
            target = node.targets[0]
            found.add((target.elts[0] if isinstance(target, ast.Tuple) else target).id)
    return found


def imported(tree):
    """Return what a script imports from this library: its name there to the thing."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "sensorium":
            for alias in node.names:
                name = f"{node.module}.{alias.name}"  # of a module, or of something in one
                found[alias.asname or alias.name] = pkgutil.resolve_name(name)
    return found


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_names_and_keyword_arguments_exist(script):
    tree, unknown = tree_of(script), []
    things = imported(tree)
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and callable(things.get(call.func.id)):
            parameters = inspect.signature(things[call.func.id]).parameters
            if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
                unknown += [f"{call.func.id}({k.arg}=)" for k in call.keywords if k.arg and k.arg not in parameters]
    assert unknown == []


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_command_line_options_that_are_read_are_declared(script):
    tree = tree_of(script)
    variables, options = namespaces(tree), options_of(script)
    read = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in variables
    }
    assert read <= set(options)


@pytest.mark.parametrize("page", sorted(FOLDER.glob("*.md")), ids=lambda path: path.stem)
def test_commands_on_pages_are_understood(page):
    """Scripts have the options that pages give them; recipes have the keys."""
    extensions = load_extensions()
    for code in re.findall(r"`([^`]+)`", page.read_text(encoding="utf-8")):
        program, *words = shlex.split(code) if code.startswith(("python docs", "sensorium train")) else [""]
        if program == "python":
            known = options_of(ROOT / words[0]).values()
            assert [word for word in words if word.startswith("--") and word not in known] == []
        elif program:
            make_plan(read_recipe(words[1], extensions.registry, words[2:]), extensions)


def recipes():
    """Yield the recipe and the overrides of every row of these scripts."""
    m = argparse.Namespace(**{name: importlib.import_module(name) for name in WITH_ROWS})
    asked = argparse.Namespace(results=Path("results"), split=0, steps=1, table=None)
    for row in m.cifar10_gpu.OBJECTIVES.values():
        yield "simclr-cifar10", [*row, *m.cifar10_gpu.ON_GPU]
        yield "simclr-cifar10", [*row, *m.cifar10_gpu.QUICK]
    for part in (importlib.import_module(f"gpu_parts.{name}") for name in ("cifar10", "evaluation")):
        yield "simclr-cifar10", part.FULL
        yield "simclr-cifar10", part.TINY
    yield "ts2vec", [m.forecast_anomaly.ENCODER]
    for kind in m.hard_negatives.KINDS:
        yield m.hard_negatives.recipe(kind, 0, asked, Path("run")), []
    for row in m.hard_weights.ROWS.values():
        yield "simclr-cifar10", [f"objective={{{row}}}"]
    for name, (_, _, task, _) in m.moleculenet.SETS.items():
        changes = [f"finetune.task={task}", f"evaluate.evaluators={{{m.moleculenet.FROZEN[task]}: }}"]
        yield "molecules-moses", [*m.moleculenet.data(Path("folder"), name), *changes]
    for row in m.node_graphs.OBJECTIVES.values():
        yield "node-dgi", [*m.node_graphs.BLOCKS, *row]
        yield "node-dgi", [*m.node_graphs.KARATE, *row]
    for recipe in ("mae", "colorization"):
        yield recipe, m.reconstructions.overrides(recipe, asked)
    yield "spoken-digits", [RUN, f"evaluate.evaluators={{linear: {{{m.spoken_digits.PROTOCOL}}}}}"]
    for row in m.three_modalities.ROWS:
        yield m.three_modalities.recipe(row, 0, 1), []
    for row in m.tu_graphs.OBJECTIVES.values():
        yield "graphcl-tu", [RUN, *row]


def test_recipes_of_scripts_are_valid(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    extensions = load_extensions()
    for recipe, overrides in recipes():
        make_plan(read_recipe(recipe, extensions.registry, overrides), extensions)
