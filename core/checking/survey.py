"""Reading every record once, on all cores, and summing up what was found."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from sensorium.checking.duplicates import find_duplicates
from sensorium.checking.examiner import Examined, RecordExaminer
from sensorium.checking.facts import FactTable
from sensorium.checking.labels import count_labels
from sensorium.checking.modality_report import ModalityReport
from sensorium.checking.report import DataReport
from sensorium.checking.subject import Subject
from sensorium.data.decoding import learned_from, raw_values
from sensorium.data.loader import from_workers
from sensorium.data.notes import data_notes
from sensorium.data.patience import Patience
from sensorium.data.splits import assign_parts
from sensorium.data.unreadable import UnreadableRecords
from sensorium.parallel.cores import cores_of_rank

CHUNK, MOST = 64, 1024
"""Records that a worker examines at a time: at least, and at most."""
PIECES = 200
"""In about so many pieces the records are examined, so that progress shows."""
FEW = 256
"""So few records are examined by this process alone, sooner than workers would start."""


def survey(subject: Subject, progress: Callable[[int, int], None] | None = None) -> DataReport:
    """Read every record of every part, and report what was found; nothing is trained or written.

    Args:
        subject: what is checked.
        progress: called with the number of records examined so far, and of all.

    Raises:
        SensoriumError: for what would stop a training before its first step, or a defect of a source or modality.
    """
    source, data, start = subject.source, subject.data, time.perf_counter()
    parts = assign_parts(source, {"val": data.val, "test": data.test}, data.split_seed, subject.split)
    fit_modalities(subject, parts["train"])
    workers = _workers(len(source), data.workers)
    bad = UnreadableRecords(len(source), data.max_bad, parts=parts, options=subject.options)
    tables = {name: FactTable() for name in subject.fields}
    contents = {name: np.zeros(len(source), np.uint64) for name in subject.fields}
    for found in _examined(subject, workers):
        if found.failure is not None:
            raise found.failure
        bad.count(found.bad)
        for name, facts in found.facts.items():
            contents[name][found.positions] = found.contents[name]
            for fact, values in facts.items():
                tables[name].add(fact, values)
        if progress is not None:
            progress(int(found.positions[-1]) + 1, len(source))
    return DataReport(
        subject.name,
        source,
        {part: len(positions) for part, positions in parts.items()},
        [*subject.notes, *data_notes(source, parts["train"], subject.fields, subject.modalities)],
        _modality_reports(subject, parts, tables, contents, bad),
        count_labels(source.columns(), parts),
        bad,
        time.perf_counter() - start,
        workers,
    )


def fit_modalities(subject: Subject, train: np.ndarray) -> None:
    """Fit the modalities that need it to the train part, or a sample of it where the check alone uses them."""
    positions = train if subject.fitted_on is None else train[:: -(-len(train) // subject.fitted_on)]
    for name, modality in subject.modalities.items():
        if not modality.is_fitted:
            field = subject.fields[name]
            rows = learned_from(subject.source, positions, field, modality)
            modality.fit(raw_values(subject.source, rows, field, modality))


def _workers(count: int, asked: int | str) -> int:
    if isinstance(asked, int):
        return asked
    return 0 if count <= FEW else cores_of_rank()


def _examined(subject: Subject, workers: int) -> Iterator[Examined]:
    count = len(subject.source)
    size = min(max(count // PIECES, CHUNK), MOST)
    pieces = np.split(np.arange(count), range(size, count, size))
    examiner = RecordExaminer(subject.source, subject.fields, subject.modalities)
    return from_workers(examiner, pieces, workers, subject.source, Patience().timeout)


def _modality_reports(
    subject: Subject,
    parts: Mapping[str, np.ndarray],
    tables: Mapping[str, FactTable],
    contents: Mapping[str, np.ndarray],
    bad: UnreadableRecords,
) -> dict[str, ModalityReport]:
    source = subject.source
    train_N = np.zeros(len(source), bool)
    train_N[parts["train"]] = True
    group_N = source.columns().group_numbers()
    made = {}
    for name, content_N in contents.items():
        unreadable_N = np.zeros(len(source), bool)
        unreadable_N[[v.position for v in bad.values.values() if v.modality in (name, "")]] = True
        values = {part: int(np.count_nonzero(content_N[rows])) for part, rows in parts.items()}
        unreadable = {part: int(unreadable_N[rows].sum()) for part, rows in parts.items()}
        missing = {part: len(rows) - values[part] - unreadable[part] for part, rows in parts.items()}
        made[name] = ModalityReport(
            subject.kinds[name],
            subject.fields[name],
            values,
            unreadable,
            missing,
            tables[name].summaries(),
            find_duplicates(content_N, group_N, train_N),
        )
    return made
