"""Ctrl-C, SIGTERM, SIGHUP and SIGUSR1, at any moment: what is kept, what is said, and that the advice given works."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys

import pytest
import yaml

import sensorium
from sensorium.errors import Interrupted
from sensorium.runs.run import Run
from tests import toys

from .moments import MIDDLE, signal_at
from .word_pairs import word_pairs

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1]
CODES = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 129, "SIGUSR1": 138}
RECIPE = toys.recipe(
    train={"epochs": 3, "accelerator": "cpu"},
    checkpoint={"every": 1.0, "keep": 5},
    evaluate={"evaluators": {"one": {"name": "health"}, "two": {"name": "health"}}},
) | {"data": {"batch": 16, "workers": 0, "val": 0.15, "test": 0.3, "cache": "ram"}}
STEPS = 9


def fit(moment, number, monkeypatch, run):
    """Train while a signal comes; returns the error and the status of the run."""
    with monkeypatch.context() as patched:
        signal_at(moment, number, patched)
        with pytest.raises(Interrupted) as error:
            sensorium.fit(RECIPE, source=toys.vectors(), run_dir=run, extensions=toys.extensions())
    assert error.value.code == 128 + number
    return str(error.value), Run(run).status()


def resume(run):
    model = sensorium.fit(resume=run, source=toys.vectors(), extensions=toys.extensions(), evaluate=False)
    return model.run.status()["state"]


@pytest.fixture(params=SIGNALS, ids=lambda number: number.name)
def number(request):
    return request.param


@pytest.mark.parametrize("moment", ["reading", "cache"])
def test_before_the_first_step_there_is_nothing_to_keep(moment, number, monkeypatch, tmp_path):
    said, status = fit(moment, number, monkeypatch, tmp_path / "run")
    assert "before its first checkpoint: there is nothing to resume, start it again" in said
    assert status.get("state", "interrupted") == "interrupted"
    assert not list((tmp_path / "run").rglob("*.tmp"))


@pytest.mark.parametrize(("moment", "step"), [("first step", 1), ("mid training", MIDDLE + 1), ("checkpoint write", 4)])
def test_a_training_finishes_its_step_and_writes_a_checkpoint(moment, step, number, monkeypatch, tmp_path):
    run = tmp_path / "run"
    said, status = fit(moment, number, monkeypatch, run)
    assert f"a checkpoint at step {step} of {STEPS}: continue with `sensorium train --resume {run}`" in said
    assert (status["state"], status["step"]) == ("interrupted", step)
    assert resume(run) == "finished"


def test_a_finished_training_whose_model_is_not_written_goes_on_from_its_last_step(number, monkeypatch, tmp_path):
    said, status = fit("model write", number, monkeypatch, tmp_path / "run")
    assert f"its last checkpoint is of step {STEPS}: continue with" in said
    assert status["state"] == "interrupted"
    assert resume(tmp_path / "run") == "finished"


def test_in_the_evaluation_tables_that_are_done_are_kept(number, monkeypatch, tmp_path):
    run = tmp_path / "run"
    said, status = fit("evaluation", number, monkeypatch, run)
    assert status["state"] == "finished"
    assert said.endswith(f"one is written; measure the rest with `sensorium evaluate {run} --with two`.")
    assert (run / "evaluations" / "one.json").exists()
    assert not (run / "evaluations" / "two.json").exists()


def test_an_evaluation_by_itself_keeps_tables_and_the_state_of_the_run(number, monkeypatch, tmp_path):
    run, how = tmp_path / "run", {"source": toys.vectors(), "extensions": toys.extensions()}
    sensorium.fit(RECIPE, run_dir=run, evaluate=False, **how)
    with monkeypatch.context() as patched:
        signal_at("evaluation", number, patched)
        with pytest.raises(Interrupted) as error:
            sensorium.evaluate(run, None, ["evaluate.batch=8"], device="cpu", **how)
    assert error.value.code == 128 + number
    assert f"one is written; measure the rest with `sensorium evaluate {run} evaluate.batch=8 --with two`" in str(
        error.value
    )
    assert Run(run).status()["state"] == "finished"
    sensorium.evaluate(run, ["two"], device="cpu", **how)
    assert (run / "evaluations" / "two.json").exists()


def test_handlers_are_given_back(monkeypatch, tmp_path):
    before = [signal.getsignal(number) for number in SIGNALS]
    fit("mid training", signal.SIGHUP, monkeypatch, tmp_path / "run")
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_nohup_is_left_alone(monkeypatch, tmp_path):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with monkeypatch.context() as patched:
            signal_at("mid training", signal.SIGHUP, patched)
            model = sensorium.fit(
                RECIPE, source=toys.vectors(), run_dir=tmp_path / "run", extensions=toys.extensions(), evaluate=False
            )
    finally:
        signal.signal(signal.SIGHUP, before)
    assert model.run.status()["state"] == "finished"


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """A recipe of two columns of words, as a file."""
    folder = tmp_path_factory.mktemp("words")
    made = word_pairs(folder, evaluate={"evaluators": {"retrieval": {"positives": "record"}, "health": {}}})
    made["data"]["workers"] = 2
    (folder / "words.yaml").write_text(yaml.safe_dump(made))
    return folder / "words.yaml"


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["reading", "first step", "mid training", "checkpoint write", "evaluation"])
def test_the_program_says_what_it_kept_and_the_advice_works(moment, number, recipe, tmp_path):
    """A process of its own, with loader workers, in a group that receives the signal as a whole."""
    run = tmp_path / "run"

    def call(*words):
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.run(
            [sys.executable, *words], capture_output=True, text=True, env=environment, timeout=300, cwd=os.getcwd()
        )

    train = ["train", str(recipe), "--run-dir", str(run)]
    done = call("-m", "tests.integration.moments", moment, number.name, *train)
    assert done.returncode == CODES[number.name], done.stderr
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    print(f"{number.name:8} {moment:16} {done.returncode}  {last}")
    if moment == "reading":
        assert "start it again" in last
        assert call("-m", "sensorium", *train).returncode == 0
        return
    advised = shlex.split(re.search(r"`sensorium (.+?)`", last)[1])
    again = call("-m", "sensorium", *advised)
    assert again.returncode == 0, again.stderr
    assert json.loads((run / "run.json").read_text())["state"] == "finished"
    assert {path.name for path in (run / "evaluations").glob("*.json")} == {"retrieval.json", "health.json"}
