"""A training whose rank is killed, or hangs, ends in stated time with a sentence, leaves nothing behind and resumes."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import toys

TORCHRUN = ("-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone")


def recipe(timeout):
    return toys.recipe(
        train={"epochs": 4, "accelerator": "cpu", "devices": 2, "timeout": timeout},
        checkpoint={"every": 0.5},
        data={"batch": 16, "workers": 1, "val": 0.15, "test": 0.15},
    )


def processes_of(folder):
    """Return the processes, zombies included, whose command line or children name a run folder."""
    found = subprocess.run(["ps", "-eo", "pid,stat,args"], capture_output=True, text=True, check=True).stdout
    return [line for line in found.splitlines() if str(folder) in line]


def orphans():
    """Return the shared memory of torch whose process is gone."""
    made = [re.match(r"torch_(\d+)_", name) for name in os.listdir("/dev/shm")]
    return {found.string for found in made if found and not Path("/proc", found[1]).exists()}


def run(launcher, timeout=60, **asked):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    command = [
        sys.executable,
        *launcher,
        "-m",
        "tests.integration.runner",
        json.dumps({"recipe": recipe(timeout), **asked}),
    ]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, cwd=os.getcwd())


CASES = [
    pytest.param((), {"kill_at": 7, "on_rank": 1}, "Rank 1 (process", "was lost: it was killed", id="killed child"),
    pytest.param((), {"kill_at": 7, "on_rank": 0}, "Rank 0 (process", "was lost: it was killed", id="killed launcher"),
    pytest.param(TORCHRUN, {"kill_at": 7, "on_rank": 1}, "Rank 1 (process", "was lost", id="torchrun killed 1"),
    pytest.param(TORCHRUN, {"kill_at": 7, "on_rank": 0}, "Rank 0 (process", "was lost", id="torchrun killed 0"),
    pytest.param((), {"stop_at": 7, "on_rank": 1}, "Rank 1 (process", "it hangs, and is ended", id="hung child"),
    pytest.param((), {"stop_at": 7, "on_rank": 0}, "Rank 0 (process", "it hangs, and is ended", id="hung launcher"),
    pytest.param(TORCHRUN, {"stop_at": 7, "on_rank": 0}, "Rank 0 (process", "it hangs", id="torchrun hung 0"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("launcher", "fault", "who", "what"), CASES)
def test_the_others_stop_with_a_sentence_and_the_run_resumes(launcher, fault, who, what, tmp_path):
    folder, before = tmp_path / "run", orphans()
    done = run(launcher, 15 if "stop_at" in fault else 60, run_dir=str(folder), **fault)
    assert done.returncode != 0
    said = next((line for line in done.stderr.splitlines() if who in line and what in line), None)
    print(said)
    assert said, done.stderr
    assert f"continue with `sensorium train --resume {folder}`" in said
    for _ in range(100):  # workers end within seconds of the rank that was killed
        if not (left := processes_of(folder)):
            break
        time.sleep(0.2)
    assert not left
    assert not orphans() - before
    if fault["on_rank"] == 1:
        assert json.loads((folder / "run.json").read_text())["state"] == "failed"
    assert not list(Path(folder).rglob("*.tmp"))
    resumed = run(launcher, resume=str(folder))
    assert resumed.returncode == 0, resumed.stderr
    assert json.loads((folder / "run.json").read_text())["state"] == "finished"
