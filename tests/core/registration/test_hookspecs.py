"""The reference names every hook, argument, attribute, state and variable; it is complete because this says so."""

import contextlib
import inspect
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import get_args
from unittest import SkipTest

import pytest

from sensorium.recipe import read_recipe
from sensorium.registration import discovery, hookspecs
from sensorium.registration.registry import KINDS, Register, Registry, Spec
from sensorium.testing import yield_checks

DOCS = Path(__file__).parents[3] / "docs"
HOOKS = (DOCS / "reference" / "hooks.md").read_text(encoding="utf-8")


def test_there_is_one_hook_for_each_kind():
    named = [name for name in vars(hookspecs) if name.startswith("sensorium_")]
    assert named == [f"sensorium_register_{kind}" for kind in KINDS]
    for name in named:
        assert getattr(hookspecs, name).__doc__


def test_the_reference_has_every_hook_with_its_arguments_in_order():
    headings = re.findall(r"^### `(.+)`$", HOOKS, flags=re.MULTILINE)
    wanted = []
    for kind in KINDS:
        name = f"sensorium_register_{kind}"
        wanted.append(f"{name}({', '.join(inspect.signature(getattr(hookspecs, name)).parameters)})")
    assert headings == wanted


def test_the_reference_shows_each_hook_in_use():
    for kind in KINDS:
        section = HOOKS.partition(f"### `sensorium_register_{kind}(")[2].partition("\n## ")[0].partition("\n### ")[0]
        code = re.search(r"```python\n(.+?)```", section, flags=re.DOTALL)
        assert code, kind
        register = Register(kind, "p", "d")
        names = {"hookimpl": hookspecs.hookimpl}
        exec(code[1], names)
        names[f"sensorium_register_{kind}"](register)
        assert [spec.kind for spec in register.specs] == [kind]


def test_the_reference_has_the_whole_signature_of_register():
    shown = re.search(r"^## `register\((.+)\)`$", HOOKS, flags=re.MULTILINE)[1]
    parameters = inspect.signature(Register.__call__).parameters.values()
    documented = [p for p in parameters if p.name != "self" and p.kind is not p.VAR_KEYWORD]
    bare = [p.replace(annotation=inspect.Parameter.empty) for p in documented]
    assert f"({shown})" == str(inspect.Signature(bare))
    for parameter in bare:
        assert f"| `{parameter.name}` |" in HOOKS


@pytest.mark.parametrize("word", [*discovery.ATTRIBUTES, *get_args(discovery.State)])
def test_the_reference_has_every_attribute_and_state(word):
    assert f"| `{word}` |" in HOOKS


def test_the_reference_has_every_variable():
    read = set(re.findall(r"SENSORIUM_[A-Z_]+", inspect.getsource(discovery)))
    assert read == set(re.findall(r"^\| `(SENSORIUM_[A-Z_]+)` \|", HOOKS, flags=re.MULTILINE))


def test_the_how_to_shows_what_the_template_writes():
    template = (Path(discovery.__file__).parents[1] / "cli" / "templates" / "parts" / "modality.py.tmpl").read_text(
        encoding="utf-8"
    )
    guide = (DOCS / "how-to" / "write-a-plugin.md").read_text(encoding="utf-8")
    views = re.search(r"class Noise.+?(?=```)", guide, flags=re.DOTALL)[0]
    shown = [line.strip() for line in views.splitlines() if line.strip()]
    written = template.replace("$Class", "MySensor")
    assert [line for line in shown if line not in written] == []


def test_the_how_to_shows_a_recipe_that_is_valid(tmp_path):
    guide = (DOCS / "how-to" / "write-a-plugin.md").read_text(encoding="utf-8")
    (tmp_path / "recipe.yaml").write_text(re.search(r"```yaml\n(.+?)```", guide, flags=re.DOTALL)[1])
    recipe = read_recipe(tmp_path / "recipe.yaml", Registry())
    assert list(recipe.modalities) == ["my-sensor"]


def test_the_how_to_shows_an_objective_that_conforms(monkeypatch):
    guide = (DOCS / "how-to" / "write-a-plugin.md").read_text(encoding="utf-8")
    module = ModuleType("shown_objective")
    code = "import torch\nimport torch.nn.functional as F\n"
    code += "from sensorium import Needs, Objective, Outcome, collectives, heads\n"
    exec(code + re.search(r"class Margin.+?(?=```)", guide, flags=re.DOTALL)[0], vars(module))
    monkeypatch.setitem(sys.modules, "shown_objective", module)
    spec = Spec("objectives", "margin", "shown_objective:Margin", "", "shown", "shown")
    for check in yield_checks(spec, Registry()):
        with contextlib.suppress(SkipTest):
            check()
