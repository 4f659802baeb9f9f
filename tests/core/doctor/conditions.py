"""A machine and rates for tests: what a test is about is replaced in them."""

from dataclasses import replace

from sensorium.data.memory import Space
from sensorium.doctor.machine import Device, Machine
from sensorium.doctor.rates import DecodeRate, Rates
from sensorium.launcher import Launcher

GB = 10**9
H100 = Device("cuda", "NVIDIA H100", Space(80 * GB, 78 * GB), has_bf16=True)
CPU = Machine(
    versions={"python": "3.11.7", "torch": "2.14.1"},
    cpu="A processor",
    cores=16,
    threads=16,
    workers=8,
    devices=[],
    has_unused_driver=False,
    accelerator="cpu",
    precision="32-true",
    launcher=Launcher("none"),
    memory=Space(64 * GB, 50 * GB),
    shared_memory=Space(32 * GB, 32 * GB),
    disk=Space(500 * GB, 200 * GB),
    missing=[],
    broken=[],
)
"""A machine without an accelerator, and with nothing to complain of."""
GPU = replace(CPU, devices=[H100], accelerator="cuda", precision="bf16-mixed")
BALANCED = Rates(
    name="toy",
    records={"train": 50_000, "val": 0, "test": 10_000},
    batch=256,
    batch_bytes=256 * 3072,
    cache_bytes=50_000 * 3072,
    is_cacheable=True,
    cache="off",
    workers=8,
    decode=[DecodeRate(0, 1_500.0), DecodeRate(8, 9_000.0)],
    device="cpu",
    precision="32-true",
    measured_batch=64,
    views_per_second=12_000.0,
    steps_per_second=1_000.0,
    checkpoint_bytes=30_000_000,
    device_bytes=None,
)
"""A model that is slower than its loader."""
STARVED = replace(
    BALANCED,
    device="cuda",
    precision="bf16-mixed",
    steps_per_second=20_000.0,
    views_per_second=90_000.0,
    device_bytes=GB,
)
"""A model on a GPU that waits for its loader."""
