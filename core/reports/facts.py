"""Facts of a run for the head of its page, read from its folder alone: no plugin, model or record is needed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import yaml

from sensorium.evaluation.tables import ResultsTable
from sensorium.runs.run import Run

LINES = 50
"""Warnings of a log that a page shows."""
SAID = re.compile(r"^\S+ \S+ (WARNING|ERROR) (.*)$")
STATES = {
    "created": "was begun, and has taken no step",
    "running": "is running, or was killed",
    "interrupted": "was interrupted",
    "failed": "failed",
}
"""State of a run that is not finished -> the words of a sentence."""


@dataclass(frozen=True)
class Facts:
    """What a page says of a run.

    Args:
        summary: name -> value, in words.
        unfinished: a sentence for a run that is not finished, or "".
        warnings: those of its log, oldest first, and how often each was said.
        notes: what its training said of the data.
        recipe: the text of its recipe.
        versions: package -> version.
        plugins: distribution and version -> the names of its plugins, with the reason of one that is not loaded.
        failed: evaluator -> why it has no table.
    """

    summary: dict[str, str]
    unfinished: str
    warnings: dict[str, int]
    notes: list[str]
    recipe: str
    versions: dict[str, str]
    plugins: dict[str, str]
    failed: dict[str, str]


def facts_of(run: Run, tables: Mapping[str, ResultsTable]) -> Facts:
    """Return the facts of a run.

    Args:
        run: the run folder.
        tables: of its evaluations, whose splits are named.
    """
    status, text = run.status(), run.recipe_file.read_text(encoding="utf-8")
    warnings, last_error = _said(run)
    return Facts(
        summary=_summary(run, status, yaml.safe_load(text), tables),
        unfinished=_unfinished(status, last_error),
        warnings=warnings,
        notes=status.get("notes", []),
        recipe=text,
        versions=status.get("versions", {}),
        plugins=_plugins(status.get("plugins", [])),
        failed=status.get("failed_evaluators", {}),
    )


def flat(recipe: Mapping[str, Any], parent: str = "") -> dict[str, Any]:
    """Return the values of a recipe by their keys with dots."""
    values: dict[str, Any] = {}
    for key, value in recipe.items():
        values |= flat(value, f"{parent}{key}.") if isinstance(value, Mapping) and value else {f"{parent}{key}": value}
    return values


def _summary(
    run: Run, status: Mapping[str, Any], recipe: Mapping[str, Any], tables: Mapping[str, ResultsTable]
) -> dict[str, str]:
    named = {name: _tower(tower) for name, tower in recipe["modalities"].items()}
    steps = f", step {status['step']:,} of {status['steps']:,}" if {"step", "steps"} <= status.keys() else ""
    objectives = recipe["objective"] if isinstance(recipe["objective"], list) else [recipe["objective"]]
    records = {part: f"{its['count']:,} {part}" for part, its in status.get("records", {}).items()}
    splits = list(dict.fromkeys(table.split for table in tables.values()))
    counts = status.get("parameters", {})
    found = {
        "Folder": str(run.folder),
        "State": status.get("state", "unknown") + steps,
        "Finished early": status.get("finished_by") or "",
        "Objective": ", ".join(_part(one) for one in objectives),
        **{f"Modality {name}": words for name, words in named.items()},
        "Data": _part(recipe["data"]["source"]),
        "Records": ", ".join(records.values()),
        "Split": ", ".join(splits) and f"{', '.join(splits)} (hash of the ids of the train and of the test records)",
        "Seed": str(recipe.get("seed", "")),
        "Device": status.get("device", ""),
        "Time": _time(status),
        "Parameters": ", ".join(f"{its['all']:,} {name}" for name, its in counts.items() if its["all"]),
    }
    return {name: value for name, value in found.items() if value}


def _tower(tower: Mapping[str, Any]) -> str:
    views = tower.get("views")
    seen = f", views {_part(views)}" if views else ""
    return f"{_part(tower['modality'])}, encoder {_part(tower['encoder'])}{seen}"


def _part(part: Any) -> str:
    """Return a part of a recipe in a line: its name, and its options behind it."""
    if not isinstance(part, Mapping):
        return str(part)
    options = [f"{key}: {value}" for key, value in part.items() if key != "name" and value is not None]
    named = str(part.get("name", ""))
    return f"{named} ({', '.join(options)})" if options and named else named or ", ".join(options)


def _time(status: Mapping[str, Any]) -> str:
    """Return how long the run took to reach its state, or to write last."""
    try:
        first = datetime.fromisoformat(status["started"])
        seconds = (datetime.fromisoformat(status.get("since", status["updated"])) - first).total_seconds()
    except (KeyError, ValueError):
        return ""
    again = len(status.get("resumptions", []))
    words = f", pauses included: it was resumed {again} time{'s' * (again > 1)}" if again else ""
    took = f"{seconds:.0f} seconds" if seconds < 60 else f"{seconds / 60:.1f} minutes"
    return f"{took}, from {first:%Y-%m-%d %H:%M}{words}"


def _unfinished(status: Mapping[str, Any], last_error: str) -> str:
    state = status.get("state", "created")
    if state == "finished":
        return ""
    at = f" at step {status['step']:,} of {status['steps']:,}" if {"step", "steps"} <= status.keys() else ""
    why = f": {last_error}" if last_error and state in ("failed", "interrupted") else "."
    return f"This run {STATES.get(state, f'is in the state {state}')}{at}{why}"


def _plugins(plugins: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the plugins of each distribution."""
    found: dict[str, list[str]] = {}
    for plugin in plugins:
        why = "" if plugin.get("state") == "loaded" else f" ({plugin.get('reason') or plugin.get('state')})"
        version = f"{plugin.get('distribution', '')} {plugin.get('version', '')}".strip()
        found.setdefault(version, []).append(f"{plugin['name']}{why}")
    return {version: ", ".join(names) for version, names in found.items()}


def _said(run: Run) -> tuple[dict[str, int], str]:
    """Return the warnings of a run's log with their counts, and its last error."""
    warnings, last = dict[str, int](), ""
    text = run.log_file.read_text(encoding="utf-8", errors="replace") if run.log_file.exists() else ""
    for line in text.splitlines():
        if (found := SAID.match(line)) is None:
            continue
        kind, sentence = found.groups()
        if kind == "ERROR":
            last = sentence
        elif sentence in warnings or len(warnings) < LINES:
            warnings[sentence] = warnings.get(sentence, 0) + 1
    return warnings, last
