"""Every test process computes on one thread: the suite runs on as many processes as there are cores."""

import os
import random
import zlib

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read by torch when it is imported

import numpy as np
import pytest
import torch

from sensorium.parallel import host_group

MEETING = ("MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE", "NODE_RANK", "LOCAL_RANK")
"""By which a process is told where ranks meet, and which it is."""


def pytest_runtest_setup(item):
    """Draw in each test and its first fixtures from seeds of its own: what passes once passes again."""
    seed = zlib.crc32(item.nodeid.encode())
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


@pytest.fixture
def one_thread():
    """Compute on one thread, whatever the environment asks for: sums then have one order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def of_no_group():
    """A test leaves no process group behind, nor the port of one to processes that others start."""
    before = {name: os.environ.get(name) for name in MEETING}
    yield
    host_group.leave()
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
