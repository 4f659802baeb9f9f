"""Every public name says what it is, what it takes and of which types; type checkers see it."""

import ast
import inspect
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from pydantic import BaseModel

import sensorium
from sensorium.registration.options import args_of

ROOT = Path(__file__).parents[2]


def public():
    """Yield every public function and class: those of `sensorium`, and those of its public modules."""
    for name, home in sensorium._HOME.items():
        module = import_module(home)
        if name not in sensorium._MODULES:
            yield pytest.param(getattr(module, name), id=name)
            continue
        for key in module.__all__:
            thing = getattr(module, key)
            if inspect.isfunction(thing) or inspect.isclass(thing):
                yield pytest.param(thing, id=f"{name}.{key}")


def parameters(thing):
    """Return what a caller hands in; of a class, what its own constructor takes."""
    if inspect.isclass(thing):
        makers = [base for base in inspect.getmro(thing) if {"__init__", "__new__"} & set(vars(base))]
        own = next((base for base in makers if base.__module__.partition(".")[0] == "sensorium"), None)
        if own is None or issubclass(thing, BaseModel):  # the keys of a recipe have a page of their own
            return []
    return list(inspect.signature(thing).parameters.values())


@pytest.mark.parametrize("thing", [p for p in public() if p.id != "hookimpl"])
def test_every_argument_of_a_public_name_is_documented_and_typed(thing):
    documented = args_of(inspect.getdoc(thing) or "")
    assert inspect.getdoc(thing), "no docstring"
    assert [p.name for p in parameters(thing) if not documented.get(p.name)] == []
    assert [p.name for p in parameters(thing) if p.annotation is p.empty] == []
    if inspect.isfunction(thing):
        assert inspect.signature(thing).return_annotation is not inspect.Signature.empty


def test_most_names_are_counted():
    assert len(list(public())) > 150, "the test above looks at all of them"


def test_type_checkers_see_every_public_name():
    """Under `--strict` a name that is imported is exported only where it is named twice: `from x import A as A`."""
    tree = ast.parse((ROOT / "core" / "__init__.py").read_text(encoding="utf-8"))
    imported = [
        alias
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "sensorium"
        for alias in node.names
    ]
    assert [alias.name for alias in imported if alias.asname != alias.name] == [], "write `import A as A`"
    assert sorted(alias.name for alias in imported) == sorted(sensorium._HOME)


USE = """
import torch
import sensorium
from sensorium import GradientCache, Learner, View, build, collectives, evaluate_features, losses, register, views
from sensorium.losses import nt_xent

x: torch.Tensor = nt_xent(torch.zeros(2, 2), torch.zeros(2, 2), temperature=0.2)
y: torch.Tensor = collectives.gather(x)
transform = views.image.simclr(size=32)
z: list[torch.Tensor] = transform(torch.zeros(2, 3, 32, 32))
v: list[View] = transform.views(x)
reveal_type(nt_xent)
reveal_type(sensorium.losses.clip)
reveal_type(collectives.gather)
reveal_type(transform)
reveal_type(Learner)
reveal_type(GradientCache)
reveal_type(sensorium.masking.random_mask)
reveal_type(build)
reveal_type(register)
reveal_type(evaluate_features)
nt_xent("no tensor", x, 0.2)
"""


@pytest.mark.slow
def test_a_program_of_a_stranger_is_checked_strictly(tmp_path):
    """As one who has the package installed sees it: no name is Any, and a wrong argument is an error."""
    package = tmp_path / "path" / "sensorium"
    package.mkdir(parents=True)
    for path in (ROOT / "core").iterdir():
        (package / path.name).symlink_to(path)
    for tree in ("modalities", "plugins"):
        (package / tree).symlink_to(ROOT / tree)
    (tmp_path / "use.py").write_text(USE, encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--ignore-missing-imports"]
    done = subprocess.run(
        [*command, "--config-file=", f"--cache-dir={tmp_path / 'cache'}", "use.py"],
        cwd=tmp_path,
        env={"MYPYPATH": str(tmp_path / "path"), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    revealed = re.findall(r'Revealed type is "(.*)"', done.stdout)
    assert len(revealed) == 10, done.stdout + done.stderr
    assert [text for text in revealed if text == "Any"] == []
    errors = re.findall(r"error: (.*)", done.stdout)
    assert len(errors) == 1, done.stdout
    assert 'Argument 1 to "nt_xent" has incompatible type "str"; expected "Tensor"' in errors[0]
