"""What the doctor says under conditions that this machine does not have."""

from dataclasses import replace

import pytest

from sensorium.data.memory import Space
from sensorium.doctor.advice import advise, size
from sensorium.doctor.machine import Device
from sensorium.doctor.rates import DecodeRate
from sensorium.launcher import Launcher
from sensorium.recipe import read_recipe
from sensorium.registration.discovery import load_extensions
from tests import toys

from .conditions import BALANCED, CPU, GB, GPU, H100, STARVED

OLD = Device("cuda", "Tesla P100", Space(16 * GB, 16 * GB), has_bf16=False)


def recipe(**changes):
    changes = {"train": {"epochs": 1}, "data": {"batch": 256}} | changes
    return read_recipe(toys.recipe(**changes), load_extensions().registry)


def test_nothing_is_said_of_what_is_well():
    assert advise(CPU) == []
    assert advise(CPU, recipe(), BALANCED) == []


@pytest.mark.parametrize(
    ("machine", "changes", "change"),
    [
        (GPU, {"accelerator": "cpu"}, "train.accelerator=auto"),
        (GPU, {"precision": "32-true"}, "train.precision=bf16-mixed"),
        (replace(GPU, devices=[OLD], precision="32-true"), {}, "train.precision=16-mixed"),
        (replace(GPU, devices=[H100] * 4), {}, "train.devices=auto"),
        (replace(CPU, threads=1), {}, "OMP_NUM_THREADS=16"),
        (replace(CPU, cores=2, threads=2, workers=2), {"devices": 4}, "train.devices=2"),
        (replace(CPU, has_unused_driver=True), {}, "install torch as https://pytorch.org/get-started/locally says"),
        (replace(CPU, broken=["plugin 'x' (x 1) failed: it raised"]), {}, "sensorium plugins"),
    ],
)
def test_a_device_that_is_not_used_as_it_could_be(machine, changes, change):
    found = advise(machine, recipe(train={"epochs": 1} | changes), replace(BALANCED, device=machine.accelerator))
    assert [advice.change for advice in found][:1] == [change]


def test_processes_of_a_launcher_have_their_devices():
    machine = replace(GPU, devices=[H100] * 4, launcher=Launcher("torchrun", 0, 4, 4))
    assert "train.devices=auto" not in [advice.change for advice in advise(machine, recipe(), BALANCED)]


@pytest.mark.parametrize(
    ("shared", "change", "said"),
    [
        (Space(64e6, 62e6), "data.workers=2", "62 MB of /dev/shm are free"),
        (Space(64e6, 1e6), "data.workers=0", "1 MB of /dev/shm are free"),
        (None, "data.workers=0", "but no /dev/shm"),
    ],
)
def test_workers_need_shared_memory(shared, change, said):
    found = advise(replace(CPU, shared_memory=shared), recipe(), replace(BALANCED, batch_bytes=10_000_000))
    assert found[0].change == change
    assert said in found[0].problem
    assert "--shm-size" in found[0].problem
    cached = replace(BALANCED, batch_bytes=10_000_000, cache="ram")
    assert advise(replace(CPU, shared_memory=shared), recipe(data={"cache": "ram"}), cached) == []


@pytest.mark.parametrize(
    ("machine", "rates", "change"),
    [
        (GPU, STARVED, "data.cache=device"),
        (GPU, replace(STARVED, cache_bytes=70 * GB), "data.workers=16"),  # fits on neither
        (replace(GPU, devices=[OLD]), replace(STARVED, cache_bytes=20 * GB), "data.cache=ram"),
        (GPU, replace(STARVED, is_cacheable=False), "data.workers=16"),
        (replace(GPU, cores=8), replace(STARVED, is_cacheable=False), "smaller files, such as images resized once"),
        (
            GPU,
            replace(STARVED, is_cacheable=False, decode=[DecodeRate(0, 12_000.0), DecodeRate(8, 9_000.0)]),
            "data.workers=0",
        ),
    ],
)
def test_a_training_that_waits_for_its_loader(machine, rates, change):
    found = [advice.change for advice in advise(machine, recipe(), rates)]
    assert change in found
    assert rates.bottleneck == "loader"


def test_a_training_that_hardly_waits_is_left_alone():
    assert advise(GPU, recipe(), replace(STARVED, steps_per_second=9_500.0)) == []
    busy = replace(STARVED, steps_per_second=900.0)
    assert [advice.change for advice in advise(GPU, recipe(), busy)] == ["train.compile=true"]
    assert advise(GPU, recipe(train={"epochs": 1, "compile": True}), busy) == []


@pytest.mark.parametrize(
    ("cache", "needed", "change"),
    [
        ("device", 70 * GB, "data.cache=disk"),
        ("ram", 45 * GB, "data.cache=disk"),
        ("device", 30 * GB, "data.cache=ram"),
    ],
)
def test_a_cache_that_does_not_fit(cache, needed, change):
    machine = replace(GPU, devices=[replace(H100, memory=Space(30 * GB, 28 * GB))])
    rates = replace(STARVED, cache=cache, cache_bytes=needed)
    found = advise(machine, recipe(data={"cache": cache}), rates)
    assert found[0].change == change
    assert size(needed) in found[0].problem


def test_checkpoints_that_do_not_fit_on_the_disk():
    found = advise(replace(CPU, disk=Space(GB, GB)), recipe(), replace(BALANCED, checkpoint_bytes=GB // 3))
    assert [advice.change for advice in found] == ["--run-dir DIR"]


def test_a_bottleneck_is_named():
    assert STARVED.bottleneck == "loader"
    assert replace(STARVED, cache="device").bottleneck == "model"
    assert replace(STARVED, cache="device", views_per_second=25_000.0).bottleneck == "views"
    assert STARVED.epoch_seconds == pytest.approx(50_000 / 9_000)
    assert replace(STARVED, cache="ram").epoch_seconds == pytest.approx(2.5)


def test_sizes_are_written_for_people():
    assert [size(n) for n in (12, 1_500, 2_000_000, 1.57e9, 3e12)] == ["12 B", "1.5 kB", "2 MB", "1.57 GB", "3 TB"]
