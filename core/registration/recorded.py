"""What a run or an export recorded of its plugins, against those of this process: what is missing, what has changed."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from typing import Any

from sensorium.registration.discovery import Extensions, Plugin, normalize
from sensorium.registration.registry import KINDS, SESSION, Absent, Spec

log = logging.getLogger("sensorium")


Record = Mapping[str, Any]
"""What is recorded of a plugin: `name`, `distribution`, `version`, and in `registered` its names by kind."""


def recorded_of(records: Iterable[Record], used: Collection[str]) -> list[dict[str, Any]]:
    """Return those of the records whose plugins registered any of these names, with these names alone."""
    kept = []
    for record in records:
        registered = {kind: [n for n in names if n in used] for kind, names in record["registered"].items()}
        if registered := {kind: names for kind, names in registered.items() if names}:
            kept.append({key: record[key] for key in ("name", "distribution", "version")} | {"registered": registered})
    return kept


def with_recorded(extensions: Extensions, records: Iterable[Record], used: Collection[str]) -> Extensions:
    """Return extensions that say, of each part that is recorded and not there, what to install.

    Logs once in a process which plugins have another version than that which is recorded.

    Args:
        extensions: those of this process.
        records: of a run or an export.
        used: names of the parts that are used; the versions of plugins with no such part are of no interest.
    """
    for record in records:
        if record["name"] == SESSION:
            continue
        plugin = _here(record, extensions)
        specs = [spec for spec in _specs(record) if spec.kind in KINDS and not _is_there(spec, extensions)]
        if specs:
            error = plugin.error if plugin else None
            extensions = extensions.with_absent(Absent(_remedy(record, plugin), error, tuple(specs)))
        names = {name for registered in record["registered"].values() for name in registered}
        if plugin and plugin.state == "loaded" and plugin.version != record["version"] and names & set(used):
            _say_once(f"{_label(record)} was recorded; {plugin.version} is installed, and results may differ.")
    return extensions


def part_names(plain: Any) -> set[str]:
    """Return the names of the parts in a recipe, or a section of one, of plain values."""
    if isinstance(plain, Mapping):
        own = {plain["name"]} if isinstance(plain.get("name"), str) else set()
        return own.union(*map(part_names, plain.values()))
    return set().union(*map(part_names, plain)) if isinstance(plain, list | tuple) else set()


def _here(record: Record, extensions: Extensions) -> Plugin | None:
    key = normalize(record["name"]), normalize(record["distribution"])
    return next((p for p in extensions.plugins if (normalize(p.name), normalize(p.distribution)) == key), None)


def _specs(record: Record) -> list[Spec]:
    return [
        Spec(kind, name, "", "", record["name"], record["distribution"])
        for kind, names in record["registered"].items()
        for name in names
    ]


def _is_there(spec: Spec, extensions: Extensions) -> bool:
    return any(
        (spec.name, spec.plugin, spec.distribution) == (other.name, other.plugin, other.distribution)
        for other in extensions.registry.specs(spec.kind)
    )


def _label(record: Record) -> str:
    return f"plugin '{record['name']}' ({record['distribution']} {record['version']})"


def _remedy(record: Record, plugin: Plugin | None) -> str:
    """Return what to do about a part that its plugin does not give, without a full stop."""
    known = record["distribution"] != "unknown"
    install = f": pip install '{record['distribution']}=={record['version']}'" if known else ""
    if plugin is None:
        return f"it is of {_label(record)}, which is not installed{install}"
    if plugin.state == "loaded":
        return f"it is of {_label(record)}, which as installed here ({plugin.version}) does not register it{install}"
    version = f"; installed is {plugin.version}" if plugin.version != record["version"] else ""
    return f"it is of {_label(record)}, which {plugin.sentence.removeprefix(f'{plugin.label} ')}{version}"


@cache
def _say_once(sentence: str) -> None:
    log.warning("%s%s", sentence[0].upper(), sentence[1:])
