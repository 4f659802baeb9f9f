"""Every test process computes on one thread: the suite runs on as many processes as there are cores."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read by torch when it is imported

import pytest
import torch


@pytest.fixture
def one_thread():
    """Compute on one thread, whatever the environment asks for: sums then have one order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
