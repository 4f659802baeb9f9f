"""Loader workers end with the process that they work for, however it ended."""

import subprocess
import sys
import time

import pytest

PARENT = """
import multiprocessing, sys, time
import numpy as np
from sensorium.data.arrays import ArraysSource
from sensorium.data.loader import from_workers

class Large:
    def __getitem__(self, piece):
        return b"0" * 10**6  # more than the pipe to the training holds

if __name__ == "__main__":
    source = ArraysSource({"x": np.zeros(1)})
    source.fork_safe = sys.argv[1] == "True"
    made = from_workers(Large(), range(100), 2, source, timeout=60)
    next(made)
    print(*(worker.pid for worker in multiprocessing.active_children()), flush=True)
    time.sleep(60)
"""


def runs(process):
    """Whether a process is there, and not just waits to be forgotten."""
    said = subprocess.run(["ps", "-o", "stat=", "-p", process], capture_output=True, text=True, check=False)
    return not said.stdout.startswith("Z") and bool(said.stdout.strip())


@pytest.mark.skipif(sys.platform == "win32", reason="has no ps")
@pytest.mark.parametrize("forked", [True, False])
def test_workers_end_when_their_process_is_killed(forked, tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    with subprocess.Popen([sys.executable, script, str(forked)], stdout=subprocess.PIPE, text=True) as parent:
        workers = parent.stdout.readline().split()
        time.sleep(1)  # until what they made fills the pipe
        parent.kill()
    assert len(workers) == 2
    until = time.monotonic() + 20
    while left := [worker for worker in workers if runs(worker)]:
        assert time.monotonic() < until, f"workers {left} have outlived their process"
        time.sleep(0.2)
