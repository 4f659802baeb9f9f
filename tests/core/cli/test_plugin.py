"""`sensorium plugin new` writes projects that install and hold to the contracts; `check` says what does not."""

import json
import os
import subprocess
import sys
from importlib.resources import files

import pytest

from sensorium.cli.main import main


def run(*arguments):
    with pytest.raises(SystemExit) as left:
        main(arguments)
    return left.value.code


@pytest.mark.parametrize(("kind", "most"), [("objective", 60), ("modality", 80)])
def test_a_template_is_short(kind, most):
    folder = files("sensorium.cli") / "templates"
    parts = [(folder / f"{kind}{part}.py.tmpl").read_text().splitlines() for part in ("", "_init")]
    assert all(len(lines) <= most for lines in parts)
    assert sum(bool(line.strip()) for lines in parts for line in lines) <= most


def test_new_plugins_install_and_pass_their_own_tests(tmp_path):
    target, projects = tmp_path / "target", [tmp_path / kind for kind in ("objective", "modality")]
    for project in projects:
        kind = project.name
        assert run("plugin", "new", f"made-{kind}", str(project), "--kind", kind) == 0
        written = {str(path.relative_to(project)) for path in project.rglob("*") if path.is_file()}
        package = [f"made_{kind}/__init__.py", f"made_{kind}/{kind}.py"]
        assert written == {"README.md", "pyproject.toml", f"tests/test_made_{kind}.py", *package}
    install = ["pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index", "--target", str(target)]
    subprocess.run([sys.executable, "-m", *install, *map(str, projects)], check=True, capture_output=True)
    environ = os.environ | {"PYTHONPATH": str(target)}

    def program(*arguments):
        command = [sys.executable, "-m", *arguments]
        return subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, text=True, check=False)

    plugins = {p["name"]: p for p in json.loads(program("sensorium", "plugins", "--json").stdout)["plugins"]}
    for kind in ("objective", "modality"):
        assert (plugins[f"made-{kind}"]["state"], plugins[f"made-{kind}"]["version"]) == ("loaded", "0.1.0")
    tested = program("pytest", "-q", "-p", "no:cacheprovider", *(str(project / "tests") for project in projects))
    assert tested.returncode == 0, tested.stdout
    assert " passed" in tested.stdout


@pytest.mark.parametrize("kind", ["objective", "modality"])
def test_a_new_plugin_is_clean(tmp_path, kind):
    assert run("plugin", "new", "made-here", str(tmp_path / kind), "--kind", kind) == 0
    rules = ["--isolated", "--select", "E,F,I,B,D1", "--ignore", "D100,D103,D105,D107", "--line-length", "110"]
    command = [sys.executable, "-m", "ruff", "check", *rules, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


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
