"""What the commands do, as functions."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sensorium.contracts import Encoder, Modality, Source
from sensorium.errors import Interrupted, RecipeError, RunError, did_you_mean
from sensorium.evaluation.labels import pair
from sensorium.evaluation.measurement import Measurement
from sensorium.evaluation.similarity import nearest_neighbors
from sensorium.evaluation.tables import Table
from sensorium.exporters.encoders import read_encoder
from sensorium.finetuning.comparison import Finetuning, Initialization
from sensorium.finetuning.predictor import Predictor
from sensorium.mining import Mined, Rules, draw_mined, mine_table
from sensorium.models.model import Model
from sensorium.models.plan import Plan, make_plan
from sensorium.parallel import collectives
from sensorium.recipe import Recipe, read_recipe
from sensorium.registration.discovery import Extensions, load_extensions
from sensorium.runs.atomic import write_atomically
from sensorium.runs.checkpoint import Checkpoints, weights_of
from sensorium.runs.run import Run
from sensorium.training.auto import resolve, training_size
from sensorium.training.fabric import build_fabric, launch, launching_rank
from sensorium.training.loop import train
from sensorium.training.replay import Replayed, replay_step
from sensorium.training.setup import prepare

log = logging.getLogger("sensorium")


def fit(
    recipe: Recipe | Mapping[str, Any] | str | Path | None = None,
    overrides: Sequence[str] = (),
    *,
    source: Source | None = None,
    run_dir: str | Path | None = None,
    resume: str | Path | None = None,
    extensions: Extensions | None = None,
) -> Model:
    """Train as a recipe says, evaluate, and return the model.

    Args:
        recipe: a shipped name, a path to a YAML or Python file, a mapping or a Recipe; None when resuming.
        overrides: `key.sub=value` texts.
        source: records in place of those that `data.source` names.
        run_dir: the run folder; default `runs/NAME-DATE-TIME`.
        resume: the folder of a run to continue, with its own recipe.
        extensions: plugins, when not those that are installed.

    Returns:
        The trained model; `model.run` is its run folder.

    Raises:
        SensoriumError: whatever the user can mend, in one sentence.
        Interrupted: after SIGTERM, when a checkpoint is written.
    """
    extensions = extensions or load_extensions()
    run = Run.open(resume) if resume else None
    if recipe is None and run is None:
        raise RecipeError("Give a recipe to train, or a run to resume.")
    resolved = read_recipe(run.recipe_file if run else recipe, extensions.registry, overrides)  # type: ignore[arg-type]
    plan = make_plan(resolved, extensions)
    if plan.source is None and source is None:
        raise RecipeError("The recipe names no source: set data.source, or hand one to fit(source=...).")
    fabric = build_fabric(resolved.train)
    if run is None and launching_rank() == 0:
        run = Run.create(run_dir, resolved, extensions)
    launch(fabric)
    run = Run(collectives.broadcast(run.folder if run else None))  # type: ignore[arg-type]
    handler = run.log_to_file() if fabric.is_global_zero else None
    try:
        if fabric.is_global_zero:
            announce(resolved, run, extensions, fabric.world_size, str(fabric.device))
        return _train(plan, source, run, fabric, bool(resume))
    except BaseException as error:
        if fabric.is_global_zero:
            log.error("%s", error, extra={"told_by_program": True})
            run.update(state="interrupted" if isinstance(error, Interrupted | KeyboardInterrupt) else "failed")
        elif isinstance(error, Interrupted):
            sys.exit(0)  # a launcher kills rank 0, before it is done, when another rank leaves with an error
        raise
    finally:
        if handler is not None:
            logging.getLogger("sensorium").removeHandler(handler)
            handler.close()


def _train(plan: Plan, source: Source | None, run: Run, fabric: Any, resume: bool) -> Model:
    source = source if source is not None else plan.source()  # type: ignore[misc]
    measurement = Measurement(plan, source, run)
    measurement.require_parts(val=plan.recipe.evaluate.every is not None)
    found = resolve(plan, training_size(plan, len(measurement.parts["train"])))
    if found and fabric.is_global_zero:
        log.info("auto: %s", ", ".join(f"{path} = {value:g}" for path, value in found.items()))
        if not resume:
            run.keep_recipe(plan.recipe)
    training = prepare(plan, source, measurement.parts["train"], run, fabric, resume, measurement.on_val)
    try:
        train(training)
        model = training.model()
    finally:
        training.close()
    if model is not None:
        model.save(run.model)
        run.update(state="finished", step=training.step, steps=training.steps)
        for table in measurement.on_test(model).values():
            log.info("\n%s", table.markdown())
    collectives.barrier()
    model = model or Model(plan, training.learner)
    model.run = run
    return model


def announce(recipe: Recipe, run: Run, extensions: Extensions, world: int, device: str) -> None:
    """Say, before anything is read, what will be done: the resolved recipe, the plugins from outside, the place."""
    log.info("recipe, as resolved:\n%s", run.recipe_file.read_text(encoding="utf-8").rstrip())
    for plugin in extensions.third_party():
        log.info("plugin %s (%s %s)", plugin.name, plugin.distribution, plugin.version)
    log.info("%d process(es) on %s · run folder %s", world, device, run.folder)


def embed_source(
    run: str | Path,
    out: str | Path,
    overrides: Sequence[str] = (),
    *,
    part: str = "all",
    space: str = "embedding",
    checkpoint: str = "final",
    source: Source | None = None,
    extensions: Extensions | None = None,
) -> int:
    """Embed the records of a source with a run's model, and write them to an `.npz` file.

    Args:
        run: the run folder.
        out: the file: `ids`, and for each modality an array (N, D) with rows of nan where a record lacks it.
        overrides: `key.sub=value` texts applied to the run's recipe, such as `data.source.path=...`.
        part: "train", "val", "test" or "all".
        space: "embedding" for the space that the objective compares in, "features" for pooled features.
        checkpoint: as in `load`.
        source: records in place of those that `data.source` names.
        extensions: plugins, when not those that are installed.

    Returns:
        How many records were embedded.
    """
    model, measurement = _measured(run, overrides, checkpoint, source, extensions)
    table = measurement.table(model, part, space)
    write_atomically(Path(out), lambda path: _write_npz(path, table.ids, table.features))
    return len(table)


def _write_npz(path: Path, ids: Sequence[str], features: Mapping[str, np.ndarray]) -> None:
    with open(path, "wb") as file:
        np.savez(file, **{"ids": np.array(ids), **features})  # type: ignore[arg-type]


def replay(run: str | Path, *, source: Source | None = None, extensions: Extensions | None = None) -> list[Replayed]:
    """Replay the last step of a run whose loss or gradient was not finite, and say where that arose.

    Args:
        run: the run folder; nothing in it is changed.
        source: records in place of those that `data.source` names.
        extensions: plugins, when not those that are installed.

    Returns:
        What came of each part of the step on each rank; every part is replayed by itself, on one device.

    Raises:
        RunError: when every step of the run was finite.
    """
    extensions = extensions or load_extensions()
    opened = Run.open(run)
    plan = make_plan(read_recipe(opened.recipe_file, extensions.registry), extensions)
    source = _source_of(plan, source)
    return replay_step(plan, source, Measurement(plan, source, opened).parts["train"], opened)


def load(run: str | Path, checkpoint: str = "final", extensions: Extensions | None = None) -> Model:
    """Return the model of a run.

    Args:
        run: the run folder.
        checkpoint: "final" for the exported model, "best" or "last" for a checkpoint, or a step number.
        extensions: plugins, when not those that are installed.

    Raises:
        RunError: when the run holds no such model.
    """
    extensions = extensions or load_extensions()
    opened = Run.open(run)
    if checkpoint == "final":
        model = Model.open(opened.model, extensions)
    else:
        plan = make_plan(read_recipe(opened.recipe_file, extensions.registry), extensions)
        state = Checkpoints(opened.checkpoints, plan.recipe.checkpoint.keep).read(checkpoint)
        model = Model.untrained(plan, opened.kept_state).load_weights(weights_of(state), f"checkpoint {checkpoint}")
    model.run = opened
    return model


def evaluate(
    runs: str | Path | Sequence[str | Path],
    evaluators: Sequence[str] | None = None,
    overrides: Sequence[str] = (),
    *,
    checkpoint: str = "final",
    source: Source | None = None,
    extensions: Extensions | None = None,
) -> dict[str, Table]:
    """Measure a run on its test part, or several runs of one recipe that differ in their seed.

    Args:
        runs: the run folder, or several; figures are then means and deviations over them.
        evaluators: names of tables of the recipe, or of registered evaluators; default all tables of the recipe.
        overrides: `key.sub=value` texts applied to the run's recipe, such as `evaluate.evaluators.knn.k=5`.
        checkpoint: as in `load`.
        source: records in place of those that `data.source` names.
        extensions: plugins, when not those that are installed.

    Returns:
        Table name -> the table, which is also written to `evaluations` in the (first) run's folder.
    """
    extensions = extensions or load_extensions()
    first, *others = [runs] if isinstance(runs, str | Path) else runs
    named = read_recipe(Run.open(first).recipe_file, extensions.registry, overrides).plain()["evaluate"]["evaluators"]
    chosen = named if evaluators is None else {name: named.get(name, {"name": name}) for name in evaluators}
    if not chosen:
        raise RecipeError(
            "The recipe names no evaluator: choose one with --with; `sensorium list evaluators` shows them."
        )
    model, plan, source = _opened(first, overrides, checkpoint, source, extensions, chosen)
    seeds = [_opened(other, overrides, checkpoint, source, extensions, chosen)[0] for other in others]
    for other, seed in zip(others, seeds, strict=True):
        if not seed.alike(model):
            raise RunError(f"The runs {first} and {other} differ in more than their seed: evaluate them one by one.")
    return Measurement(plan, source, Run.open(first)).on_test(model, *seeds)


def finetune(
    run: str | Path,
    overrides: Sequence[str] = (),
    *,
    start: Literal["both", "trained", "scratch"] = "both",
    run_dir: str | Path | None = None,
    checkpoint: str = "final",
    source: Source | None = None,
    extensions: Extensions | None = None,
) -> Finetuned:
    """Train a run's encoder, and a small head on it, on labels, as `finetune` of the recipe says.

    It learns from the train part, takes the epoch that did best on the val part, and reports on the test part.

    Args:
        run: the run folder.
        overrides: `key.sub=value` texts applied to the run's recipe, such as `data.source.path=...` and
            `finetune.labels=[class]`.
        start: "trained" for the run's encoder, "scratch" for its first weights, "both" to compare them.
        run_dir: the folder to write; default `finetune-DATE-TIME` in the run folder.
        checkpoint: as in `load`.
        source: records in place of those that `data.source` names.
        extensions: plugins, when not those that are installed.

    Returns:
        The table, what predicts (the first seed's encoder and head), and the run folder, which `load` opens too.
    """
    extensions = extensions or load_extensions()
    model, plan, source = _opened(run, overrides, checkpoint, source, extensions, {})
    folder = Path(run_dir) if run_dir else Path(run) / f"finetune-{time.strftime('%Y%m%d-%H%M%S')}"
    written = Run.create(folder, plan.recipe, extensions)
    for name, modality in plan.modalities.items():
        written.keep_state(name, modality.state())
    one = plan.recipe.train.model_copy(update={"devices": 1, "nodes": 1, "strategy": "auto"})
    starts: list[Initialization] = ["scratch", "trained"] if start == "both" else [start]
    table, predictor = Finetuning(plan, model, source, written, build_fabric(one)).run_all(starts)
    written.update(state="finished")
    return Finetuned(table, predictor, written)


@dataclass(frozen=True)
class Finetuned:
    """What fine-tuning gives: a table, what predicts, and the folder that holds both."""

    table: Table
    predictor: Predictor
    run: Run


def load_predictor(run: str | Path, extensions: Extensions | None = None) -> Predictor:
    """Return what predicts, out of a folder that `finetune` wrote.

    Raises:
        RunError: when there is none.
    """
    return Predictor.open(run, extensions or load_extensions())


def search(
    run: str | Path,
    query: Any,
    overrides: Sequence[str] = (),
    *,
    by: str | None = None,
    target: str | None = None,
    part: str = "all",
    count: int = 10,
    checkpoint: str = "final",
    source: Source | None = None,
    extensions: Extensions | None = None,
) -> list[tuple[str, float]]:
    """Find the records that lie nearest to a raw value in the space where the objective compares.

    Args:
        run: the run folder.
        query: a raw value: a text, the path of a file, an array.
        overrides: `key.sub=value` texts applied to the run's recipe, such as `data.source.path=...`.
        by: the modality that the query is of; None takes the first that reads files when it is the path of one, and
            otherwise the first that does not.
        target: the modality that is searched; None takes the first other one, or the only one.
        part: "train", "val", "test" or "all".
        count: how many records to find.
        checkpoint: as in `load`.
        source: records in place of those that `data.source` names.
        extensions: plugins, when not those that are installed.

    Returns:
        Ids and cosines, nearest first.

    Raises:
        SensoriumError: when the model has no such modality, or no record has the target.
    """
    model, measurement = _measured(run, overrides, checkpoint, source, extensions)
    names = model.modalities
    if by is None:
        is_file = isinstance(query, str | Path) and Path(query).is_file()
        by = next((name for name in names if model.plan.modalities[name].reads_files == is_file), names[0])
    target = target or next((name for name in names if name != by), by)
    for name in (by, target):
        if name not in names:
            raise RunError(f"The run has no modality '{name}'{did_you_mean(name, names)}; it has {', '.join(names)}.")
    table = measurement.table(model, part, "embedding")
    rows = np.flatnonzero(table.present[target])
    if not len(rows):
        raise RunError(f"No record of the part '{part}' has '{target}': there is nothing to search.")
    query_1D = model.embed(**{by: [query]})[by]
    if query_1D.shape[1] != table.features[target].shape[1]:
        raise RunError(
            f"'{by}' and '{target}' share no space in which to be compared: name others by --by and --target."
        )
    scores, places = nearest_neighbors(query_1D, table.features[target][rows], count)
    return [(table.ids[rows[place]], float(score)) for place, score in zip(places[0], scores[0], strict=True)]


def mine(
    run: str | Path,
    out: str | Path | None = None,
    overrides: Sequence[str] = (),
    *,
    query: str | None = None,
    target: str | None = None,
    part: str = "train",
    count: int = 5,
    ranks: tuple[int, int] = (1, 100),
    margin: float = 0.05,
    choose: Literal["hardest", "random"] = "hardest",
    index: Literal["auto", "torch", "faiss"] = "auto",
    checkpoint: str = "final",
    source: Source | None = None,
    extensions: Extensions | None = None,
) -> Mined:
    """Mine hard negatives with a run's model; a recipe takes the file as `data.negatives`.

    Args:
        run: the run folder.
        out: the Parquet file to write (see `sensorium.data.mined_negatives`), with a contact sheet beside it,
            .png for .parquet, when both modalities draw; None writes nothing.
        overrides: `key.sub=value` texts applied to the run's recipe, such as `data.source.path=...`.
        query: modality that asks; None, with target None too, takes the first two, or the only one for both.
        target: modality that is searched for negatives.
        part: "train", "val", "test" or "all"; a training accepts negatives out of its train part alone.
        count: the most negatives of a query.
        ranks: first and last rank taken, 1 being the nearest of all that is neither positive nor a duplicate.
        margin: a negative's cosine is at most the least of the query's positives', minus this share of it.
        choose: "hardest", or "random" among those that ranks and margin leave.
        index: what searches, exactly in any case: "torch", "faiss", or "auto" for FAISS without a GPU.
        checkpoint: as in `load`.
        source: records in place of those that `data.source` names.
        extensions: plugins, when not those that are installed.

    Raises:
        SensoriumError: when nothing can be mined, in one sentence.
    """
    model, measurement = _measured(run, overrides, checkpoint, source, extensions)
    rules = Rules(count, tuple(ranks), margin, choose, model.plan.recipe.seed)
    table = measurement.table(model, part, "embedding")
    if query is None and target is None and len(model.modalities) == 1:
        query = target = model.modalities[0]
    if query is None or query != target:
        query, target = pair(table, query, target)
    mined = mine_table(table, query, target, rules, measurement.values(table.ids, {query, target}), index)
    mined.about = {
        "run": str(run),
        "checkpoint": checkpoint,
        "part": part,
        "query": query,
        "target": target,
        "field": model.plan.fields[target],
        "rules": asdict(rules),
    }
    if out is not None:
        mined.write(Path(out))
        sheet = draw_mined(mined, table, measurement)
        if sheet is not None:
            write_atomically(Path(out).with_suffix(".png"), lambda path: sheet.save(path, format="PNG"))
    return mined


def export(
    run: str | Path,
    folder: str | Path,
    format: str = "encoders",
    *,
    checkpoint: str = "final",
    extensions: Extensions | None = None,
) -> str:
    """Write what a run learned as files that others read.

    Args:
        run: the run folder.
        folder: the folder to write, new or empty.
        format: the name of an exporter; `sensorium list exporters` shows them.
        checkpoint: as in `load`.
        extensions: plugins, when not those that are installed.

    Returns:
        The lines of Python that load what was written.

    Raises:
        SensoriumError: when the folder is not empty, or the run cannot be written so.
    """
    extensions = extensions or load_extensions()
    exporter = extensions.registry.find("exporters", format).load()()
    out = Path(folder)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunError(f"{folder} exists and is not an empty folder: choose another.")
    out.mkdir(parents=True, exist_ok=True)
    return exporter.export(load(run, checkpoint, extensions), out)


def load_encoder(
    folder: str | Path, name: str | None = None, extensions: Extensions | None = None
) -> tuple[Modality, Encoder]:
    """Return a modality and its encoder, out of what `export` wrote in the format "encoders".

    Args:
        folder: the folder.
        name: the modality's name; None takes the only one.
        extensions: plugins, when not those that are installed.

    Raises:
        RunError: when the folder holds no such encoder.
    """
    return read_encoder(Path(folder), name, extensions or load_extensions())


def _measured(
    run: str | Path,
    overrides: Sequence[str],
    checkpoint: str,
    source: Source | None,
    extensions: Extensions | None,
) -> tuple[Model, Measurement]:
    """Return a run's model, and what embeds the records of its source, or of another one."""
    model, plan, source = _opened(run, overrides, checkpoint, source, extensions, {})
    return model, Measurement(plan, source, Run.open(run))


def _opened(
    run: str | Path,
    overrides: Sequence[str],
    checkpoint: str,
    source: Source | None,
    extensions: Extensions | None,
    evaluators: Mapping[str, Any],
) -> tuple[Model, Plan, Source]:
    """Return a run's model, and the changed recipe's parts, with the given evaluators, and source."""
    extensions = extensions or load_extensions()
    model = load(run, checkpoint, extensions)
    assert model.run is not None
    plain = read_recipe(model.run.recipe_file, extensions.registry, overrides).plain()
    plain["evaluate"]["evaluators"] = dict(evaluators)
    plan = make_plan(read_recipe(plain, extensions.registry), extensions)
    for name, modality in plan.modalities.items():
        modality.load_state(model.plan.modalities[name].state())
    return Model(plan, model.learner, model.run), plan, _source_of(plan, source)


def _source_of(plan: Plan, source: Source | None) -> Source:
    """Return the source that was handed in, or else the one that a run's recipe names."""
    if source is not None:
        return source
    if plan.source is None:
        raise RecipeError("The run was given its source by hand: hand the same again with source=...")
    return plan.source()
