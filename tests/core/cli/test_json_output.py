"""Under `--json` standard output is JSON, though a plugin prints at import, in its hooks, and in its parts."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import sensorium
from sensorium.cli.main import main

ROOT = Path(__file__).parents[3]
HOOKS = """
    import ctypes
    import os
    from sensorium import hookimpl

    print("noise at import")
    os.write(1, b"noise at import, by the system\\n")
    ctypes.CDLL(None).puts(b"noise at import, by C")

    @hookimpl
    def sensorium_register_encoders(register):
        print("noise in a hook")
        register("loud", "made_up.parts:Loud", modality="frozen", summary="prints")

    @hookimpl
    def sensorium_register_sources(register):
        register("loud", "made_up.parts:LoudVectors", summary="prints")

    @hookimpl
    def sensorium_register_commands(register):
        register("own", "made_up.parts:own", summary="Print JSON of its own.")
"""
PARTS = """
    from typing import Annotated
    import os
    import typer
    from frozen_plugin.data import MLP, Vectors

    class Loud(MLP):
        def forward(self, batch):
            print("noise in an encoder")
            os.write(1, b"noise in an encoder, by the system\\n")
            return super().forward(batch)

    class LoudVectors(Vectors):
        def __getitem__(self, index):
            print("noise in a source")
            return super().__getitem__(index)

    def own(as_json: Annotated[bool, typer.Option("--json")] = False):
        print('{"own": true}')
"""


@pytest.fixture
def loud(site, monkeypatch):
    """Install a plugin that prints, and the plugin that it derives its parts from."""
    site.install("made-up", "made", HOOKS, parts=PARTS)
    site.describe("frozen", "[sensorium]\nfrozen = frozen_plugin\n")
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "frozen"))


def test_every_command_with_json_prints_nothing_else(loud, tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    changes = ["modalities.frozen.encoder.name=loud", "data.source.name=loud", "finetune.epochs=1", "train.epochs=1"]
    run = str(sensorium.fit("frozen-recipe", changes, run_dir="run").run.folder)
    for words in (
        ["plugins"],
        ["list", "encoders"],
        ["list", "encoders", "loud"],
        ["recipes"],
        ["recipes", "frozen-recipe"],
        ["plugin", "check", "made"],
        ["check", "frozen-recipe", *changes],
        ["doctor", "frozen-recipe", *changes, "--seconds", "0.1"],
        ["evaluate", run],
        ["compare", run, shutil.copytree(run, "other")],
        ["finetune", run, "--from", "trained"],
        ["own"],
    ):
        capfd.readouterr()
        with pytest.raises(SystemExit) as left:
            main([*words, "--json"])
        out, err = capfd.readouterr()
        assert left.value.code in (0, 1), err
        assert json.loads(out), words
    print("standard output is given back")
    assert capfd.readouterr().out == "standard output is given back\n"


def test_a_process_keeps_what_plugins_print_out_of_a_pipe(loud, site):
    environ = os.environ | {"PYTHONPATH": os.pathsep.join([str(site.path), str(ROOT / "tests" / "frozen")])}
    command = [sys.executable, "-m", "sensorium", "plugins", "--json"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    assert "made" in [plugin["name"] for plugin in json.loads(done.stdout)["plugins"]]
    noise = ["noise at import", "noise at import, by the system", "noise at import, by C", "noise in a hook"]
    assert sorted(re.findall("^noise.*", done.stderr, re.MULTILINE)) == sorted(noise)


def test_commands_print_json_by_the_one_function_that_knows_where_it_goes():
    files = sorted((ROOT / "core" / "cli").glob("*.py"))
    assert [path.name for path in files if "json.dumps" in path.read_text()] == ["json_output.py"]
