"""What was written for plugin contract 1.0 goes on working: a plugin that is never edited loads and trains."""

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch

import sensorium
from sensorium.cli.main import LazyCommand
from sensorium.registration.discovery import load_extensions
from sensorium.testing import check_plugin

FROZEN = Path(__file__).parents[2] / "frozen"


@pytest.fixture
def extensions(monkeypatch):
    monkeypatch.syspath_prepend(str(FROZEN))
    return load_extensions({}, [EntryPoint("frozen", "frozen_plugin", "sensorium")])


def test_it_loads_without_a_warning(extensions, recwarn):
    plugin = extensions.find("frozen")
    assert (plugin.state, plugin.reason, [str(w.message) for w in recwarn]) == ("loaded", "", [])
    assert len(plugin.registered) == 9


def test_it_trains_evaluates_and_exports(extensions, tmp_path):
    model = sensorium.fit("frozen-recipe", run_dir=tmp_path / "run", extensions=extensions)
    table = next((tmp_path / "run" / "evaluations").glob("frozen-centroid*"))
    assert "accuracy" in table.read_text()
    lines = sensorium.export(model.run.folder, tmp_path / "out", "frozen-weights", extensions=extensions)
    weights = torch.load(tmp_path / "out" / "frozen.pt", weights_only=True)
    assert "weights_only=True" in lines
    assert weights.keys() == model.learner.encoder("frozen").state_dict().keys()
    again = sensorium.load(model.run.folder, extensions=extensions, device="cpu")
    values = [[1.0, -1.0, 0.0, 0.5]]
    assert torch.equal(again.embed(frozen=values)["frozen"], model.embed(frozen=values)["frozen"])


def test_its_command_runs(extensions, capsys):
    command = LazyCommand(extensions.registry.find("commands", "frozen-count")).load()
    command.main(["1", "2", "3"], standalone_mode=False)
    assert capsys.readouterr().out == "3\n"


def test_it_passes_the_conformance_kit(extensions):
    rows = list(check_plugin("frozen", extensions))
    assert [(row.name, row.reason) for row in rows if row.status == "failed"] == []
    assert sum(row.status == "passed" for row in rows) > 20
