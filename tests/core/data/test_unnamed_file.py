"""A file that no folder lists, which processes share, and which nothing outlives."""

import os
import pickle
import signal
import time

import numpy as np
import pytest
import torch

from sensorium.data.unnamed_file import UnnamedFile
from sensorium.errors import DataError


def forked(make):
    """Start a process that writes numbers to a file and waits; return it, and a pipe that tells the address."""
    reads, writes = os.pipe()
    if process := os.fork():
        os.close(writes)
        return process, os.fdopen(reads, "rb")
    file = make()
    file.store(torch.arange(100_000))
    os.write(writes, pickle.dumps(file.address()))
    time.sleep(60)
    os._exit(0)


@pytest.mark.parametrize("in_folder", [False, True])
def test_values_come_back(in_folder, tmp_path):
    file = UnnamedFile(tmp_path if in_folder else None)
    values = [
        torch.randn(3, 5).bfloat16(),
        torch.tensor([True, False]),
        torch.zeros(0, 4),
        torch.tensor(7),
        np.arange(12).reshape(3, 4)[:, ::2],
        torch.randn(4, 6).T,
    ]
    stored = [file.store(value) for value in values]
    mapped = file.map()
    file.close()
    for value, where in zip(values, stored, strict=True):
        back = mapped.array(where)
        assert type(back) is type(value)
        assert back.shape == value.shape
        assert back.dtype == value.dtype
        assert (back == value).all()


def test_what_is_reserved_takes_no_room():
    file = UnnamedFile()
    file.reserve(1 << 40)
    file.store(torch.zeros(10))
    assert file.size < 1 << 16


@pytest.mark.parametrize("in_folder", [False, True])
def test_a_killed_process_leaves_nothing_and_others_keep_what_they_have(in_folder, tmp_path):
    before = set(os.listdir("/dev/shm"))
    process, pipe = forked(lambda: UnnamedFile(tmp_path if in_folder else None))
    address = pickle.load(pipe)
    assert address.is_in_reach
    mapped = address.map()
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    assert not address.is_in_reach
    assert mapped._bytes[: 8 * 100_000].view(torch.int64).sum() == sum(range(100_000))
    assert os.listdir(tmp_path) == []
    assert set(os.listdir("/dev/shm")) <= before


def test_the_same_numbers_elsewhere_are_another_file():
    file = UnnamedFile()
    address = file.address()
    assert address.is_in_reach
    assert not address._replace(machine="another").is_in_reach
    assert not address._replace(number=(address.number[0], address.number[1] + 1)).is_in_reach
    file.close()


def test_a_folder_that_takes_no_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"data\.cache_dir = .*missing takes no file .No such file or directory."):
        UnnamedFile(tmp_path / "missing")
