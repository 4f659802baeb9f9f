"""The lines that a training starts with."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from lightning_fabric import Fabric

from sensorium.devices import precision_of
from sensorium.launcher import find_launcher
from sensorium.models.plan import Plan
from sensorium.recipe.parts import Part
from sensorium.recipe.schema import Tower
from sensorium.registration.discovery import Extensions
from sensorium.runs.run import Run

log = logging.getLogger("sensorium")
MOST = 6
"""How many changed keys are listed; `recipe.yaml` in the run folder has all."""
INDENT = 12
"""The column at which the texts start; on a terminal long ones are wrapped there."""


def announce(
    plan: Plan, name: str, changed: Sequence[str], extensions: Extensions, fabric: Fabric, run: Run, resume: bool
) -> None:
    """Log what is known before any data is read: recipe, parts, device and run folder; `run.json` keeps the device.

    Args:
        plan: the parts of the recipe.
        name: what the recipe is called.
        changed: where it differs from the recipe of that name, as `key.sub=value`.
        extensions: plugins from outside are named.
        fabric: launched.
        run: the run folder.
        resume: whether the run is continued.
    """
    more = f" and {len(changed) - MOST} more" if len(changed) > MOST else ""
    _line("recipe", name + (f", with {' '.join(changed[:MOST])}{more}" if changed else ""))
    _line("parts", _parts(plan, extensions))
    train, world = plan.recipe.train, fabric.world_size
    strategy = f" ({train.strategy if train.strategy != 'auto' else 'ddp'})" if world > 1 else ""
    processes = f"{world} process{'es' if world > 1 else ''}{strategy}"
    for path, part in extensions.registry.given.items():
        if part.module is not None and path.endswith(".encoder"):
            name = path.split(".")[1]
            _line("note", f"a copy of the encoder of '{name}' is trained, and is model.encoder('{name}')")
    if (unused := find_launcher().unused(train.devices, train.nodes)) is not None:
        _line("note", unused)
    device = f"{fabric.device.type}, {processes}, {precision_of(train.precision, fabric.device.type)}"
    _line("device", device)
    run.update(device=device)
    _line("run folder", f"{run.folder}{', resumed' if resume else ''}")


def announce_records(sizes: Mapping[str, int], auto: Mapping[str, Any]) -> None:
    """Log how many records each part of the split has, and which values (by recipe key) stand for `auto`."""
    records = ", ".join(f"{size:,} {part}" for part, size in sizes.items())
    chosen = ", ".join(f"{path}={value:.4g}" for path, value in auto.items())
    _line("records", records + (f"; auto: {chosen}" if chosen else ""))


def announce_parameters(counts: Mapping[str, Mapping[str, int]]) -> None:
    """Log how many parameters are trained, where it is not all of an encoder.

    Args:
        counts: modality name, or "objective" -> the numbers of those that are trained, and of all.
    """
    towers = [(name, its["trained"], its["all"]) for name, its in counts.items() if name != "objective"]
    if any(trained < every for _, trained, every in towers):
        shown = [f"{name} {trained:,} of {every:,} ({trained / every:.2%})" for name, trained, every in towers]
        _line("trained", f"parameters of {', '.join(shown)}; of the objective {counts['objective']['trained']:,}")


def announce_notes(notes: Sequence[str]) -> None:
    """Log what a user must know about the data, one line for each sentence."""
    for note in notes:
        _line("note", note)


def _parts(plan: Plan, extensions: Extensions) -> str:
    towers = [_tower(name, tower) for name, tower in plan.recipe.modalities.items()]
    outside = [
        f"{plugin.name} ({plugin.distribution} {plugin.version})".replace(" )", ")")
        for plugin in extensions.third_party()
    ]
    plugins = [f"plugins {', '.join(outside)}"] if outside else []
    return "; ".join([*towers, f"objective {plan.recipe.objective_in_words}", *plugins])


def _tower(name: str, tower: Tower) -> str:
    if tower.encoder.share is not None:
        return f"{name}: views {tower.views_in_words}, encoder {tower.encoder}"
    modality = (tower.modality or Part(name=name)).name
    kind = "" if modality == name else f" ({modality})"
    return f"{name}{kind}: views {tower.views_in_words}, encoder {tower.encoder}{_frozen(tower)}"


def _frozen(tower: Tower) -> str:
    """Return what of an encoder is not trained, as words behind its name."""
    if tower.frozen is True:
        return ", frozen"
    depth = "" if tower.frozen is False else f", frozen to block {tower.frozen}"
    return depth + ("" if tower.lora is None else f", LoRA of rank {tower.lora.rank}")


def _line(title: str, text: str) -> None:
    log.info("%-*s%s", INDENT, title, text, extra={"indent": INDENT})
