"""Predicting the labels of records with a fine-tuned run."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sensorium.api.models import open_run
from sensorium.api.predicted_source import source_words
from sensorium.contracts import Source
from sensorium.data.decoding import RecordDecoder
from sensorium.data.loader import iterate
from sensorium.data.patience import Patience
from sensorium.data.splits import PARTS, assign_parts
from sensorium.data.unreadable import UnreadableRecords
from sensorium.devices import find_device, gains_from_pinning
from sensorium.errors import DataError, RunError, not_found
from sensorium.finetuning.prediction_file import prediction_rows, require_prediction_format, write_predictions_file
from sensorium.finetuning.predictor import Predictor, require_head
from sensorium.launcher import find_launcher
from sensorium.models.plan import Plan
from sensorium.progress_bar import RecordsBar
from sensorium.registration.blame import naming_plugins
from sensorium.registration.discovery import Extensions, load_extensions
from sensorium.runs.atomic import require_apart
from sensorium.runs.run import Run
from sensorium.training.precision import numeric_settings

log = logging.getLogger("sensorium")


@dataclass(frozen=True)
class Predicted:
    """What a prediction wrote.

    Args:
        out: the file.
        task: of the fine-tuning.
        labels: names of the label columns.
        records: number of records that were to be predicted.
        predicted: number of rows of the file.
        missing: number of records without a value, which have no row.
        unreadable: number of records with a value that could not be read, which have no row.
        unreadable_file: the table that names them; None where there are none.
        counts: column of predicted classes -> class -> number of records.
    """

    out: Path
    task: str
    labels: list[str]
    records: int
    predicted: int
    missing: int
    unreadable: int
    unreadable_file: Path | None
    counts: Mapping[str, Mapping[Any, int]]

    def public(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        plain = {
            name: getattr(self, name) for name in ("task", "labels", "records", "predicted", "missing", "unreadable")
        }
        counts = {column: {str(name): n for name, n in of.items()} for column, of in self.counts.items()}
        where = None if self.unreadable_file is None else str(self.unreadable_file)
        return {"out": str(self.out), **plain, "unreadable_file": where, "counts": counts}

    def __str__(self) -> str:
        """Say it in a sentence or two."""
        of_classes = "; ".join(
            ", ".join(f"{name} {count:,}" for name, count in counts.items()) for counts in self.counts.values()
        )
        said = f"{self.predicted:,} records predicted into {self.out}"
        said += f" ({of_classes})." if of_classes and len(self.counts) == 1 else "."
        if self.unreadable:
            said += f" {self.unreadable:,} of {self.records:,} could not be read: they are in {self.unreadable_file}."
        if self.missing:
            said += f" {self.missing:,} of {self.records:,} have no value."
        return said


@naming_plugins
def predict(
    run: str | Path,
    source: Any,
    out: str | Path,
    overrides: Sequence[str] = (),
    *,
    part: str = "all",
    device: str = "auto",
    extensions: Extensions | None = None,
    **handed_in: Any,
) -> Predicted:
    """Predict the labels of records with a run that `finetune` wrote, and write them to a file.

    Records are decoded and encoded as in its evaluation, batch by batch, and written as a stream: memory does not grow
    with their number. One whose value cannot be read has no row, and is named in `OUT.unreadable.csv`.

    Args:
        run: the run folder that `finetune` wrote.
        source: the path of a folder or table, read by the run's own source with its options where that reads a path of
            the kind; or the name of a source; or anything else that `fit` takes. Labels need not be there.
        out: the file, .parquet or .csv: `id`, `prediction` and, of classes, `probability.CLASS` for each; of several
            label columns `prediction.LABEL` (1 for its positive class) and `probability.LABEL`.
        overrides: `key.sub=value` texts applied to the run's recipe.
        part: "train", "val", "test" or "all".
        device: as in `load`.
        extensions: plugins, when not those that are installed.
        handed_in: what was handed in to the `fit` of the run, by the same names: `encoder=...`, `objective=...`.

    Returns:
        How many records were predicted, and of which classes.

    Raises:
        RunError: when the run has no fine-tuned head, or the file cannot be written.
        DataError: when no record can be read.
    """
    out = Path(out)
    require_prediction_format(out)
    if (launcher := find_launcher()).processes > 1:
        raise RunError(f"Predicting runs in one process: start it without {launcher.name}.")
    opened, extensions = Run.open(run), extensions or load_extensions()
    require_head(opened)
    words, given = [], source
    if isinstance(source, str | Path):
        words, given = source_words(opened, source, part, extensions.registry), None
    everything = ["data.select=null"] if part == "all" else []
    changes = ["data.max_bad=1", *everything, *words, *overrides]
    place = find_device(device, "--device")
    model, plan, records = open_run(run, changes, "final", given, extensions, {}, place, handed_in)
    table = out.with_suffix(".unreadable.csv")
    for written in (out, table):
        require_apart(written, plan.source_options, endings=records.extensions)
    predictor = Predictor.of(model, opened, extensions)
    positions = _positions(plan, records, part)
    table.unlink(missing_ok=True)
    bad = UnreadableRecords(len(records), plan.recipe.data.max_bad, table)
    with numeric_settings(plan.recipe.train):
        count, counts = write_predictions_file(out, _predicted(predictor, plan, records, positions, bad))
    bad.end_of_pass()
    if not count:
        raise DataError(f"None of the {len(positions):,} records can be predicted: {_why(bad, predictor.modality)}.")
    labels, task = predictor.task.columns, str(predictor.options.task)
    unread = len({value.record for value in bad.values.values() if value.modality in ("", predictor.modality)})
    where = table if len(bad) else None
    missing = len(positions) - count - unread
    return Predicted(out, task, labels, len(positions), count, missing, unread, where, counts)


def _positions(plan: Plan, source: Source, part: str) -> np.ndarray:
    """Return the positions of the records of a part, int64, ascending."""
    if part == "all":
        return np.arange(len(source))
    if part not in PARTS:
        problem = f"There is no part '{part}' of the split"
        raise DataError(not_found(problem, part, PARTS, f"known: {', '.join([*PARTS, 'all'])}"))
    data = plan.recipe.data
    return assign_parts(source, {"val": data.val, "test": data.test}, data.split_seed, plan.split())[part]


def _predicted(
    predictor: Predictor, plan: Plan, source: Source, positions: np.ndarray, bad: UnreadableRecords
) -> Iterator[dict[str, list[Any]]]:
    """Yield rows of predictions, batch by batch as the evaluation of the run reads them."""
    modality, data = predictor.modality, plan.recipe.data
    fields = {name: field for name, field in plan.fields.items() if name == modality or field in source.fields}
    patience, keys = Patience(data.retries, data.timeout), plan.record_keys
    decoder = RecordDecoder(source, fields, plan.modalities, all_values=True, patience=patience, keys=keys)
    pin, progress = gains_from_pinning(predictor.model.device), RecordsBar("predicting", len(positions), 0)
    try:
        for records in iterate(
            decoder, positions, batch=plan.recipe.evaluate.batch, bad=bad, workers=data.workers, pin=pin
        ):
            progress.add(len(records))
            if modality not in records.batches:
                continue
            outputs_NK = predictor.finetuned.outputs(records.batches[modality]).float().cpu().numpy()
            present = records.present[modality]
            ids = records.ids if present is None else [records.ids[row] for row in np.flatnonzero(present)]
            yield prediction_rows(predictor, ids, outputs_NK)
    finally:
        progress.close()


def _why(bad: UnreadableRecords, modality: str) -> str:
    """Return why there is no record to predict, a clause."""
    if not len(bad):
        return f"none has a value of '{modality}'"
    return f"the first, {next(iter(bad.values.values())).sentence}"
