"""Two trainings in one run folder: the second is refused; what a killed one left is no lock."""

import json
import os
import platform
import signal
import subprocess
import sys

import pytest

from sensorium.errors import RunError
from sensorium.runs import run as run_folder
from sensorium.runs.lock import RunLock

HOLDER = """
import multiprocessing, pathlib, sys, time
from sensorium.runs.lock import RunLock
lock = RunLock()
lock.acquire(pathlib.Path(sys.argv[1]))
child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,), daemon=True)
child.start()
print(child.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of a folder, and has a child as loader workers are."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    child = int(process.stdout.readline())
    yield process
    process.kill()
    process.wait()
    process.stdout.close()
    os.kill(child, signal.SIGKILL)


def test_a_second_process_is_told_who_holds_it_and_since_when(tmp_path, holder):
    held = rf"is in use: process {holder.pid} on {platform.node()} since 20\d\d-.*choose another folder with --run-dir"
    with pytest.raises(RunError, match=held):
        RunLock().acquire(tmp_path)
    holder.send_signal(signal.SIGSTOP)  # hung, not gone
    with pytest.raises(RunError, match=f"process {holder.pid}"):
        RunLock().acquire(tmp_path)


def test_a_killed_process_leaves_no_lock_though_its_workers_live_on(tmp_path, holder):
    holder.kill()
    holder.wait()
    assert json.loads((tmp_path / "run.lock").read_text())["process"] == holder.pid, "it had no time to remove it"
    lock = RunLock()
    lock.acquire(tmp_path)
    lock.release()
    assert not (tmp_path / "run.lock").exists()


def test_a_process_is_kept_from_its_own_folder_until_it_is_done_there(tmp_path):
    first, second = RunLock(), RunLock()
    (tmp_path / "other").mkdir()
    first.acquire(tmp_path / "run")
    first.acquire(tmp_path / "run")
    with pytest.raises(RunError, match="This process trains in"):
        second.acquire(tmp_path / "other" / ".." / "run")
    first.release()
    first.release()
    second.acquire(tmp_path / "run")
    second.release()


def test_a_file_system_without_locks_is_named(tmp_path, monkeypatch, caplog):
    def refuse(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr("sensorium.runs.lock.fcntl.lockf", refuse)
    lock = RunLock()
    lock.acquire(tmp_path)
    assert "cannot be locked ([Errno 37] No locks available): see to it that no second training" in caplog.text
    lock.release()


def test_two_trainings_of_one_second_have_two_folders(tmp_path, monkeypatch):
    """Of which the second looks for a name before the first has made its folder."""
    first = tmp_path / "toy-1"
    names = iter([first, first, tmp_path / "toy-1-2"])
    monkeypatch.setattr(run_folder, "dated", lambda *_: next(names))
    assert [run_folder._reserved(tmp_path, "toy").name for _ in range(2)] == ["toy-1", "toy-1-2"]
