"""`sensorium finetune`: what is typed reaches the function, what comes back is printed."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from sensorium.api import finetuning
from sensorium.api.finetuning import Finetuned
from sensorium.cli.main import main
from sensorium.evaluation.tables import Metric, ResultsRow, ResultsTable


@pytest.fixture
def asked(monkeypatch):
    """What the function was called with."""
    calls = []
    table = ResultsTable("finetune", [ResultsRow("fine-tuned", {"accuracy": Metric([[0.5]])})], "p", "s", "abc", (8, 2))

    def finetune(run, overrides, **options):
        calls.append((run, overrides, options))
        return Finetuned(table, None, SimpleNamespace(folder=Path("out")))

    monkeypatch.setattr(finetuning, "finetune", finetune)
    return calls


def call(*arguments):
    with pytest.raises(SystemExit) as left:
        main(arguments)
    return left.value.code


def test_a_plain_call_compares_both_starts(asked, capsys):
    assert call("finetune", "runs/x") == 0
    assert asked == [("runs/x", [], {"start": "both", "run_dir": None, "checkpoint": "final", "device": "auto"})]
    out = capsys.readouterr().out
    assert "0.500" in out
    assert "The fine-tuned model is in out." in out


def test_options_and_overrides_are_handed_on(asked, capsys):
    words = [
        "finetune",
        "runs/x",
        "finetune.epochs=3",
        "--from",
        "scratch",
        "--run-dir",
        "o",
        "--device=cpu",
        "--checkpoint",
        "best",
        "--json",
    ]
    assert call(*words) == 0
    assert asked == [
        ("runs/x", ["finetune.epochs=3"], {"start": "scratch", "run_dir": "o", "checkpoint": "best", "device": "cpu"})
    ]
    assert json.loads(capsys.readouterr().out)["split"] == "abc"


def test_another_start_is_refused(asked, capsys):
    assert call("finetune", "runs/x", "--from", "nowhere") == 2
    assert asked == []
