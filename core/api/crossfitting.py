"""Pretraining and evaluation once for each group left out."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sensorium.api.training import fit
from sensorium.contracts import Source
from sensorium.contracts.record_columns import numbered
from sensorium.errors import DataError, EvaluationError, Interrupted, RunError
from sensorium.evaluation.crossfitting import crossfit_tables
from sensorium.evaluation.labels import choose_column, is_missing
from sensorium.evaluation.tables import ResultsTable, ResultsTables
from sensorium.models.given import read_given
from sensorium.models.plan import make_plan
from sensorium.recipe import Recipe
from sensorium.registration.blame import naming_plugins
from sensorium.registration.discovery import Extensions, load_extensions
from sensorium.runs.atomic import write_json
from sensorium.runs.run import Run

log = logging.getLogger("sensorium")


@naming_plugins
def crossfit(
    recipe: Recipe | Mapping[str, Any] | str | Path,
    by: str,
    overrides: Sequence[str] = (),
    *,
    source: Any = None,
    run_dir: str | Path | None = None,
    show: Callable[[ResultsTable], object] | None = None,
    extensions: Extensions | None = None,
    **handed_in: Any,
) -> ResultsTables:
    """Pretrain and evaluate once for each value of a label, whose records neither training nor probes see.

    Leave-one-group-out evaluation of one pretrained run lets the pretraining see the held-out groups, without labels;
    this does not. Each group has a run of its own in the folder. The same call again continues where it was stopped:
    what is finished is not trained again.

    Args:
        recipe: as in `fit`.
        by: the label column: a device, a speaker, a site.
        overrides: `key.sub=value` texts.
        source: as in `fit`.
        run_dir: the folder of all runs; default `runs/NAME-crossfit-BY`.
        show: called with each table of all groups together, at the end.
        extensions: plugins, when not those that are installed.
        handed_in: modality, views, encoder, objective, evaluators, as `fit` takes them.

    Returns:
        The tables over all groups, which are written to `evaluations` in the folder: mean ± standard deviation over
        groups, and metrics of all held-out predictions joined.

    Raises:
        DataError: when the label has fewer than two values.
        RunError: when the folder holds another recipe or other groups.
        Interrupted: as `fit`; what is finished is kept.
    """
    extensions = extensions or load_extensions()
    resolved, extensions = read_given(recipe, extensions, overrides, handed_in)
    plan = make_plan(resolved, extensions)
    opened = plan.open_source(source)
    groups = _groups(opened, by)
    folder = Path(run_dir) if run_dir else Path("runs") / f"{resolved.name}-crossfit-{_file_name(by)}"
    _claim(folder, resolved, by, groups)
    runs: dict[str, Run] = {}
    for number, group in enumerate(groups, 1):
        sub = folder / f"{_file_name(by)}-{_file_name(group)}"
        log.info("%s %s (%d of %d)", by, group, number, len(groups))
        try:
            given = None if source is None else opened  # a stream is read once
            runs[group] = _one(resolved, by, group, sub, given, extensions)
        except Interrupted as error:
            raise Interrupted(
                f"Stopped at {by} {group}, {number - 1} of {len(groups)} are finished and kept: the same command again "
                f"continues in {folder}.",
                error.code - 128,
            ) from error
    tables = crossfit_tables(plan.evaluators, by, runs)
    for table, predictions in tables.values():
        table.write(folder, predictions)
        if show is not None:
            show(table)
    return ResultsTables({name: table for name, (table, _) in tables.items()})


def _one(recipe: Recipe, by: str, group: str, folder: Path, source: Any, extensions: Extensions) -> Run:
    """Return the run that leaves one group out, trained and evaluated."""
    try:
        fit(_leaving_out(recipe, by, group), source=source, run_dir=folder, resume="auto", extensions=extensions)
    except EvaluationError as error:
        log.warning("%s %s: %s", by, group, error)
    return Run(folder)


def _leaving_out(recipe: Recipe, by: str, group: str) -> dict[str, Any]:
    """Return the recipe with one group as its test part, and evaluators of that part."""
    plain = recipe.plain()
    plain["data"]["split"] = {"name": "hold-out", "by": by, "value": group}
    plain["name"] = f"{recipe.name}-without-{_file_name(group)}"
    for evaluator in plain["evaluate"]["evaluators"].values():
        if "protocol" in evaluator:
            evaluator["protocol"] = "given"
    return plain


def _groups(source: Source, by: str) -> list[str]:
    """Return the values of a label, as text, in order."""
    labels = source.columns().labels
    choose_column("label", by, list(labels))
    groups = sorted({str(value) for value in numbered(labels[by])[0].to_pylist() if not is_missing(value)})
    if len(groups) < 2:
        raise DataError(f"The label '{by}' has one value, {groups[0]!r}: crossfit leaves one of several out.")
    return groups


def _claim(folder: Path, recipe: Recipe, by: str, groups: list[str]) -> None:
    """Write down what the folder is for, or check that it is for the same."""
    file = folder / "crossfit.json"
    wanted = {"by": by, "groups": groups, "recipe": recipe.plain()}
    if file.is_file():
        held = json.loads(file.read_text(encoding="utf-8"))
        if held != json.loads(json.dumps(wanted)):
            differs = ", ".join(key for key in wanted if held.get(key) != json.loads(json.dumps(wanted[key])))
            raise RunError(
                f"{folder} holds a crossfit that differs in {differs}: choose another folder with --run-dir."
            )
        return
    if folder.exists() and any(folder.iterdir()):
        raise RunError(f"{folder} exists and is not empty: choose another folder with --run-dir.")
    write_json(file, wanted)


def _file_name(text: str) -> str:
    return re.sub(r"[^\w.-]+", "_", text)
