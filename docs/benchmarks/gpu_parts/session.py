"""What the parts have in common: settings, rows kept in a JSON file, a clock that waits for the device."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from sensorium.devices import precision_of
from sensorium.recipe.schema import Train
from sensorium.training.precision import precision_plugin

PACKAGES = ("sensorium", "torch", "torchvision", "lightning-fabric", "timm", "open_clip_torch", "lightly")
Row = tuple[str, Callable[[], dict[str, Any]]]
"""The name of a row, and what measures it."""


class Unfinished(Exception):
    """A row that is not measured yet, and goes on when the command is given again."""


@dataclass(frozen=True)
class Settings:
    """Settings of a session.

    Args:
        device: "cuda" or "cpu".
        tiny: sizes with which every part takes seconds on a CPU.
        out: the folder of results and runs.
        deadline: of `time.monotonic`; no row begins after it.
        train: CIFAR-10's train part as Parquet.
        test: its test part.
    """

    device: torch.device
    tiny: bool
    out: Path
    deadline: float
    train: Path
    test: Path

    @property
    def seconds(self) -> float:
        """How long a rate is measured."""
        return 0.1 if self.tiny else 5.0

    @property
    def splits(self) -> list[str]:
        """Overrides of the recipe simclr-cifar10 with the paths of its data."""
        return [f"data.source.splits.{part}={getattr(self, part)}" for part in ("train", "test")]

    @property
    def precision(self) -> str:
        """The precision of training steps, as a recipe names it."""
        return precision_of("auto", self.device.type)

    def fabric(self) -> Fabric:
        """Return Fabric for one process on the device, with the precision that a recipe has by default."""
        kind = self.device.type
        plugin = precision_plugin(Train(steps=1), kind)
        return Fabric(accelerator=kind, devices=1, plugins=[plugin])


def measure_rows(part: str, rows: Iterable[Row], settings: Settings) -> bool:
    """Measure the rows of a part that its JSON file does not have yet; returns whether it then has all.

    A row that fails has the first line of its error, one whose package is missing says so; the others go on. An error
    of the device ends the process's use of it: the command, given again, goes on behind it.

    Raises:
        SystemExit: when the file is of another card.
    """
    file = settings.out / f"{part}.json"
    found = read(file) or {"part": part, "card": card(settings.device), "rows": {}, "complete": False}
    if found["card"] != card(settings.device):
        raise SystemExit(f"{file} was measured on {found['card']}: choose another folder with --out.")
    found |= {"date": time.strftime("%Y-%m-%d"), "tiny": settings.tiny, "versions": versions(), "complete": True}
    for name, measure in rows:
        if name in found["rows"] and "skipped" not in found["rows"][name]:
            continue
        if time.monotonic() > settings.deadline:
            found["complete"] = False
            break
        start = time.monotonic()
        try:
            row = measure()
        except Unfinished:
            found["complete"] = False
            break
        except ImportError as error:
            row = {"skipped": f"{error.name or error} is not installed"}
        except Exception as error:
            row = {"failed": first_line(error)}
        found["rows"][name] = row | {"took": round(time.monotonic() - start, 2)}
        print(f"{name}: {row}", flush=True)
        write(file, found)
        if "CUDA error" in row.get("failed", ""):
            found["complete"] = False
            break
    write(file, found)
    return found["complete"]


def per_second(work: Callable[[], object], settings: Settings) -> float:
    """Return how often work is done in a second, after it was done once."""

    def now() -> float:
        if settings.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    work()
    start, count = now(), 0
    while count == 0 or now() - start < settings.seconds:
        work()
        count += 1
    return count / (now() - start)


def peak_memory(work: Callable[[], object], device: torch.device) -> float | None:
    """Return the peak memory of the device while work is done once, in GB; None on a CPU."""
    if device.type != "cuda":
        return None
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    work()
    return (torch.cuda.max_memory_allocated() - before) / 1e9


def card(device: torch.device) -> str:
    """Return the name of the device, or of the processor."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU ({platform.machine()})"


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that are measured."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def first_line(error: BaseException) -> str:
    """Return the type and the first line of an error."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def read(file: Path) -> dict[str, Any] | None:
    """Return the results in a file, None when there is none."""
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


def write(file: Path, found: dict[str, Any]) -> None:
    """Write results to a file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
