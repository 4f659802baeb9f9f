"""`resume="auto"`: the same call begins a training, continues it after any kill, and leaves it alone once finished."""

import json
import logging
import multiprocessing
import os
import signal

import pytest
import torch

import sensorium
from sensorium.api import resuming
from sensorium.errors import RecipeError, RunError
from sensorium.runs.checkpoint import Checkpoints
from sensorium.runs.lock import RunLock
from sensorium.runs.run import Run
from tests import toys
from tests.distributed import ranks  # noqa: F401 - the server that processes are forked from

from .moments import MOMENTS, signal_at
from .runner import digest

RECIPE = toys.recipe(
    objective="queue",
    train={"epochs": 3, "accelerator": "cpu", "ema": 0.9},
    checkpoint={"every": 1.0, "keep": 2},
    evaluate={"evaluators": {"one": {"name": "health"}, "two": {"name": "health"}}},
) | {"data": {"batch": 16, "workers": 0, "val": 0.15, "test": 0.3, "cache": "ram"}}
TIMES = ("records_per_second", "data_wait")
"""Metrics that are not a function of the recipe."""


def fit(run, recipe=RECIPE, overrides=(), count=None, **more):
    source = toys.vectors() if count is None else toys.vectors(count=count)
    how = {"source": source, "run_dir": run, "resume": "auto", "extensions": toys.extensions()}
    return sensorium.fit(recipe, overrides, **how, **more)


def train_and_die(moment, run, changes):
    torch.set_num_threads(1)
    if moment.startswith("mark of "):
        MOMENTS[moment] = (Checkpoints, "mark_best", lambda _, step, metric: step == int(moment[len("mark of ") :]))
    signal_at(moment, signal.SIGKILL, pytest.MonkeyPatch())
    fit(run, **changes)
    os._exit(0)


