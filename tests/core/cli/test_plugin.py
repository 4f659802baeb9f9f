"""`sensorium plugin new` writes projects that install and hold to the contracts; `check` says what does not."""

import json
import os
import subprocess
import sys
from importlib.resources import files

import pytest

from sensorium.cli.main import main
from sensorium.cli.project import EXAMPLES
from sensorium.registration.discovery import load_extensions
from sensorium.registration.registry import WORDS, kind_named
from sensorium.testing import check_plugin

TEMPLATES = files("sensorium.cli") / "templates"


def run(*arguments):
    with pytest.raises(SystemExit) as left:
        main(arguments)
    return left.value.code


def test_there_is_a_template_for_every_kind():
    assert set(EXAMPLES) == set(WORDS.values())


@pytest.mark.parametrize("kind", EXAMPLES)
def test_a_template_is_short(kind):
    (part,) = (path for path in (TEMPLATES / "parts").iterdir() if path.name.startswith(f"{kind}."))
    assert len(part.read_text().splitlines()) <= 85


@pytest.fixture
def projects(tmp_path):
    """Return a folder with a new project for every kind, each named after it."""
    for kind in EXAMPLES:
        folder = tmp_path / "projects" / kind
        assert run("plugin", "new", f"made-{kind}", str(folder), "--kind", kind) == 0
        assert len([path for path in folder.rglob("*") if path.is_file()]) == 6
    return tmp_path / "projects"


def test_new_plugins_of_every_kind_load_and_pass_the_kit(projects, site, monkeypatch):
    for kind in EXAMPLES:
        site.describe(f"made-{kind}", f"[sensorium]\nmade-{kind} = made_{kind}\n", version="0.1.0")
        monkeypatch.syspath_prepend(str(projects / kind))
    extensions = load_extensions()
    for kind in EXAMPLES:
        plugin = extensions.find(f"made-{kind}")
        assert (plugin.state, plugin.reason) == ("loaded", "")
        assert f"made-{kind}" in plugin.registered[kind_named(kind)]
        failed = [row for row in check_plugin(f"made-{kind}", extensions) if row.status == "failed"]
        assert failed == [], kind
        site.installed.add(f"made_{kind}")


@pytest.mark.slow
def test_new_plugins_of_every_kind_install_and_pass_their_own_tests(projects, tmp_path):
    target = tmp_path / "target"
    install = ["pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index", "--target", str(target)]
    subprocess.run([sys.executable, "-m", *install, *map(str, projects.iterdir())], check=True, capture_output=True)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(projects)]
    tested = subprocess.run(
        [*command, *(str(project / "tests") for project in projects.iterdir())],
        env=os.environ | {"PYTHONPATH": str(target)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert tested.returncode == 0, tested.stdout
    assert " passed" in tested.stdout


def test_new_plugins_are_clean(projects):
    rules = ["--isolated", "--select", "E,F,I,B,D1", "--ignore", "D100,D103,D105,D107", "--line-length", "120"]
    command = [sys.executable, "-m", "ruff", "check", *rules, str(projects)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", ["torch", "class", "encoder", "json"])
def test_a_name_that_is_taken_is_refused(tmp_path, name, capsys):
    assert run("plugin", "new", name, str(tmp_path / "project")) == 3
    assert f"'{name}' is taken" in capsys.readouterr().err


def test_a_kind_that_is_misspelt_is_refused_with_the_nearest(tmp_path, capsys):
    assert run("plugin", "new", "made-here", str(tmp_path / "project"), "--kind", "optimiser") == 3
    assert "did you mean 'optimizer'?" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["Made", "made_here", "1made", "made-"])
def test_a_bad_name_is_refused(tmp_path, name, capsys):
    assert run("plugin", "new", name, str(tmp_path / "project")) == 3
    assert f"'{name}' is not a valid plugin name" in capsys.readouterr().err


def test_nothing_is_overwritten(tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    assert run("plugin", "new", "made-here", str(tmp_path)) == 3
    assert "is not empty" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_check_prints_a_table_and_fails_when_a_check_does(site, capsys, objective_body):
    assert run("plugin", "check", "contrastive") == 0
    assert " 0 failed" in capsys.readouterr().out
    site.install("made-up", "made", objective_body("made-objective", "made_up"))
    assert run("plugin", "check", "made") == 1
    out = capsys.readouterr().out
    assert "failed" in out
    assert "cannot be loaded from made_up.made:Made" in out
    assert run("plugin", "check", "made", "--json") == 1
    rows = json.loads(capsys.readouterr().out)
    assert {"name", "status", "reason", "seconds"} == set(rows[0])


def test_check_of_an_unknown_or_broken_plugin_is_an_error(site, capsys):
    site.install("made-up", "made", "raise ValueError('broken')")
    assert run("plugin", "check", "made") == 3
    assert "plugin 'made' (made-up 1.0) failed: ValueError: broken" in capsys.readouterr().err
    assert run("plugin", "check", "crosmodal") == 3
    assert "did you mean 'crossmodal'" in capsys.readouterr().err
