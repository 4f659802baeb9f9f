"""Training a recipe."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from lightning_fabric import Fabric

from sensorium.api.announcement import announce, announce_notes, announce_parameters, announce_records
from sensorium.api.resuming import Found, agree, find_run, finished
from sensorium.api.starting import Asked, Start, start
from sensorium.api.stopping import now, stopped_training
from sensorium.contracts import RecordColumns, Source
from sensorium.data.notes import data_notes, pair_notes, split_notes
from sensorium.errors import EvaluationError, Interrupted, RunError
from sensorium.evaluation.run_evaluation import RunEvaluation
from sensorium.evaluation.tables import ResultsTable
from sensorium.interruption import raised
from sensorium.models.depth import count_parameters
from sensorium.models.given import share_given
from sensorium.models.model import Model
from sensorium.models.plan import Plan
from sensorium.parallel import collectives
from sensorium.parallel.rank_zero import on_rank_zero
from sensorium.recipe import Recipe
from sensorium.registration.blame import naming_plugins
from sensorium.registration.discovery import Extensions, load_extensions
from sensorium.runs.lock import RunLock
from sensorium.runs.records import ChangedRecords, changed_records, keep_records
from sensorium.runs.run import Run
from sensorium.training.auto import resolve, training_size
from sensorium.training.callbacks import Finish
from sensorium.training.fabric import build_fabric, launch, launching_rank
from sensorium.training.loop import train
from sensorium.training.memory import memory_advised
from sensorium.training.precision import numeric_settings
from sensorium.training.resumption import Resumption, resumption, undamaged
from sensorium.training.setup import prepare
from sensorium.training.state import TrainingState
from sensorium.training.watched import watched

log = logging.getLogger("sensorium")


@naming_plugins
def fit(
    recipe: Recipe | Mapping[str, Any] | str | Path | None = None,
    overrides: Sequence[str] = (),
    *,
    source: Any = None,
    modality: Any = None,
    views: Any = None,
    encoder: Any = None,
    objective: Any = None,
    optimizer: Any = None,
    schedule: Any = None,
    callbacks: Any = None,
    evaluators: Any = None,
    run_dir: str | Path | None = None,
    resume: str | Path | None = None,
    evaluate: bool = True,
    data_changed: bool = False,
    extensions: Extensions | None = None,
) -> Model:
    """Train as a recipe says, evaluate, and return the model.

    Args:
        recipe: a shipped name, a path to a YAML or Python file, a mapping or a Recipe; None when resuming.
        overrides: `key.sub=value` texts.
        source: records in place of those that `data.source` names: a `Source`; an array or a list of the values of the
            only modality; columns by name (a mapping, a data frame), of which those that no modality reads are labels,
            but for `id`, `split` and `group`; or a dataset whose items are mappings or tuples.
        modality: an instance of a `Modality`, in place of the recipe's; for several, a mapping of their names.
        views: a `ViewGenerator`, or a function of a batch (see `FunctionViews`); likewise.
        encoder: an `Encoder`, any `torch.nn.Module` (see `ModuleEncoder`), or a class or function that returns one;
            likewise. A copy is trained: the module itself keeps its weights, which are the first ones of every training
            that it is handed to, and the row "untrained" of tables. `model.encoder(name)` is the trained one.
        objective: an `Objective` that is not built, or its class; or a list of several, with names of registered ones
            among them, or mappings such as {"name": MyObjective(), "on": "image", "weight": 0.5}.
        optimizer: a function of the trainable parameters, an argument whose name begins with "param", or else of the
            learner, that returns a torch optimizer; lr and weight_decay are the recipe's if it has arguments for them.
        schedule: a function of the steps since the warm-up and their number that returns a factor of the learning rate.
        callbacks: instances of `Callback`, or their classes, one or several, behind those of the recipe; or a mapping
            of their names.
        evaluators: table name -> an `Evaluator`, or its class, beside those of the recipe; or these without names.
        run_dir: the run folder; default `runs/NAME-DATE-TIME`. With the folder of a run as `resume`, a copy of that run
            is continued there.
        resume: the folder of a run to continue, with its own recipe, of which some keys may be changed; or "auto": what
            `run_dir` holds decides. The training begins if it holds nothing, or was stopped before its first
            checkpoint (what it had written is then replaced), continues from the latest checkpoint that can be read,
            and is left alone when it is finished, but for tables that are not measured yet.
        data_changed: continue a run whose records are not those that it was begun on.
        evaluate: measure the trained model on the test part; False leaves that to `sensorium.evaluate`.
        extensions: plugins, when not those that are installed.

    Returns:
        The trained model; `model.run.folder` is the path of its run folder.

    Raises:
        SensoriumError: whatever the user can mend, in one sentence.
        EvaluationError: when the training is finished, its model kept, and evaluators failed.
        Interrupted: after SIGTERM, SIGUSR1, SIGHUP or Ctrl-C; after a first one in the loop, when a checkpoint is
            written.
    """
    extensions = extensions or load_extensions()
    handed_in = {"modality": modality, "views": views, "encoder": encoder, "objective": objective}
    handed_in |= {"optimizer": optimizer, "schedule": schedule, "callbacks": callbacks, "evaluators": evaluators}
    handed_in = {name: one for name, one in handed_in.items() if one is not None}
    asked = Asked(recipe, overrides, source, handed_in, extensions)
    found = find_run(run_dir) if resume == "auto" else None
    if found is not None and found.is_finished and (model := finished(found.run, asked, evaluate)) is not None:
        return model
    run = found.to_continue if found is not None else Run.open(resume) if resume else None
    begun = start(asked, run)
    fabric = build_fabric(begun.plan.recipe.train)
    lock = RunLock()
    if launching_rank() == 0:
        run = _run_folder(lock, run, found, run_dir, begun)
        run.sweep()
    launch(fabric)
    if found is not None and (agreed := agree(found)).step != found.step:
        begun = start(asked, agreed.to_continue)
    run = Run(collectives.broadcast(run.folder if run else None))  # type: ignore[arg-type]
    plan, resumed = begun.plan, begun.resumed
    if resumed is not None:
        resumed = undamaged(resumed, partial(resumption, run, *asked.over_that_of_a_run(), begun.extensions.registry))
    share_given(begun.extensions.registry)
    started = now()
    handler = run.log_to_file() if fabric.is_global_zero else None
    try:
        if fabric.is_global_zero:
            if found is not None:  # a damaged checkpoint may have been passed over
                log.info("%s", found if resumed is None else replace(found, step=resumed.step))
            announce(plan, *begun.named, begun.extensions, fabric, run, resumed is not None)
        with (
            raised(),
            numeric_settings(plan.recipe.train),
            watched(fabric, run, plan.recipe.train.timeout),
            memory_advised(plan.recipe),
        ):
            return _train(plan, begun.source, run, fabric, resumed, data_changed, evaluate)
    except KeyboardInterrupt as error:
        stopped = stopped_training(error, run, plan.tables, started)
        _note_end(stopped, run, fabric)
        raise stopped from None
    except BaseException as error:
        _note_end(error, run, fabric)
        raise
    finally:
        if handler is not None:
            logging.getLogger("sensorium").removeHandler(handler)
            handler.close()
            if resumed is None:
                run.discard_if_unused()
        lock.release()


def _run_folder(lock: RunLock, run: Run | None, found: Found | None, run_dir: str | Path | None, begun: Start) -> Run:
    """Return the run folder that is written, locked: that of a run which goes on, or of its copy, or a new one."""
    continues = run is not None and (found is not None or run_dir is None)
    if continues or run_dir is not None:
        lock.acquire(run.folder if continues else Path(run_dir))  # type: ignore[union-attr, arg-type]
    try:
        if found is not None and find_run(run_dir).step != found.step:
            raise RunError(f"Another training has just written to {run_dir}: start again to continue from there.")
        if run is None:
            over = found.run if found is not None and found.is_begun else None
            run = Run.create(run_dir, begun.plan.recipe, begun.extensions, over=over)
        elif not continues:
            run = run.copy(run_dir)  # type: ignore[arg-type]
        lock.acquire(run.folder)
    except BaseException:
        lock.release()
        raise
    return run


def _train(
    plan: Plan,
    source: Source | None,
    run: Run,
    fabric: Fabric,
    resumed: Resumption | None,
    data_changed: bool,
    evaluate: bool,
) -> Model:
    source = plan.open_source(source)
    evaluation = RunEvaluation(plan, source, run)
    reader = evaluation.reader
    changed = on_rank_zero(changed_records, run, reader.columns, reader.parts, reader.cut) if resumed else None
    if changed is not None and not data_changed:
        raise RunError(_records_changed(run, changed))
    evaluation.check_training(final=evaluate)
    size = training_size(plan, len(evaluation.parts["train"]))
    auto = resolve(plan, size)
    if fabric.is_global_zero:
        announce_records({part: len(rows) for part, rows in evaluation.parts.items()}, auto)
        if auto and resumed is None:
            run.keep_recipe(plan.recipe)
    training = prepare(
        plan, source, reader.parts["train"], run, fabric, resumed, evaluation.on_val, unreadable=reader.unreadable
    )
    on_rank_zero(_note_parameters, training)
    on_rank_zero(_note_data, training, source, reader.columns, reader.parts)
    on_rank_zero(keep_records, run, reader.columns, reader.parts, reader.cut)
    if resumed is not None:
        on_rank_zero(_note_resumption, training, resumed, changed)
    reader.share(training.loader)
    with training:
        train(training)
        model = training.model()
        on_rank_zero(_finish, training, model)
        if evaluate:
            _evaluate(model, evaluation, training)
        elif plan.evaluators:
            log.info("Not evaluated: measure with `sensorium evaluate %s`.", run.folder)
    model.run = run
    return model.merge_adapters()


def _note_parameters(training: TrainingState) -> None:
    """Log how many parameters are trained, and keep it in `run.json`."""
    learner = training.learner
    counts = {name: count_parameters(encoder) for name, encoder in learner.encoders.items()}
    counts["objective"] = count_parameters(learner.objective)
    announce_parameters(counts)
    training.run.update(parameters=counts)


def _note_data(
    training: TrainingState, source: Source, columns: RecordColumns, parts: Mapping[str, np.ndarray]
) -> None:
    """Log what the split, the source and the modalities do with the data, and keep it in `run.json`."""
    plan, train = training.plan, parts["train"]
    notes = split_notes(columns, parts) + data_notes(source, train, plan.fields, plan.modalities)
    notes += pair_notes(source, train, plan.fields, training.learner.objective.modality_pairs)
    announce_notes(notes)
    training.run.update(notes=notes)


def _note_resumption(training: TrainingState, resumed: Resumption, changed: ChangedRecords | None) -> None:
    """Log what changed since the run was begun, keep the recipe with it, and write it down in `run.json`."""
    notes = resumed.notes(training.lr)
    announce_notes(notes if changed is None else [*notes, f"the records have changed: {changed}"])
    if {"checkpoint.best", "checkpoint.mode"} & resumed.changed.keys():
        training.checkpoints.forget_best()
    run = training.run
    run.keep_recipe(training.recipe)
    run.note_resumption(resumed.step, resumed.changed, None if changed is None else str(changed))
    if (finish := training.callbacks.finish) is not None:
        announce_notes([_is_finished(finish, training)])
    elif training.step < training.steps:
        run.update(state="running", step=training.step, steps=training.steps)


def _is_finished(finish: Finish, training: TrainingState) -> str:
    return (
        f"the training was finished at step {training.step} of {training.steps} by {finish}; no step is taken: to "
        f"train on, change its options, or take it away by callbacks.{finish.by}=null"
    )


def _records_changed(run: Run, changed: ChangedRecords) -> str:
    return (
        f"The records are not those that {run.folder} was begun on: {changed}. Bring them back, or train on with these "
        f"by --data-changed (data_changed=True); a new run from its weights is "
        f"`sensorium train {run.recipe_file} train.warm_start={run.folder}`."
    )


def _finish(training: TrainingState, model: Model) -> None:
    """Write the model of a training that is finished."""
    model.save(training.run.model)
    finish = training.callbacks.finish
    by = None if finish is None else str(finish)
    training.run.update(state="finished", step=training.step, steps=training.steps, finished_by=by)


def _evaluate(model: Model, evaluation: RunEvaluation, training: TrainingState) -> None:
    """Measure a finished training on its test part, and log each table when it is done; collective.

    Raises:
        EvaluationError: when evaluators failed, after the tables of all others are written and logged.
    """

    def show(table: ResultsTable) -> None:
        log.info("\n%s", table.markdown(), extra={"table": table})
        training.log_table(table.evaluator, table.means())

    try:
        evaluation.on_test(model, show=show)
    except EvaluationError as error:
        again = f"measure again with `sensorium evaluate {training.run.folder}`"
        raise error.with_advice(f"The training is finished and its model is kept: {again}.") from error


def _note_end(error: BaseException, run: Run, fabric: Fabric) -> None:
    """Write into the run folder how a training ended; ranks other than 0 leave quietly when it was interrupted."""
    interrupted = isinstance(error, Interrupted)
    if fabric.is_global_zero:
        log.error("%s", error, extra={"shown_by_program": True})
        if run.status().get("state") in ("created", "running"):  # one that never went on stays as it was
            run.update(state="interrupted" if interrupted else "failed")
    elif interrupted:
        sys.exit(0)  # a launcher kills rank 0, before it is done, when another rank leaves with an error