def killed(moment, run, **changes):
    """Train in a process of its own that is killed at a moment; not a fork of this one, which has had gradients."""
    process = multiprocessing.get_context("forkserver").Process(target=train_and_die, args=(moment, run, changes))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def metrics(run):
    """Return what a run measured: lines during the training, and tables."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    tables = {path.name: json.loads(path.read_text()) for path in sorted((run / "evaluations").glob("*.json"))}
    return [{k: v for k, v in line.items() if k not in TIMES} for line in lines], tables


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
    return digest(fit(run).learner), metrics(run)


@pytest.mark.parametrize(
    "moments",
    [
        ["reading", "cache", "first step"],
        ["checkpoint write", "mid training", "model write"],
        ["first step", "mid training", "evaluation"],
    ],
    ids=lambda moments: ", ".join(moments),
)
def test_the_same_call_after_any_kill_ends_in_the_same_bits(moments, undisturbed, tmp_path):
    for moment in moments:
        killed(moment, tmp_path / "run")
    model = fit(tmp_path / "run")
    assert (digest(model.learner), metrics(tmp_path / "run")) == undisturbed
    assert model.run.status()["state"] == "finished"
    assert not list((tmp_path / "run").rglob("*.tmp"))


def test_what_the_folder_held_is_said(tmp_path, caplog):
    run = tmp_path / "run"
    with caplog.at_level(logging.INFO, logger="sensorium"):
        killed("first step", run)
        began = Run(run).status()["started"]
        (run / "modalities" / "a.json").write_text('{"mean": 7.0}')  # of records that are there no more
        (run / "unreadable.csv").write_text("record\n")
        killed("checkpoint write", run)
        assert Run(run).status()["started"] >= began
        killed("model write", run)
        fit(run)
        fit(run)
    said = (run / "train.log").read_text()
    assert "holds no training yet: it begins" in said
    assert "was stopped before its first checkpoint: it begins anew, and what it had written is replaced" in said
    assert "holds a checkpoint of step 9: the training goes on" in said
    assert not (run / "unreadable.csv").exists()
    assert json.loads((run / "modalities" / "a.json").read_text())["mean"] != 7.0
    assert f"The training in {run} is finished: no step is taken." in caplog.text


def test_a_finished_run_is_left_as_it_is_but_for_tables_that_are_missing(tmp_path):
    run = tmp_path / "run"
    before = digest(fit(run, evaluate=False).learner)
    held = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
    assert digest(fit(run, evaluate=False).learner) == before
    assert held == {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
    fit(run)
    assert sorted(path.name for path in (run / "evaluations").glob("*.json")) == ["one.json", "two.json"]
    (run / "evaluations" / "two.json").unlink()
    first = (run / "evaluations" / "one.json").stat().st_mtime_ns
    fit(run)
    assert (run / "evaluations" / "two.json").exists()
    assert (run / "evaluations" / "one.json").stat().st_mtime_ns == first


def test_a_finished_run_may_be_made_longer(tmp_path):
    fit(tmp_path / "run", evaluate=False)
    model = fit(tmp_path / "run", overrides=["train.epochs=4"], evaluate=False)
    assert model.run.status()["step"] == 12


def test_what_a_resume_may_not_change_is_refused_also_of_a_finished_run(tmp_path):
    killed("model write", tmp_path / "run")
    for _ in range(2):
        with pytest.raises(RecipeError, match=r"cannot change data\.batch"):
            fit(tmp_path / "run", overrides=["data.batch=8"])
        fit(tmp_path / "run", evaluate=False)


def test_overrides_that_say_auto_or_take_away_are_right_twice(tmp_path):
    overrides = ["optimizer.lr=auto", "evaluate.evaluators.two=null", "log.every=2"]
    killed("model write", tmp_path / "run", overrides=overrides)
    model = fit(tmp_path / "run", overrides=overrides)
    assert list(model.plan.recipe.evaluate.evaluators) == ["one"]
    fit(tmp_path / "run", overrides=overrides)
    fit(tmp_path / "run", overrides=[*overrides, "evaluate.evaluators.three={name: health}"])
    assert (tmp_path / "run" / "evaluations" / "three.json").exists()


def test_records_that_changed_are_told(tmp_path):
    killed("model write", tmp_path / "run")
    with pytest.raises(RunError, match="are not those that"):
        fit(tmp_path / "run", count=120)
    assert fit(tmp_path / "run", count=120, data_changed=True).run.status()["state"] == "finished"


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="is not empty, and holds no run: choose another with --run-dir"):
        fit(tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    with pytest.raises(RecipeError, match="name one by --run-dir, the same for every start"):
        fit(None)


def test_checkpoints_that_cannot_be_read_are_not_thrown_away(tmp_path):
    killed("model write", tmp_path / "run")
    files = sorted((tmp_path / "run" / "checkpoints").glob("*.ckpt"))
    files[-1].write_bytes(b"cut")
    files[0].write_bytes(b"cut")
    with pytest.raises(RunError, match=r"none of its checkpoints \(of step 9, 6\) can be read: put a copy of one back"):
        fit(tmp_path / "run")
    assert [path.read_bytes() for path in files] == [b"cut", b"cut"]


def test_a_rank_waits_until_it_sees_the_checkpoint_of_rank_zero(tmp_path, monkeypatch):
    killed("model write", tmp_path / "run")
    found, later = resuming.find_run(tmp_path / "run"), tmp_path / "not shown yet"
    assert found.step == 9
    (tmp_path / "run" / "checkpoints").rename(later)
    monkeypatch.setattr(resuming.time, "sleep", lambda _: later.rename(tmp_path / "run" / "checkpoints"))
    assert resuming.agree(found) is found
    (tmp_path / "run" / "checkpoints").rename(later)
    monkeypatch.setattr(resuming, "SHOWN", 0.0)
    with pytest.raises(
        RunError, match=r"does not see the checkpoint of step 9 .*: all nodes must share the run folder"
    ):
        resuming.agree(found)


def test_what_a_killed_start_left_is_no_obstacle(tmp_path):
    run = tmp_path / "run"
    (run / "launches").mkdir(parents=True)
    (run / ".recipe.yaml.1.tmp").write_text("name: ")
    assert fit(run, evaluate=False).run.status()["state"] == "finished"
    assert (run / "launches").is_dir()


def test_metrics_over_steps_on_both_sides_of_a_stop_are_those_of_one_training(tmp_path):
    """Losses since the last line, and what the collapse alarm found since, are kept in the checkpoint."""
    recipe = RECIPE | {"log": {"every": 4, "loggers": {}}, "monitor": {"every": 2}}
    fit(tmp_path / "whole", recipe)
    for moment in ("mid training", "model write"):  # from step 3, between lines; after step 9, past the last
        killed(moment, tmp_path / "stopped", recipe=recipe)
    fit(tmp_path / "stopped", recipe)
    assert metrics(tmp_path / "stopped") == metrics(tmp_path / "whole")


def test_the_best_checkpoint_is_marked_though_a_kill_came_before_the_mark(tmp_path):
    recipe = RECIPE | {"checkpoint": {"every": 1.0, "keep": 1, "best": "one/a std"}}
    recipe["evaluate"] = {"every": 1, **RECIPE["evaluate"]}
    fit(tmp_path / "whole", recipe, evaluate=False)
    best = json.loads((tmp_path / "whole" / "checkpoints" / "best.json").read_text())
    killed(f"mark of {best['step']}", tmp_path / "stopped", recipe=recipe)
    fit(tmp_path / "stopped", recipe, evaluate=False)
    assert json.loads((tmp_path / "stopped" / "checkpoints" / "best.json").read_text()) == best


def test_what_another_training_wrote_in_between_is_not_replaced(tmp_path, monkeypatch):
    """The folder is looked at before it is locked; until then another training may have held it."""
    killed("model write", tmp_path / "run")
    acquire = RunLock.acquire
    checkpoints = tmp_path / "run" / "checkpoints"
    checkpoints.rename(tmp_path / "written later")

    def after_another(lock, folder):
        if not checkpoints.exists():
            (tmp_path / "written later").rename(checkpoints)
        acquire(lock, folder)

    monkeypatch.setattr(RunLock, "acquire", after_another)
    with pytest.raises(RunError, match=r"Another training has just written to .*: start again to continue"):
        fit(tmp_path / "run")
    assert fit(tmp_path / "run", evaluate=False).run.status()["state"] == "finished"
