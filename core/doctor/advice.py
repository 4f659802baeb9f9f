"""What to change on this machine, or for a recipe on it: a function of what was found, each with the option line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sensorium.doctor.machine import Machine
from sensorium.doctor.rates import Rates
from sensorium.recipe.schema import Recipe

SMALL_SHARED_MEMORY = 1 << 30
"""Containers have 64 MiB of /dev/shm by default; loader workers want more than this."""
PREFETCHED = 3
"""Batches that each loader worker may have under way: two that wait and one in the making."""
ROOM = 0.8
"""Fraction of free memory that a cache may take."""
SLACK = 1.1
"""A rate that is smaller by less than this factor is no bottleneck."""


@dataclass(frozen=True)
class Advice:
    """One thing to change.

    Args:
        problem: what was found, a sentence without a full stop.
        change: an option as a recipe has it (`data.cache=ram`), a command, or what else to do.
    """

    problem: str
    change: str


def advise(machine: Machine, recipe: Recipe | None = None, rates: Rates | None = None) -> list[Advice]:
    """Return what to change, the most important first.

    Args:
        machine: what was found.
        recipe: what is to be trained.
        rates: of that recipe.
    """
    found = list(_on_machine(machine, recipe))
    if recipe is not None and rates is not None:
        found += [*_on_memory(machine, recipe, rates), *_on_speed(machine, recipe, rates)]
    return found


def _on_machine(machine: Machine, recipe: Recipe | None) -> Iterator[Advice]:
    for sentence in machine.broken:
        yield Advice(sentence[0].upper() + sentence[1:], "sensorium plugins")
    if machine.has_unused_driver:
        yield Advice(
            "There is an NVIDIA driver, but torch sees no CUDA device: it is built without CUDA, or for a newer driver",
            "install torch as https://pytorch.org/get-started/locally says",
        )
    if machine.accelerator == "cpu" and machine.threads < machine.cores // 2:
        yield Advice(
            f"torch computes with {machine.threads} of {machine.cores} cores: a variable of the environment limits it",
            f"OMP_NUM_THREADS={machine.cores}",
        )
    cuda = [device for device in machine.devices if device.kind == "cuda"]
    if recipe is not None and not (cuda and recipe.train.accelerator in ("auto", "cuda")):
        asked = recipe.train.devices if machine.launcher.name == "none" else machine.launcher.local_processes
        if isinstance(asked, int) and asked > max(machine.cores, 1):
            yield Advice(
                f"{asked} processes share {machine.cores} cores of the CPU, and are slower than {machine.cores} are",
                f"train.devices={machine.cores}",
            )
    if recipe is not None and cuda:
        train = recipe.train
        if train.accelerator == "cpu":
            yield Advice("The recipe trains on the CPU, although there is a CUDA device", "train.accelerator=auto")
        elif train.precision == "32-true" and cuda[0].has_bf16:
            yield Advice("The recipe computes in fp32 on a device that has bfloat16", "train.precision=bf16-mixed")
        elif train.precision == "auto" and not cuda[0].has_bf16:
            yield Advice("The device has no bfloat16, so that auto means fp32", "train.precision=16-mixed")
        if len(cuda) > 1 and train.devices == 1 and machine.launcher.processes == 1:
            yield Advice(f"The recipe uses one of {len(cuda)} CUDA devices", "train.devices=auto")


def _on_memory(machine: Machine, recipe: Recipe, rates: Rates) -> Iterator[Advice]:
    prefetched = rates.workers * PREFETCHED * rates.batch_bytes
    shared = machine.shared_memory
    if rates.workers and rates.cache == "off" and (shared is None or shared.free < prefetched):
        free = "no /dev/shm" if shared is None else f"{size(shared.free)} of /dev/shm are free"
        fewer = 0 if shared is None else int(shared.free // (PREFETCHED * rates.batch_bytes))
        yield Advice(
            f"{rates.workers} loader workers send batches of {size(rates.batch_bytes)} through shared memory, "
            f"but {free} (docker run --shm-size=8g gives more)",
            f"data.workers={min(fewer, rates.workers)}",
        )
    room = _room(machine, rates, recipe.data.cache)
    if recipe.data.cache in ("ram", "device") and rates.cache_bytes > room:
        is_ram = recipe.data.cache == "device" and rates.cache_bytes < _room(machine, rates, "ram")
        smaller = "ram" if is_ram else "disk"
        yield Advice(
            f"A cache of all records takes about {size(rates.cache_bytes)}, but there is room for {size(room)}",
            f"data.cache={smaller}",
        )
    checkpoints = (recipe.checkpoint.keep + 2) * rates.checkpoint_bytes
    if machine.disk.free < checkpoints:
        yield Advice(
            f"{recipe.checkpoint.keep + 2} checkpoints of {size(rates.checkpoint_bytes)} do not fit on the disk, where "
            f"{size(machine.disk.free)} are free",
            "--run-dir DIR",
        )


def _on_speed(machine: Machine, recipe: Recipe, rates: Rates) -> Iterator[Advice]:
    without = next(rate.records_per_second for rate in rates.decode if rate.workers == 0)
    if rates.cache == "off" and rates.loaded_per_second * SLACK < rates.steps_per_second:
        waits = (
            f"The training waits for the loader: {rates.loaded_per_second:,.0f} records/s are decoded, "
            f"{rates.steps_per_second:,.0f} are trained on"
        )
        place = next((p for p in ("device", "ram") if rates.cache_bytes < _room(machine, rates, p)), None)
        if rates.is_cacheable and place is not None and (place == "ram" or rates.device != "cpu"):
            memory = "main memory" if place == "ram" else "the memory of the device"
            yield Advice(f"{waits}; decoded, all fit into {memory} ({size(rates.cache_bytes)})", f"data.cache={place}")
        elif without > rates.loaded_per_second * SLACK:
            yield Advice(f"{waits}, and {without:,.0f} without workers", "data.workers=0")
        elif rates.workers < machine.cores:
            yield Advice(
                f"{waits}, with {rates.workers} workers on {machine.cores} cores", f"data.workers={machine.cores}"
            )
        else:
            yield Advice(
                f"{waits}, with all {machine.cores} cores at work", "smaller files, such as images resized once"
            )
    if rates.bottleneck == "views" and rates.device == "cpu" and machine.accelerator == "cuda":
        yield Advice("Views take more than half of a step on the CPU", "train.accelerator=auto")
    if rates.bottleneck == "model" and rates.device == "cuda" and not recipe.train.compile:
        yield Advice(
            "The model takes most of a step; compiled, it is faster after the first minute", "train.compile=true"
        )


def _room(machine: Machine, rates: Rates, place: str) -> float:
    """Return how many bytes a cache may take in "ram" or on the "device"."""
    if place == "ram" or rates.device == "cpu":
        return ROOM * machine.memory.free
    memory = next((d.memory for d in machine.devices if d.kind == rates.device and d.memory is not None), None)
    return 0.0 if memory is None else ROOM * (memory.free - (rates.device_bytes or 0))


def size(count: float) -> str:
    """Return a number of bytes in words: "1.5 GB"."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count:.0f} B"
