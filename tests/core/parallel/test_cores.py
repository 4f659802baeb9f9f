import os

import pytest

from sensorium.parallel import collectives, cores
from sensorium.parallel.cores import cores_of_rank, count_sharers


@pytest.fixture
def machine(monkeypatch):
    """Place this process and others; undone after the test."""

    def place(mine, others, host=None):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(mine), raising=False)
        ranks = [(cores.machine(), list(mine)), *((host or cores.machine(), list(other)) for other in others)]
        monkeypatch.setattr(collectives, "all_gather_objects", lambda value: ranks)
        count_sharers()

    yield place
    cores._sharers.clear()


def test_one_process_has_all_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)), raising=False)
    assert cores_of_rank() == 6


def test_ranks_of_one_host_share_its_cores_whoever_launched_them(machine):
    machine(range(32), [range(32)] * 7)
    assert cores_of_rank() == 4
    machine(range(2), [range(2)] * 3)
    assert cores_of_rank() == 1


def test_ranks_that_the_launcher_bound_to_cores_of_their_own_share_none(machine):
    machine(range(8), [range(8, 16), range(16, 24)])
    assert cores_of_rank() == 8
    machine(range(8), [range(4, 12)])
    assert cores_of_rank() == 6


def test_ranks_of_other_hosts_share_nothing(machine):
    machine(range(8), [range(8)] * 3, host="another")
    assert cores_of_rank() == 8
