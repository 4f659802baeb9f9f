"""Runs and exports record plugins and versions, and say what to install when one is missing."""

import logging
import shutil
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

import sensorium
from sensorium.errors import PluginError
from sensorium.registration.discovery import load_extensions

FROZEN = Path(__file__).parents[2] / "frozen"
MISSING = (
    "There is no encoder for modality 'frozen' named 'rings': it is of plugin 'rings' (sensorium-rings 0.3.1), which "
)
ENCODER = """
from sensorium import hookimpl

@hookimpl
def sensorium_register_encoders(register):
    register("{name}", "frozen_plugin.data:MLP", modality="frozen", summary="x")
"""


@pytest.fixture
def rings(site, monkeypatch):
    """Return what installs a plugin with an encoder in some version, and loads the plugins that are then there."""
    monkeypatch.syspath_prepend(str(FROZEN))

    def install(version=None, name="rings", body=None, environ=None):
        shutil.rmtree(site.path)
        site.path.mkdir()
        site.forget()
        if version:
            site.install("sensorium-rings", "rings", body or ENCODER.format(name=name), version)
        return load_extensions(environ or {}, [EntryPoint("frozen", "frozen_plugin", "sensorium"), *site.found()])

    return install


@pytest.fixture
def run(rings, tmp_path):
    overrides = ["modalities.frozen.encoder={name: rings}", "train.epochs=1", "evaluate.evaluators=null"]
    return sensorium.fit("frozen-recipe", overrides, run_dir=tmp_path / "run", extensions=rings("0.3.1")).run


def test_what_is_missing_is_said_by_all_that_open_a_run(rings, run, tmp_path):
    sensorium.export(run.folder, tmp_path / "out", extensions=rings("0.3.1"))
    without = rings()
    for use in (
        lambda: sensorium.load(run.folder, extensions=without),
        lambda: sensorium.load(run.folder, "last", extensions=without),
        lambda: sensorium.fit(resume=run.folder, extensions=without),
        lambda: sensorium.evaluate(run.folder, ["frozen-centroid"], extensions=without),
        lambda: sensorium.finetune(run.folder, extensions=without),
        lambda: sensorium.export(run.folder, tmp_path / "again", extensions=without),
        lambda: sensorium.load_encoder(tmp_path / "out", extensions=without),
    ):
        with pytest.raises(PluginError) as caught:
            use()
        assert str(caught.value) == f"{MISSING}is not installed: pip install 'sensorium-rings==0.3.1'."


@pytest.mark.parametrize(
    ("installed", "why"),
    [
        ({"version": "0.3.1", "environ": {"SENSORIUM_PLUGINS": "frozen"}}, "is blocked by SENSORIUM_PLUGINS."),
        (
            {"version": "0.4", "body": "raise ValueError('torn')"},
            "failed: ValueError: torn (sensorium_rings/__init__.py:1); installed is 0.4.",
        ),
        (
            {"version": "0.4", "name": "circles"},
            "as installed here (0.4) does not register it: pip install 'sensorium-rings==0.3.1'.",
        ),
    ],
)
def test_what_is_installed_and_does_not_give_the_part_says_why(rings, run, installed, why):
    with pytest.raises(PluginError) as caught:
        sensorium.load(run.folder, extensions=rings(**installed))
    assert str(caught.value) == MISSING + why


def test_another_version_is_said_once(rings, run, caplog):
    other = rings("0.5")
    with caplog.at_level(logging.WARNING, "sensorium"):
        sensorium.load(run.folder, extensions=other)
        sensorium.load(run.folder, extensions=other)
    said = [record.message for record in caplog.records]
    assert said == ["Plugin 'rings' (sensorium-rings 0.3.1) was recorded; 0.5 is installed, and results may differ."]
