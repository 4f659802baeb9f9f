"""Folders that cannot be written: a disk that is full, one that is read-only, one in which another training runs."""

import json
import multiprocessing
import os
import subprocess
import time
from pathlib import Path

import pytest
import torch

import sensorium
from sensorium.errors import RunError
from sensorium.runs.lock import RunLock
from sensorium.runs.run import Run
from tests import toys

RECIPE = toys.recipe(checkpoint={"every": 0.25, "keep": 2}, train={"epochs": 2, "accelerator": "cpu"})


def fit(run, **how):
    return sensorium.fit(
        None if "resume" in how else RECIPE,
        source=toys.vectors(),
        run_dir=run,
        extensions=toys.extensions(),
        evaluate=False,
        **how,
    )


@pytest.fixture
def disk(tmp_path):
    """A disk of 1 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a disk needs the rights of root")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_disk_that_fills_up_ends_the_run_with_its_last_checkpoint_intact(disk):
    class Filling(sensorium.Callback):
        """Leaves 4 KB for what is written from the fifth step on, once."""

        def after_step(self, training, outcome, loss):
            if training.step == 5 and not (disk / "other").exists():
                stat = os.statvfs(disk)
                (disk / "other").write_bytes(bytes(stat.f_bavail * stat.f_frsize - 4096))

    with pytest.raises(RunError, match=r"could not be written \(the disk is full.* what was written before is intact"):
        sensorium.fit(
            RECIPE,
            source=toys.vectors(),
            run_dir=disk / "run",
            extensions=toys.extensions(),
            callbacks=Filling,
            evaluate=False,
        )
    held = sorted(path.name for path in (disk / "run" / "checkpoints").iterdir())
    assert held, "there was room for a checkpoint before"
    for name in held:
        torch.load(disk / "run" / "checkpoints" / name, weights_only=True)
    (disk / "other").write_bytes(b"")
    assert fit(None, resume=disk / "run", callbacks=Filling).run.status()["state"] == "finished"


def test_a_read_only_disk_is_one_sentence(disk):
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    with pytest.raises(RunError, match=r"run cannot be created .*Read-only file system.*choose another with --run-dir"):
        fit(disk / "run")


def test_a_folder_without_the_right_to_write_is_one_sentence(tmp_path):
    """In a process that is not root, to which rights do not apply."""
    if os.getuid():
        pytest.skip("only root can become somebody else")
    folder = Path("/tmp") / f"sensorium-rights-{os.getpid()}"
    folder.mkdir(mode=0o755)

    def refused():
        os.seteuid(65534)
        try:
            RunLock().acquire(folder / "run")
        except RunError as error:
            os._exit(0 if "Permission denied" in str(error) else 1)
        os._exit(2)

    process = multiprocessing.get_context("fork").Process(target=refused)
    process.start()
    process.join()
    folder.rmdir()
    assert process.exitcode == 0


def held_elsewhere(folder, ready):
    RunLock().acquire(folder)
    ready.set()
    time.sleep(60)


@pytest.mark.parametrize("how", ["again", "resume", "auto"])
def test_a_second_training_in_one_folder_is_refused_and_changes_nothing(how, tmp_path):
    run = tmp_path / "run"
    if how != "again":
        fit(run)
        Run(run).update(state="running")
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    other = context.Process(target=held_elsewhere, args=(run, ready))
    other.start()
    assert ready.wait(30)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    asked = {"again": {"run_dir": run}, "resume": {"resume": run}, "auto": {"run_dir": run, "resume": "auto"}}[how]
    try:
        with pytest.raises(RunError, match=rf"is in use: process {other.pid} on .* since 20\d\d"):
            sensorium.fit(
                None if how == "resume" else RECIPE,
                source=toys.vectors(),
                extensions=toys.extensions(),
                evaluate=False,
                **asked,
            )
        assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    finally:
        other.kill()
        other.join()
    if how != "again":
        assert fit(None, resume=run).run.status()["state"] == "finished"


def test_a_clock_that_is_set_back_changes_nothing(tmp_path, monkeypatch):
    run, how = tmp_path / "run", {"source": toys.vectors(), "extensions": toys.extensions(), "evaluate": False}
    sensorium.fit(RECIPE, ["train.steps=3", "train.epochs=null"], run_dir=run, **how)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() - 86400)
    resumed = sensorium.fit(None, ["train.steps=8"], resume=run, **how)
    assert resumed.run.status()["state"] == "finished"
    assert [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()] == list(range(1, 9))
