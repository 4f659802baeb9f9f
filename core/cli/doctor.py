"""`sensorium doctor`: one screen about this machine, and about a recipe on it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from sensorium.cli.json_output import print_json
from sensorium.cli.output import wrap

if TYPE_CHECKING:
    from sensorium.doctor.diagnosis import Diagnosis
    from sensorium.doctor.machine import Machine
    from sensorium.doctor.rates import Rates

INDENT = 12
"""The column at which texts start, after the longest title."""
WAITS = {
    "loader": "steps wait for the loader",
    "views": "views take most of a step",
    "model": "the model takes most of a step",
}


def doctor(
    recipe: Annotated[
        str | None, typer.Argument(help="A recipe whose rates are measured: a shipped name or a file.")
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Changes to the recipe: key.sub=value, any number of them.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.0, help="How long each rate is measured.")] = 3.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Inspect this machine: versions, devices, memory, missing extras; with a RECIPE, its speed and what to change.

    With a recipe, some of its records are decoded with and without loader workers, views are made of them and some
    steps are trained; nothing is kept.
    """
    from sensorium.cli.output import show_log
    from sensorium.doctor.diagnosis import diagnose
    from sensorium.registration.discovery import load_extensions
    from sensorium.training.fabric import launching_rank

    show_log()
    found = diagnose(recipe, overrides or [], load_extensions(), seconds=seconds)
    if launching_rank() != 0:
        return
    if as_json:
        print_json(found.public())
    else:
        print_diagnosis(found, Console())


def print_diagnosis(found: Diagnosis, console: Console) -> None:
    """Print what the doctor found on one screen."""
    for title, text in _about_machine(found.machine):
        _print_row(title, text, console)
    console.print()
    if found.rates is not None:
        for title, text in _about_rates(found.rates):
            _print_row(title, text, console)
        console.print()
    if not found.advice:
        console.print("Nothing to change.", style="green")
        return
    console.print("What to change", style="bold")
    for number, advice in enumerate(found.advice, 1):
        console.print(Text(wrap(f"{number}. {advice.problem}.", console.width, 3)))
        console.print(Text(f"   {advice.change}", style="cyan"), soft_wrap=True)  # one line, to be copied


def _print_row(title: str, text: str, console: Console) -> None:
    row = Text(wrap(f"{title:{INDENT}}{text}", console.width, INDENT))
    row.stylize("bold", 0, len(title))
    console.print(row)


def _about_machine(machine: Machine) -> Iterator[tuple[str, str]]:
    from sensorium.doctor.advice import size

    yield "versions", ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    workers = _count(machine.workers, "loader worker")
    yield "processor", f"{machine.cpu}, {_count(machine.cores, 'core')}, {_count(machine.threads, 'thread')}, {workers}"
    for (kind, name), alike in groupby(machine.devices, key=lambda device: (device.kind, device.name)):
        device, *others = alike
        memory = f", {size(device.memory.free)} free of {size(device.memory.total)}" if device.memory else ""
        count = f"{1 + len(others)} x " if others else ""
        yield kind, f"{count}{name}{memory}{'' if device.has_bf16 else ', no bfloat16'}"
    yield "training", f"on {machine.accelerator} in {machine.precision}, where the recipe says auto"
    processes = (
        f"{_count(machine.launcher.processes, 'process', 'es')}, {machine.launcher.local_processes} on this node"
    )
    yield "launcher", "none" if machine.launcher.name == "none" else f"{machine.launcher.name}, {processes}"
    shared = machine.shared_memory
    free = f"{size(machine.memory.free)} free of {size(machine.memory.total)}"
    yield "memory", f"{free}; /dev/shm {'is not there' if shared is None else f'{size(shared.free)} free'}"
    yield "disk", f"{size(machine.disk.free)} free of {size(machine.disk.total)}"
    for missing in machine.missing:
        more = f" and {len(missing.parts) - 1} more" if len(missing.parts) > 1 else ""
        yield "missing", f"{missing.install} ({', '.join(missing.packages)}), for {missing.parts[0]}{more}"


def _about_rates(rates: Rates) -> Iterator[tuple[str, str]]:
    from sensorium.doctor.advice import size

    yield "recipe", f"{rates.name}: {', '.join(f'{count:,} {part}' for part, count in rates.records.items())}"
    cache = f"all records decoded {size(rates.cache_bytes)}" if rates.is_cacheable else "cannot be cached"
    yield "batch", f"{rates.batch:,} records, {size(rates.batch_bytes)}; {cache}; data.cache={rates.cache}"
    decoded = (f"{r.records_per_second:,.0f} with {_count(r.workers, 'worker')}" for r in rates.decode)
    yield "decode", f"{', '.join(decoded)}, in records/s"
    batches = f", batches of {rates.measured_batch:,}" if rates.measured_batch < rates.batch else ""
    yield "views", f"{rates.views_per_second:,.0f} records/s on {rates.device}{batches}"
    peak = f", {size(rates.device_bytes)} of its memory" if rates.device_bytes is not None else ""
    yield "step", f"{rates.steps_per_second:,.0f} records/s, views included, in {rates.precision}{peak}"
    waits, checkpoint = WAITS[rates.bottleneck], size(rates.checkpoint_bytes)
    yield "epoch", f"about {_duration(rates.epoch_seconds)}; {waits}; checkpoint {checkpoint}"


def _count(number: int, word: str, ending: str = "s") -> str:
    return f"{number} {word}{ending if number != 1 else ''}"


def _duration(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.2g} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6_000 else f"{seconds / 3600:.1f} h"
