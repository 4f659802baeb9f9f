"""Facts about this machine: versions, devices, launcher, memory, disk, and which optional packages are missing."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import sensorium
from sensorium.data.loader import worker_count
from sensorium.data.memory import Space, memory
from sensorium.devices import find_device, precision_of
from sensorium.launcher import Launcher, find_launcher
from sensorium.registration.discovery import Extensions
from sensorium.registration.registry import KINDS, SINGULAR, Spec

PACKAGES = (
    *("torch", "torchvision", "torchaudio", "torch_geometric", "lightning-fabric"),
    *("open_clip_torch", "timm", "numpy", "scikit-learn", "pyarrow"),
)
SHARED_MEMORY = Path("/dev/shm")
NVIDIA = Path("/proc/driver/nvidia/version")
"""There where the machine has a driver of NVIDIA, whatever torch was built for."""


@dataclass(frozen=True)
class Device:
    """An accelerator.

    Args:
        kind: cuda or mps.
        name: what its maker calls it.
        memory: of the device; None where it shares that of the machine.
        has_bf16: whether it computes in bfloat16.
    """

    kind: str
    name: str
    memory: Space | None
    has_bf16: bool


@dataclass(frozen=True)
class Missing:
    """Optional packages that are not installed.

    Args:
        install: what pip is to install.
        packages: their import names.
        parts: the registered parts that need them, such as "evaluator catch22".
    """

    install: str
    packages: list[str]
    parts: list[str]


@dataclass(frozen=True)
class Machine:
    """This machine, as a training would find it.

    Args:
        versions: of Python and of the packages that decide how a training runs.
        cpu: the processor.
        cores: processor cores that this process may use.
        threads: that torch computes with on the CPU.
        workers: loader workers that `data.workers=auto` stands for.
        devices: accelerators.
        has_unused_driver: there is an NVIDIA driver, but torch sees no CUDA device.
        accelerator: what `train.accelerator=auto` stands for.
        precision: what `train.precision=auto` stands for.
        launcher: who starts the processes.
        memory: main memory.
        shared_memory: of /dev/shm, through which loader workers send batches; None where there is none.
        disk: of the folder that runs are written to.
        missing: optional packages that are not installed.
        broken: a sentence for each plugin that could not be loaded.
    """

    versions: dict[str, str]
    cpu: str
    cores: int
    threads: int
    workers: int
    devices: list[Device]
    has_unused_driver: bool
    accelerator: str
    precision: str
    launcher: Launcher
    memory: Space
    shared_memory: Space | None
    disk: Space
    missing: list[Missing]
    broken: list[str]


def inspect_machine(extensions: Extensions, folder: str | Path = ".") -> Machine:
    """Return the facts about this machine.

    Args:
        extensions: the plugins whose states and requirements are reported.
        folder: where runs are written.
    """
    accelerator = find_device("auto", "train.accelerator").type
    return Machine(
        versions=_versions(),
        cpu=_processor(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        threads=torch.get_num_threads(),
        workers=worker_count("auto"),
        devices=_devices(),
        has_unused_driver=NVIDIA.exists() and not torch.cuda.is_available(),
        accelerator=accelerator,
        precision=precision_of("auto", accelerator),
        launcher=find_launcher(),
        memory=memory(),
        shared_memory=_space(SHARED_MEMORY) if SHARED_MEMORY.is_dir() else None,
        disk=_space(folder),
        missing=missing_extras([spec for kind in KINDS for spec in extensions.registry.specs(kind)]),
        broken=[plugin.sentence for plugin in extensions.plugins if plugin.is_broken],
    )


def missing_extras(specs: Sequence[Spec]) -> list[Missing]:
    """Return what is not installed, grouped by what pip is to install."""
    found: dict[str, dict[str, dict[str, None]]] = {}
    for spec in specs:
        if not (packages := spec.missing_packages()):
            continue
        install = f"{spec.distribution}[{spec.extra}]" if spec.extra else " ".join(packages)
        group = found.setdefault(install, {"packages": {}, "parts": {}})
        group["packages"] |= dict.fromkeys(packages)
        group["parts"][f"{SINGULAR[spec.kind]} {spec.name}"] = None
    return [Missing(install, list(group["packages"]), list(group["parts"])) for install, group in found.items()]


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "sensorium": sensorium.__version__}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    if torch.version.cuda:
        found["cuda"] = torch.version.cuda
    return found


def _devices() -> list[Device]:
    found = []
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        free, total = torch.cuda.mem_get_info(index)
        name = torch.cuda.get_device_name(index)
        found.append(Device("cuda", name, Space(total, free), torch.cuda.is_bf16_supported()))
    if torch.backends.mps.is_available():
        found.append(Device("mps", platform.processor() or "mps", None, False))
    return found


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    named = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return named or platform.processor() or platform.machine()


def _space(folder: str | Path) -> Space:
    """Return the space of the file system that a folder is, or will be, on."""
    path = Path(folder).absolute()
    while not path.exists():
        path = path.parent
    usage: Any = shutil.disk_usage(path)
    return Space(usage.total, usage.free)
