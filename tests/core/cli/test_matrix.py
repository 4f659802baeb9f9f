"""`sensorium matrix`: what the options mean; what is filled is tried in `tests/core/matrix`."""

import json

import pytest

from sensorium.cli.main import main
from sensorium.matrix import runner
from sensorium.matrix.cells import Budget
from sensorium.matrix.table import Matrix


def left(*arguments):
    with pytest.raises(SystemExit) as exit_of:
        main(arguments)
    return exit_of.value.code


def test_options_reach_the_matrix(monkeypatch, tmp_path, capsys):
    asked = []
    monkeypatch.setattr(runner, "run_matrix", lambda *given: asked.append(given) or Matrix([], {}, {}))
    assert (
        left("matrix", "--only", "simclr", "--only", "image", "--steps", "7", "--seeds", "2", "--out", str(tmp_path))
        == 0
    )
    assert asked == [(tmp_path, ["simclr", "image"], Budget(7, 2))]
    capsys.readouterr()
    assert left("matrix", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"columns": {}, "cells": []}


def test_a_name_that_is_neither_row_nor_column_is_a_sentence(tmp_path, capsys):
    assert left("matrix", "--only", "simclar", "--out", str(tmp_path)) == 2
    assert "neither a row nor a column 'simclar', did you mean 'simclr'" in capsys.readouterr().err
