"""The examples of `docs/examples` are short, use public names alone, and run."""

import ast
import os
import re
import runpy
import subprocess
import sys

import pytest

import sensorium

from .pages import ROOT

FOLDER = ROOT / "docs" / "examples"
EXAMPLES = sorted(path.stem for path in FOLDER.glob("*.py"))
LEARNED = {
    "simclr": ("features", 0.9),
    "byol": ("features", 0.93),
    "mae_on_series": ("features", 0.92),
    "own_encoder": ("features", 0.92),
    "own_dataset": ("features", 0.8),
    "hard_negatives": ("HCL", 0.92),
    "objective_outside": ("features", 0.75),
}
"""Row and least accuracy after a whole training; chance is 0.1, and 0.2 of the series."""


def test_there_are_ten():
    assert len(EXAMPLES) == 10
    page = (FOLDER / "index.md").read_text(encoding="utf-8")
    assert [name for name in EXAMPLES if f"## {name}.py" not in page] == []


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_short_and_imports_public_names_alone(name):
    text = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 50
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            assert [alias.name for alias in node.names if alias.name.startswith("sensorium")] == []
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sensorium"):
            module = node.module.partition(".")[2]
            public = sensorium.__all__ if not module else getattr(sensorium, module).__all__
            assert not module or module in sensorium._MODULES
            assert [alias.name for alias in node.names if alias.name not in public] == []


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name != "two_ranks"])
def test_an_example_runs(name, monkeypatch, capsys):
    monkeypatch.setenv("STEPS", "2")
    runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")
    assert re.search(r"accuracy", capsys.readouterr().out)


def test_two_ranks_are_one_process():
    done = subprocess.run(
        [sys.executable, FOLDER / "two_ranks.py"],
        env={**os.environ, "GLOO_SOCKET_IFNAME": "lo"},
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.findall(r"loss ([\d.]+), of one process ([\d.]+); gradients differ by ([\de+-]+)", done.stdout)
    assert len(found) == 2, done.stderr
    assert all(ours == alone and float(error) < 1e-14 for ours, alone, error in found)


@pytest.mark.slow
def test_two_ranks_are_one_process_under_torchrun():
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", str(FOLDER / "two_ranks.py")]
    env = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.stdout.count("gradients differ by 2e-16") == 2, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", LEARNED)
def test_an_example_learns(name, monkeypatch, capsys):
    monkeypatch.delenv("STEPS", raising=False)
    runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")
    row, least = LEARNED[name]
    accuracy = re.search(rf"^\| {row} \| ([\d.]+) ", capsys.readouterr().out, flags=re.MULTILINE)
    assert float(accuracy[1]) >= least
