"""Measuring a run: evaluation, and the replay of a non-finite step."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sensorium.api.models import open_run
from sensorium.api.run_parts import extensions_of
from sensorium.api.run_records import evaluation_of
from sensorium.api.stopping import now, stopped_evaluation
from sensorium.errors import RecipeError, RunError, not_found
from sensorium.evaluation.run_evaluation import RunEvaluation
from sensorium.evaluation.tables import ResultsTable, ResultsTables
from sensorium.interruption import raised
from sensorium.models.given import given_parts, in_recipe, objects_of
from sensorium.models.plan import REFERENCE, make_plan
from sensorium.parallel.rank_zero import on_rank_zero
from sensorium.recipe import read_recipe
from sensorium.registration.blame import naming_plugins
from sensorium.registration.discovery import Extensions, load_extensions
from sensorium.runs.records import changed_records
from sensorium.runs.run import Run
from sensorium.training.fabric import join_ranks
from sensorium.training.precision import numeric_settings
from sensorium.training.replay import Replayed, replay_step

log = logging.getLogger("sensorium")


@naming_plugins
def evaluate(
    runs: str | Path | Sequence[str | Path],
    evaluators: Sequence[str] | Mapping[str, Any] | None = None,
    overrides: Sequence[str] = (),
    *,
    checkpoint: str = "final",
    device: str = "auto",
    source: Any = None,
    show: Callable[[ResultsTable], object] | None = None,
    extensions: Extensions | None = None,
    **handed_in: Any,
) -> ResultsTables:
    """Measure a run on its test part, or several runs of one recipe that differ in their seed.

    Under torchrun every process embeds its share of the records, and the first measures.

    Args:
        runs: the run folder, or several; metrics are then mean ± standard deviation over them.
        evaluators: names of tables of the recipe ("reference/NAME" of its reference set), or of registered evaluators;
            or a mapping of names of tables and evaluators to hand in, as `fit` takes them; default all tables of the
            recipe and, of a run that started from weights, the table "forgetting".
        overrides: `key.sub=value` texts applied to the run's recipe, such as `evaluate.evaluators.knn.k=5`.
        checkpoint: as in `load`.
        device: as in `load`.
        source: records in place of those that `data.source` names: a `Source`, or anything that `fit` takes.
        show: called with each table when it is done.
        extensions: plugins, when not those that are installed.
        handed_in: what was handed in to the `fit` of the run, by the same names: `encoder=...`.

    Returns:
        The tables by name (a dict), each of which is also written to `evaluations` in the (first) run's folder.

    Raises:
        EvaluationError: when evaluators failed; the tables of the others are written.
        Interrupted: after Ctrl-C, SIGTERM or SIGHUP; tables that are done are kept.
    """
    first, *others = [runs] if isinstance(runs, str | Path) else runs
    extensions, started = extensions_of(Run.open(first), extensions or load_extensions(), handed_in), now()
    asked = read_recipe(Run.open(first).recipe_file, extensions.registry, overrides).plain()["evaluate"]
    named, reference = asked["evaluators"], asked["reference"]
    if isinstance(evaluators, Mapping):
        parts = given_parts({"evaluators": evaluators}, [])
        extensions = extensions.with_given(objects_of(parts))
        chosen, reference = {name: in_recipe(part) for name, part in zip(evaluators, parts.values(), strict=True)}, None
    elif evaluators is not None:
        own = [name for name in evaluators if not name.startswith(REFERENCE)]
        chosen = {name: named.get(name, {"name": name}) for name in own}
        reference = _of_reference(reference, named, [name for name in evaluators if name not in own])
    else:
        chosen = named
    if not (chosen or reference):
        raise RecipeError(
            "The recipe names no evaluator: choose one with --with; `sensorium list evaluators` shows them."
        )
    try:
        with raised():
            runs = [first, *others]
            whole = evaluators is None
            return _evaluate(runs, overrides, checkpoint, device, source, show, extensions, chosen, reference, whole)
    except KeyboardInterrupt as error:
        words = [*overrides, *(("--checkpoint", checkpoint) if checkpoint != "final" else ())]
        names = [*chosen, *_reference_tables(reference, named)]
        raise stopped_evaluation(error, [Run(Path(one)) for one in (first, *others)], names, started, words) from None


def _reference_tables(reference: Mapping[str, Any] | None, named: Mapping[str, Any]) -> dict[str, Any]:
    """Return the evaluators of a reference set by the names of their tables; `named` are those of the run."""
    return (
        {} if reference is None else {f"{REFERENCE}{name}": p for name, p in (reference["evaluators"] or named).items()}
    )


def _of_reference(
    reference: Mapping[str, Any] | None, named: Mapping[str, Any], tables: Sequence[str]
) -> dict[str, Any] | None:
    """Return a reference set with the evaluators of these tables alone; None without any.

    Raises:
        RecipeError: for a table that the recipe's reference set does not have.
    """
    known = _reference_tables(reference, named)
    for table in tables:
        if table not in known:
            known_names = ", ".join(known) or "none, since the recipe has no evaluate.reference"
            raise RecipeError(not_found(f"There is no table '{table}'", table, known, f"there are: {known_names}"))
    evaluators = {table.removeprefix(REFERENCE): known[table] for table in tables}
    return {**reference, "evaluators": evaluators} if reference is not None and tables else None


def _evaluate(
    runs: Sequence[str | Path],
    overrides: Sequence[str],
    checkpoint: str,
    device: str,
    source: Any,
    show: Callable[[ResultsTable], object] | None,
    extensions: Extensions,
    chosen: Mapping[str, Any],
    reference: Mapping[str, Any] | None,
    whole: bool,
) -> ResultsTables:
    """Measure the first run, with the others as further seeds of it; args as in `evaluate`."""
    first, *others = runs
    place = join_ranks(device)
    model, plan, records = open_run(first, overrides, checkpoint, source, extensions, chosen, place, {}, reference)
    seeds = [open_run(other, overrides, checkpoint, records, extensions, chosen, place, {})[0] for other in others]
    for other, seed in zip(others, seeds, strict=True):
        if not seed.alike(model):
            raise RunError(f"The runs {first} and {other} differ in more than their seed: evaluate them one by one.")
    evaluation = evaluation_of(Run.open(first), plan, records, source is not None)
    if not any(override.startswith("data.") for override in overrides):
        on_rank_zero(_warn_of_changed_records, evaluation)
    evaluation.check()
    with numeric_settings(plan.recipe.train):
        return ResultsTables(evaluation.on_test(model, *seeds, show=show, forgetting=whole))


def _warn_of_changed_records(evaluation: RunEvaluation) -> None:
    """Warn when a run is evaluated on records that are not those that it was trained on."""
    reader = evaluation.reader
    changed = changed_records(evaluation.run, reader.columns, reader.parts, reader.cut)
    if changed is not None:
        log.warning(
            "The records are not those that %s was trained on: %s. Its tables are not those of its training.",
            *(evaluation.run.folder, changed),
        )


@naming_plugins
def replay(
    run: str | Path, *, source: Any = None, extensions: Extensions | None = None, **handed_in: Any
) -> list[Replayed]:
    """Replay the last step of a run with a non-finite loss or gradient, and find where it first occurs.

    Args:
        run: the run folder; nothing in it is changed.
        source: records in place of those that `data.source` names: a `Source`, or anything that `fit` takes.
        extensions: plugins, when not those that are installed.
        handed_in: what was handed in to the `fit` of the run, by the same names: `encoder=...`, `objective=...`.

    Returns:
        The result of each part of the step on each rank; each part is replayed alone, on one device.

    Raises:
        RunError: when every step of the run was finite.
    """
    opened = Run.open(run)
    extensions = extensions_of(opened, extensions or load_extensions(), handed_in)
    plan = make_plan(read_recipe(opened.recipe_file, extensions.registry), extensions)
    source = plan.open_source(source)
    with numeric_settings(plan.recipe.train):
        return replay_step(plan, source, RunEvaluation(plan, source, opened).parts["train"], opened)
