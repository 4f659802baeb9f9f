"""Fine-tuning of a run."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from sensorium.api.announcement import announce_notes
from sensorium.api.models import open_run
from sensorium.api.run_parts import extensions_of
from sensorium.api.stopping import stopped_finetuning
from sensorium.contracts import Source
from sensorium.data.notes import data_notes
from sensorium.devices import find_device
from sensorium.errors import DataError, RunError
from sensorium.evaluation.part_reader import PartReader
from sensorium.evaluation.starting_models import as_it_came
from sensorium.evaluation.tables import ResultsTable
from sensorium.finetuning.few_labels import label_amounts
from sensorium.finetuning.finetuner import Finetuner, Initialization
from sensorium.finetuning.learning_curve import learning_curve
from sensorium.finetuning.predictor import Predictor
from sensorium.interruption import raised
from sensorium.launcher import find_launcher
from sensorium.models.model import Model
from sensorium.models.plan import Plan
from sensorium.registration.blame import naming_plugins
from sensorium.registration.discovery import Extensions, load_extensions
from sensorium.runs.run import Run
from sensorium.training.fabric import fabric_of_one
from sensorium.training.metrics import MetricsLog
from sensorium.training.precision import numeric_settings


@naming_plugins
def finetune(
    run: str | Path,
    overrides: Sequence[str] = (),
    *,
    start: Literal["both", "trained", "weights", "scratch"] = "both",
    run_dir: str | Path | None = None,
    checkpoint: str = "final",
    device: str = "auto",
    source: Any = None,
    extensions: Extensions | None = None,
    **handed_in: Any,
) -> Finetuned:
    """Train a run's encoder, and a small head on it, on labels, as `finetune` of the recipe says.

    It trains on the train part, takes the best epoch by the val part, or by folds of few labels, and reports on the
    test part.

    Args:
        run: the run folder.
        overrides: `key.sub=value` texts applied to the run's recipe, such as `data.source.path=...` and
            `finetune.labels=[class]`.
        start: "trained" for the run's encoder, "weights" for what the run itself started from, "scratch" for random
            weights, "both" to compare all that there are.
        run_dir: the folder to write; default `finetune-DATE-TIME` in the run folder.
        checkpoint: as in `load`.
        device: as in `load`.
        source: records in place of those that `data.source` names: a `Source`, or anything that `fit` takes.
        extensions: plugins, when not those that are installed.
        handed_in: what was handed in to the `fit` of the run, by the same names: `encoder=...`, `objective=...`.

    Returns:
        The table, what predicts (the first seed's encoder and head), the run folder, which `load` opens too, and the
        learning curve of several amounts of labels.

    Raises:
        DataError: when the labels allow no fine-tuning, before anything is trained.
        Interrupted: after Ctrl-C, SIGTERM or SIGHUP; the rows that are done are kept.
    """
    extensions = extensions_of(Run.open(run), extensions or load_extensions(), handed_in)
    if (launcher := find_launcher()).processes > 1:
        raise RunError(
            f"Fine-tuning runs in one process: start it without {launcher.name}, and choose its GPU by --device."
        )
    place = find_device(device, "--device")
    model, plan, source = open_run(run, overrides, checkpoint, source, extensions, {}, place, {})
    folder = Path(run_dir) if run_dir else Path(run) / f"finetune-{time.strftime('%Y%m%d-%H%M%S')}"
    written = Run.create(folder, plan.recipe, extensions)
    handler = written.log_to_file()
    try:
        with raised():
            done = _finetune(plan, model, source, written, place, start)
    except KeyboardInterrupt as error:
        written.update(state="interrupted")
        raise stopped_finetuning(error, written) from None
    except BaseException:
        written.update(state="failed")
        raise
    finally:
        logging.getLogger("sensorium").removeHandler(handler)
        handler.close()
        written.discard_if_unused()
    written.update(state="finished")
    return done


def _finetune(
    plan: Plan,
    model: Model,
    source: Source,
    run: Run,
    place: torch.device,
    start: Literal["both", "trained", "weights", "scratch"],
) -> Finetuned:
    """Say what happens to the data, and train; args as in `finetune`."""
    models: dict[Initialization, Model] = {"trained": model}
    remark = ""
    if start in ("both", "weights"):
        assert model.run is not None, "it was opened"
        came, remark = as_it_came(model, model.run)
        if came is not None:
            models["weights"] = came
        elif start == "weights":
            raise RunError(remark or "The run started from random weights: fine-tune from those with scratch.")
    order: list[Initialization] = ["scratch", "weights", "trained"]
    starts = [one for one in order if one == "scratch" or one in models] if start == "both" else [start]
    with numeric_settings(plan.recipe.train):
        finetuners, notes = _finetuners(plan, models, source, run, place)
        train = np.unique(np.concatenate([finetuner.train for finetuner in finetuners]))
        notes = data_notes(source, train, plan.fields, plan.modalities) + notes + [remark] * bool(remark)
        announce_notes(notes)
        run.update(notes=notes)
        for name, modality in plan.modalities.items():
            run.keep_state(name, modality.state())
        metrics_log = MetricsLog(run, plan.loggers, plan.recipe.plain())
        tables: dict[str, ResultsTable] = {}
        for finetuner in finetuners:
            table, tuned = finetuner.run_all(starts, metrics_log)
            tables[finetuner.amount] = table
            if len(finetuners) > 1:
                curve = learning_curve(tables, finetuner.metric)
                curve.write(run.folder)
        metrics_log.close("finished")
        return Finetuned(table, finetuner.predictor(tuned), run, curve if len(finetuners) > 1 else None)


def _finetuners(
    plan: Plan, models: Mapping[Initialization, Model], source: Source, run: Run, place: torch.device
) -> tuple[list[Finetuner], list[str]]:
    """Return what fine-tunes on each amount of labels, the smallest first, and what a user must know of the labels.

    Of several amounts, those of which nothing can be learned are left out, with a sentence.

    Raises:
        DataError: when there is no test part, or nothing can be learned of any amount.
    """
    reader, fabric = PartReader(plan, source, run), fabric_of_one(plan.recipe.train, place)
    if not len(reader.parts["test"]):
        raise DataError("There is no test part to report on: set data.test above 0.")
    amounts = label_amounts(plan.recipe.finetune)
    asked = [Finetuner(plan, models, reader, run, fabric, options, name) for name, options in amounts.items()]
    reader.keep(np.unique(np.concatenate([finetuner.train for finetuner in asked])), place)
    finetuners, notes = [], []
    for finetuner in asked:
        try:
            finetuner.read()
        except DataError as error:
            if len(asked) == 1:
                raise
            notes.append(f"{finetuner.amount}: left out, {str(error)[:1].lower()}{str(error)[1:].rstrip('.')}")
            continue
        of_amount = finetuner.notes()
        notes += [f"{finetuner.amount}: {note}" for note in of_amount] if len(asked) > 1 else of_amount
        finetuners.append(finetuner)
    if not finetuners:
        raise DataError(f"Nothing can be learned of any amount of labels: {'; '.join(notes)}.")
    return sorted(finetuners, key=lambda finetuner: len(finetuner.labeled[0].table)), notes


@dataclass(frozen=True)
class Finetuned:
    """The result of fine-tuning, shown as its table.

    Args:
        table: of the amount of labels that was asked for; of several, of the largest.
        predictor: the first seed's encoder and head, learned from that amount.
        run: the run folder of both.
        curve: the learning curve over several amounts of labels: a row for each model, a column for each amount.
    """

    table: ResultsTable
    predictor: Predictor
    run: Run
    curve: ResultsTable | None = None

    @property
    def shown(self) -> ResultsTable:
        """The learning curve, or else the table."""
        return self.curve or self.table

    def __repr__(self) -> str:
        return f"{self.shown!r}\n{self.predictor!r}\n{self.run!r}"

    def _repr_html_(self) -> str:
        """Render for a notebook."""
        return self.shown._repr_html_()
