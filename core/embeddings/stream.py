"""Embedding the records of a source as a stream: row group by row group, over ranks, continued where it stopped."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
import pyarrow as pa

from sensorium.embeddings.identity import ids_hash, states_hash, weights_hash
from sensorium.embeddings.parts import PartsFolder, require_lance
from sensorium.embeddings.table import EmbeddingOptions, RowMaker, joint_schema
from sensorium.errors import RunError
from sensorium.evaluation.features import ModelReader, feature_tables, read_features
from sensorium.evaluation.run_evaluation import RunEvaluation
from sensorium.feature_table import FeatureTable
from sensorium.models.model import Model
from sensorium.parallel import collectives
from sensorium.parallel.rank_zero import on_every_rank, on_rank_zero
from sensorium.progress_bar import RecordsBar
from sensorium.types import RecordBatch

log = logging.getLogger("sensorium")
ROWS = 8192
"""Records of a row group, about: whole batches of `evaluate.batch`."""


def write_stream(model: Model, evaluation: RunEvaluation, out: Path, options: EmbeddingOptions) -> int:
    """Embed the records of a part into a file, in the order of the source; collective.

    Memory does not grow with their number. Row groups are written beside the file, each by one rank; those that an
    interrupted call left are kept, and the file comes to be the same.

    Args:
        model: the model.
        evaluation: the records.
        out: the file, .parquet or .lance.
        options: what is written of each record.

    Returns:
        How many records were embedded.

    Raises:
        RunError: when the file cannot be written, or was begun with other records, weights or options.
        SensoriumError: when an embedding is not finite.
    """
    require_lance(out)
    stream = _Stream(model, evaluation, out, options)
    missing = on_rank_zero(stream.parts.open)
    on_every_rank(stream.write, missing[collectives.rank() :: collectives.world_size()], len(missing))
    evaluation.reader.unreadable.share()
    return on_rank_zero(stream.join)


class _Stream:
    """One embedding of the records at `positions`, cut into row groups."""

    def __init__(self, model: Model, evaluation: RunEvaluation, out: Path, options: EmbeddingOptions) -> None:
        self.model, self.evaluation, self.out, self.options = model, evaluation, out, options
        self.rows = RowMaker(evaluation, options)
        self.positions = evaluation.reader.usable(options.part)
        if not len(self.positions):
            raise RunError(f"The part '{options.part}' has no records: there is nothing to embed.")
        batch = model.plan.recipe.evaluate.batch
        self.size = max(ROWS // batch, 1) * batch
        self.groups = -(-len(self.positions) // self.size)
        self.parts = PartsFolder(out, self._identity(), self.groups)
        self.seconds = 0.0

    def write(self, numbers: Sequence[int], of_all_ranks: int) -> None:
        """Write row groups by their numbers, ascending.

        Args:
            numbers: those of this rank.
            of_all_ranks: how many all ranks write, which the progress is told of.
        """
        progress = None
        if collectives.rank() == 0:
            done = (self.groups - of_all_ranks) * self.size
            if done:
                log.info("%d of %d row groups are there already.", self.groups - of_all_ranks, self.groups)
            progress = RecordsBar("embedding", len(self.positions), min(done, len(self.positions)))
        left = set(numbers)
        try:
            for number, batches in groupby(self._batches(numbers, progress), self._number):
                self.parts.write(number, self.rows(self._table(batches)))
                left.discard(number)
            for number in sorted(left):  # none of their records can be read
                self.parts.write(number, pa.table({"id": pa.array([], pa.string())}))
        finally:
            if progress is not None:
                progress.close()
        if progress is not None and numbers:
            log.info("embedding: %s records/s", f"{progress.rate(progress.done):,.0f}")

    def join(self) -> int:
        """Join the row groups to the file, and say what it is."""

        def schema_of(schemas: Sequence[pa.Schema]) -> pa.Schema:
            schema = joint_schema(schemas, self.rows.labels, self.model.modalities)
            if not any(name in schema.names for name in self.model.modalities):
                raise RunError(f"No encoder of the run returns {self.options.space}.")
            return schema

        count = self.parts.join(schema_of)
        lost = len(self.positions) - count
        if lost:
            table = self.evaluation.reader.unreadable.path
            log.warning("%s of %s records could not be read: they are in %s.", *map(_n, (lost, lost + count)), table)
        return count

    def _batches(self, numbers: Sequence[int], progress: RecordsBar | None) -> Iterator[RecordBatch]:
        """Yield the records of some row groups, in order, in batches of which none is in two groups."""
        chosen = [self.positions[n * self.size : (n + 1) * self.size] for n in numbers]
        positions = np.concatenate([np.zeros(0, np.int64), *chosen])
        for records in self.evaluation.reader.in_order(positions, self.model.device):
            yield records
            if progress is not None:
                progress.add(len(records) * collectives.world_size())

    def _number(self, records: RecordBatch) -> int:
        """Return the number of the row group of a batch."""
        assert records.positions is not None, "batches of a source have positions"
        return int(np.searchsorted(self.positions, records.positions[0])) // self.size

    def _table(self, batches: Iterator[RecordBatch]) -> FeatureTable:
        rows = read_features(batches, [ModelReader(self.model, [self.options.space])])
        return feature_tables([rows], None)[0][self.options.space]

    def _identity(self) -> dict[str, object]:
        """Return what makes two embeddings the same, by the words in which a difference is told."""
        return {
            "weights": weights_hash(self.model),
            "modalities": states_hash(self.model),
            "records": ids_hash(self.evaluation.source.columns(), self.positions),
            "part": self.options.part,
            "space": self.options.space,
            "labels": list(self.rows.labels),
            "precision": "float16" if self.options.half else "float32",
            "captions": self.options.captions,
            "evaluate.batch": self.model.plan.recipe.evaluate.batch,
            "rows of a group": self.size,
        }


def _n(count: int) -> str:
    return f"{count:,}"
