"""The memory that a process may use is that of its machine, its container and its job, whichever is least."""

import math

import pytest

from sensorium.data import memory as of_memory
from sensorium.data.memory import memory

MEMINFO = "MemTotal:  1000 kB\nMemFree:  1 kB\nMemAvailable:  800 kB\n"
NAMES = {
    "0::": ("", "memory.max", "memory.current", "inactive_file"),
    "4:memory:": ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


@pytest.fixture
def system(tmp_path, monkeypatch):
    (tmp_path / "meminfo").write_text(MEMINFO)
    for name, path in (("MEMINFO", "meminfo"), ("GROUPS", "groups"), ("MOUNT", "cgroup")):
        monkeypatch.setattr(of_memory, name, tmp_path / path)
    return tmp_path


def limited(system, line, path, limit, used=None, files=0):
    """A control group of the process has a limit."""
    sub, limit_file, used_file, in_stat = NAMES[line]
    (system / "groups").write_text(f"2:cpu:/\n{line}/job/step\n")
    folder = system / "cgroup" / sub / path
    folder.mkdir(parents=True, exist_ok=True)
    (folder / limit_file).write_text(f"{limit}\n")
    if used is not None:
        (folder / used_file).write_text(f"{used}\n")
        (folder / "memory.stat").write_text(f"anon 1\n{in_stat} {files}\n")


def test_without_a_limit_it_is_that_of_the_machine(system):
    assert memory() == (1_024_000, 819_200)
    limited(system, "0::", "job/step", "max")
    assert memory() == (1_024_000, 819_200)


@pytest.mark.parametrize("line", NAMES)
@pytest.mark.parametrize("path", ["", "job", "job/step"])
def test_any_group_above_a_process_may_limit_it(system, line, path):
    limited(system, line, path, 600_000, 100_000)
    assert memory() == (600_000, 500_000)


@pytest.mark.parametrize("line", NAMES)
def test_cached_files_count_as_free(system, line):
    limited(system, line, "job", 600_000, 590_000, 400_000)
    assert memory() == (600_000, 410_000)


def test_where_the_system_reports_nothing_it_is_infinite(system):
    (system / "meminfo").unlink()
    assert memory() == (math.inf, math.inf)
