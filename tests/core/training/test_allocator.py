"""What a training on a CPU frees is not returned to the kernel at every step."""

import subprocess
import sys

import pytest

from sensorium.training.allocator import keep_freed_memory

COUNT = """
import resource
import torch
from sensorium.training.allocator import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(16, 2**20).relu()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

returned = faults()
assert keep_freed_memory()
faults()
print(returned, faults())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other allocators")
def test_large_tensors_are_not_mapped_anew():
    found = subprocess.run([sys.executable, "-c", COUNT], capture_output=True, text=True, check=True)
    returned, kept = map(int, found.stdout.split())
    assert returned > 1000
    assert kept < returned / 10


def test_other_systems_are_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_freed_memory()
