"""SIGKILL in the middle of each file that a run writes: the same command then ends in the same bits."""

import csv
import json
import multiprocessing
import os
import signal

import pytest
import torch

import sensorium
from sensorium.data import unreadable
from sensorium.data.arrays import ArraysSource
from sensorium.runs import atomic
from sensorium.runs.run import Run
from sensorium.training.metrics import MetricsLog
from tests import toys

from .runner import digest

RECIPE = toys.recipe(
    objective="queue",
    train={"epochs": 3, "accelerator": "cpu"},
    checkpoint={"every": 1.0, "keep": 2, "best": "health/a RankMe"},
    evaluate={"every": 1.0, "evaluators": {"health": {}}},
)


def fit(run):
    whole = toys.vectors()
    values = [record.values["a"] for record in whole]
    values[7] = "no numbers"
    source = ArraysSource({"a": values}, labels={"class": [record.labels["class"] for record in whole]})
    return sensorium.fit(RECIPE, source=source, run_dir=run, resume="auto", extensions=toys.extensions())


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def halve(path):
    """Leave the first half of a file, as a write has that is cut off."""
    os.truncate(path, os.path.getsize(path) // 2)


def in_whole_file(name, count):
    """Die in the write of a file that is moved into place, the `count`-th time."""
    replace, left = os.replace, [count]

    def replaced(temporary, path):
        if os.path.basename(path) == name:
            left[0] -= 1
            if not left[0]:
                halve(temporary)
                die()
        replace(temporary, path)

    atomic.os.replace = replaced


def in_line_of_metrics(*_):
    write, left = MetricsLog.write, [4]

    def cut(self, step, metrics):
        left[0] -= 1
        if not left[0]:
            self._lines.write('{"step": 9, "lo')
            self._lines.flush()
            die()
        write(self, step, metrics)

    MetricsLog.write = cut


def in_row_of_unreadable(*_):
    append = unreadable._append

    def cut(path, rows):
        append(path, rows)
        halve(path)
        die()

    unreadable._append = cut


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """A process that is forked has one thread, and sums are those of one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    run = tmp_path_factory.mktemp("undisturbed") / "run"
    return digest(fit(run).learner), steps(run), tables(run)


def steps(run):
    return [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]


def tables(run):
    return {path.name: json.loads(path.read_text()) for path in (run / "evaluations").glob("*.json")}


def rows(run):
    with (run / "unreadable.csv").open(newline="") as file:
        return sorted(map(tuple, csv.reader(file)))


def train_and_be_killed(where, name, count, run):
    where(name, count)
    fit(run)
    os._exit(0)


@pytest.mark.parametrize(
    ("where", "name", "count"),
    [
        pytest.param(in_whole_file, "recipe.yaml", 1, marks=pytest.mark.slow),
        pytest.param(in_whole_file, "run.json", 1, marks=pytest.mark.slow),
        (in_whole_file, "run.json", 6),
        pytest.param(in_whole_file, "records.parquet", 1, marks=pytest.mark.slow),
        pytest.param(in_whole_file, "a.json", 1, marks=pytest.mark.slow),
        (in_whole_file, "step-000000008.ckpt", 1),
        pytest.param(in_whole_file, "best.json", 2, marks=pytest.mark.slow),
        pytest.param(in_whole_file, "model.safetensors", 1, marks=pytest.mark.slow),
        pytest.param(in_whole_file, "config.json", 1, marks=pytest.mark.slow),
        pytest.param(in_whole_file, "health.json", 1, marks=pytest.mark.slow),
        (in_line_of_metrics, "", 0),
        pytest.param(in_row_of_unreadable, "", 0, marks=pytest.mark.slow),
    ],
)
def test_killed_in_the_middle_of_a_write(where, name, count, undisturbed, tmp_path):
    run = tmp_path / "run"
    # Not forked: a process whose threads have computed gradients leaves none that can to its children.
    process = multiprocessing.get_context("forkserver").Process(
        target=train_and_be_killed, args=(where, name, count, run)
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL, "the file is written"
    weights, lines, results = undisturbed
    assert digest(fit(run).learner) == weights
    assert steps(run) == lines
    assert tables(run) == results
    assert Run(run).status()["state"] == "finished"
    assert not list(run.rglob("*.tmp"))
    if name != "health.json":  # whose training is finished, so that nobody takes the lock again
        assert not (run / "run.lock").exists()
    assert len(rows(run)) == len(set(rows(run)))
