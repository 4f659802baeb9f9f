"""Training a recipe."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lightning_fabric import Fabric

from sensorium.api.announcement import announce, announce_notes, announce_records
from sensorium.contracts import Source
from sensorium.data.notes import data_notes
from sensorium.errors import EvaluationError, Interrupted, RecipeError
from sensorium.evaluation.run_evaluation import RunEvaluation
from sensorium.evaluation.tables import ResultsTable
from sensorium.models.model import Model
from sensorium.models.plan import Plan, make_plan
from sensorium.parallel import collectives
from sensorium.parallel.rank_zero import on_rank_zero
from sensorium.recipe import Recipe, read_recipe
from sensorium.recipe.reading import changes
from sensorium.registration.discovery import Extensions, load_extensions
from sensorium.runs.checkpoint import Checkpoints
from sensorium.runs.run import Run
from sensorium.training.auto import resolve, training_size
from sensorium.training.fabric import build_fabric, launch, launching_rank
from sensorium.training.loop import train
from sensorium.training.precision import numeric_settings
from sensorium.training.setup import prepare
from sensorium.training.state import Training

log = logging.getLogger("sensorium")


def fit(
    recipe: Recipe | Mapping[str, Any] | str | Path | None = None,
    overrides: Sequence[str] = (),
    *,
    source: Any = None,
    run_dir: str | Path | None = None,
    resume: str | Path | None = None,
    evaluate: bool = True,
    extensions: Extensions | None = None,
) -> Model:
    """Train as a recipe says, evaluate, and return the model.

    Args:
        recipe: a shipped name, a path to a YAML or Python file, a mapping or a Recipe; None when resuming.
        overrides: `key.sub=value` texts.
        source: records in place of those that `data.source` names: a `Source`; an array or a list of the values of the
            only modality; columns by name (a mapping, a data frame), of which those that no modality reads are labels,
            but for `id`, `split` and `group`; or a dataset whose items are mappings or tuples.
        run_dir: the run folder; default `runs/NAME-DATE-TIME`.
        resume: the folder of a run to continue, with its own recipe.
        evaluate: measure the trained model on the test part; False leaves that to `sensorium.evaluate`.
        extensions: plugins, when not those that are installed.

    Returns:
        The trained model; `model.run.folder` is the path of its run folder.

    Raises:
        SensoriumError: whatever the user can mend, in one sentence.
        EvaluationError: when the training is finished, its model kept, and evaluators failed.
        Interrupted: after SIGTERM or Ctrl-C; after a first one in the loop, when a checkpoint is written.
    """
    extensions = extensions or load_extensions()
    run = Run.open(resume) if resume else None
    if recipe is None and run is None:
        raise RecipeError("Give a recipe to train, or a run to resume.")
    resolved = read_recipe(run.recipe_file if run else recipe, extensions.registry, overrides)  # type: ignore[arg-type]
    plan = make_plan(resolved, extensions)
    if source is not None or plan.source is None:  # what is handed in is looked at before a folder is made
        source = plan.open_source(source)
    fabric = build_fabric(resolved.train)
    if run is None and launching_rank() == 0:
        run = Run.create(run_dir, resolved, extensions)
    launch(fabric)
    run = Run(collectives.broadcast(run.folder if run else None))  # type: ignore[arg-type]
    handler = run.log_to_file() if fabric.is_global_zero else None
    try:
        if fabric.is_global_zero:
            named = (resolved.name, overrides) if resume else changes(resolved, recipe, extensions.registry, overrides)  # type: ignore[arg-type]
            announce(plan, *named, extensions, fabric, run, bool(resume))
        with numeric_settings(resolved.train):
            return _train(plan, source, run, fabric, bool(resume), evaluate)
    except KeyboardInterrupt:
        error = _interrupted(run)
        _note_end(error, run, fabric)
        raise error from None
    except BaseException as error:
        _note_end(error, run, fabric)
        raise
    finally:
        if handler is not None:
            logging.getLogger("sensorium").removeHandler(handler)
            handler.close()
            if not resume:
                run.discard_if_unused()


def _train(plan: Plan, source: Source | None, run: Run, fabric: Fabric, resume: bool, evaluate: bool) -> Model:
    source = plan.open_source(source)
    evaluation = RunEvaluation(plan, source, run)
    evaluation.check_training(final=evaluate)
    size = training_size(plan, len(evaluation.parts["train"]))
    auto = resolve(plan, size)
    if fabric.is_global_zero:
        announce_records({part: len(rows) for part, rows in evaluation.parts.items()}, auto)
        if auto and not resume:
            run.keep_recipe(plan.recipe)
    reader = evaluation.reader
    training = prepare(
        plan, source, reader.parts["train"], run, fabric, resume, evaluation.on_val, unreadable=reader.unreadable
    )
    on_rank_zero(_note_data, plan, source, reader.parts["train"], run)
    reader.share(training.loader)
    try:
        train(training)
        model = training.model()
    finally:
        training.close()
    on_rank_zero(_finish, training, model)
    if evaluate:
        _evaluate(model, evaluation, run)
    elif plan.evaluators:
        log.info("Not evaluated: measure with `sensorium evaluate %s`.", run.folder)
    model.run = run
    return model


def _note_data(plan: Plan, source: Source, positions: np.ndarray, run: Run) -> None:
    """Log what the source and the modalities say about the data, and keep it in `run.json`."""
    notes = data_notes(source, positions, plan.fields, plan.modalities)
    announce_notes(notes)
    run.update(notes=notes)


def _finish(training: Training, model: Model) -> None:
    """Write the model of a training that is finished."""
    model.save(training.run.model)
    training.run.update(state="finished", step=training.step, steps=training.steps)


def _evaluate(model: Model, evaluation: RunEvaluation, run: Run) -> None:
    """Measure a finished training on its test part, and log each table when it is done; collective.

    Raises:
        EvaluationError: when evaluators failed, after the tables of all others are written and logged.
    """

    def show(table: ResultsTable) -> None:
        log.info("\n%s", table.markdown(), extra={"table": table})

    try:
        evaluation.on_test(model, show=show)
    except EvaluationError as error:
        raise error.with_advice(
            f"The training is finished and its model is kept: measure again with `sensorium evaluate {run.folder}`."
        ) from error


def _note_end(error: BaseException, run: Run, fabric: Fabric) -> None:
    """Write into the run folder how a training ended; ranks other than 0 leave quietly when it was interrupted."""
    interrupted = isinstance(error, Interrupted)
    if fabric.is_global_zero:
        log.error("%s", error, extra={"shown_by_program": True})
        if run.status().get("state") != "finished":
            run.update(state="interrupted" if interrupted else "failed")
    elif interrupted:
        sys.exit(0)  # a launcher kills rank 0, before it is done, when another rank leaves with an error


def _interrupted(run: Run) -> Interrupted:
    """Return the error of a training that was stopped at once, with how to continue it."""
    status = run.status()
    if status.get("state") == "finished":
        sentence = (
            f"The training is finished, its evaluation was stopped: measure with `sensorium evaluate {run.folder}`."
        )
    elif steps := Checkpoints(run.checkpoints, 1).steps():
        sentence = (
            f"The training stopped at once; its last checkpoint is of step {steps[0]}: "
            f"continue with `sensorium train --resume {run.folder}`."
        )
    else:
        sentence = "The training stopped before its first checkpoint: there is nothing to resume."
    return Interrupted(sentence, signal.SIGINT)
