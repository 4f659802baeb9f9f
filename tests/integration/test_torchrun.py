"""Trainings that torchrun starts, of which ranks are killed, on one node and on two.

Run by `pytest -n 0 -m slow tests/integration/test_torchrun.py`.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from .word_pairs import word_pairs

pytestmark = pytest.mark.slow
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
STEPS = 40


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    folder = tmp_path_factory.mktemp("words")
    made = word_pairs(folder, train={"steps": STEPS, "accelerator": "cpu"}, checkpoint={"every": 2.0})
    (folder / "words.yaml").write_text(yaml.safe_dump(made))
    return folder / "words.yaml"


def start(recipe, run, *launcher):
    words = ["-m", "torch.distributed.run", *launcher, "-m", "sensorium", "train", str(recipe), "--run-dir", str(run)]
    with open(run.with_suffix(".log"), "a") as log:
        return subprocess.Popen(
            [sys.executable, *words, "--resume", "auto"], env=ENVIRONMENT, stdout=log, stderr=subprocess.STDOUT
        )


def ended(process, run):
    """Return what was printed, once all is finished."""
    code = process.wait(600)
    said = run.with_suffix(".log").read_text()
    assert code == 0, said
    assert json.loads((run / "run.json").read_text())["state"] == "finished"
    return said


def wait_for_checkpoint(run, process):
    until = time.monotonic() + 300
    while not list((run / "checkpoints").glob("step-*")):
        assert process.poll() is None, run.with_suffix(".log").read_text()
        assert time.monotonic() < until
        time.sleep(0.1)


def rank_of(launcher, rank):
    """Return the process of a rank that a launcher has started."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == launcher.pid and f"RANK={rank}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                return int(folder.name)
        except OSError:
            continue
    raise AssertionError(f"there is no rank {rank}")


@pytest.mark.parametrize("rank", [0, 1])
def test_the_same_command_continues_after_either_rank_was_killed(rank, recipe, tmp_path):
    run = tmp_path / "run"
    process = start(recipe, run, "--standalone", "--nproc-per-node=2")
    wait_for_checkpoint(run, process)
    os.kill(rank_of(process, rank), signal.SIGKILL)
    assert process.wait(300) == 1
    assert "the training goes on" in ended(start(recipe, run, "--standalone", "--nproc-per-node=2"), run)


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM], ids=lambda number: number.name)
def test_a_signal_to_the_last_rank_stops_both_with_a_checkpoint(number, recipe, tmp_path):
    run = tmp_path / "run"
    process = start(recipe, run, "--standalone", "--nproc-per-node=2")
    wait_for_checkpoint(run, process)
    os.kill(rank_of(process, 1), number)
    assert process.wait(300) == 1
    status = json.loads((run / "run.json").read_text())
    assert status["state"] == "interrupted"
    assert (run / "checkpoints" / f"step-{status['step']:09d}.ckpt").exists()
    ended(start(recipe, run, "--standalone", "--nproc-per-node=2"), run)


def test_two_nodes_train_and_evaluate_as_one(recipe, tmp_path):
    run = tmp_path / "run"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    nodes = [
        start(recipe, run, "--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d", f"--rdzv-endpoint={address}")
        for _ in range(2)
    ]
    assert [node.wait(600) for node in nodes] == [0, 0], run.with_suffix(".log").read_text()
    assert run.with_suffix(".log").read_text().count("cpu, 2 processes (ddp)") == 1
    (run / "evaluations" / "health.json").unlink()
    ended(start(recipe, run, "--standalone", "--nproc-per-node=2"), run)
    assert (run / "evaluations" / "health.json").exists()


def test_a_script_of_kills_compares_bit_by_bit(tmp_path):
    """The benchmark, with one kill of either rank."""
    script = Path(__file__).parents[2] / "docs" / "benchmarks" / "kills.py"
    command = [sys.executable, str(script), str(tmp_path), "--kills", "2", "--ranks", "2"]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 of 2 trainings ended in the same bits." in done.stdout
