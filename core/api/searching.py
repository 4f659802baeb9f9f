"""Searching the records of a run by similarity to a text, a file or any raw value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from sensorium.api.models import load
from sensorium.api.run_records import open_records
from sensorium.data.summary import RecordSummary, summarize
from sensorium.embeddings.file import EmbeddingFile
from sensorium.embeddings.of_run import require_same
from sensorium.embeddings.query import Query, read_query
from sensorium.embeddings.search import nearest_in
from sensorium.errors import RunError, check_range, not_found
from sensorium.evaluation.contact_sheet import RetrievedImage, contact_sheet, require_own_sheet, write_sheet
from sensorium.evaluation.previews import Previews
from sensorium.evaluation.run_evaluation import RunEvaluation
from sensorium.feature_table import FeatureTable
from sensorium.indexing.records import RecordIndex, is_index, names_index, require_index
from sensorium.models.model import Model
from sensorium.neighbors.similarity import nearest_neighbors
from sensorium.registration.blame import naming_plugins
from sensorium.registration.discovery import Extensions
from sensorium.runs.atomic import require_apart

ROW = 6
"""Records in a row of the contact sheet."""


@dataclass(frozen=True, kw_only=True)
class Hit(RecordSummary):
    """A record that a search found.

    Args:
        rank: 1 for the nearest.
        id: of the record.
        score: cosine of the query and the record's value of the searched modality, -1 to 1.
        previews: modality name -> the path of the preview that an index has of its value.
    """

    rank: int
    id: str
    score: float
    previews: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SearchResult(Sequence[Hit]):
    """What a search asked, where, and what it found: a sequence of hits, nearest first.

    Args:
        query: the query in one line.
        by: the modality that read it.
        others: further modalities of the run that would have read it.
        target: the modality that was searched.
        part: the part of the split that was searched.
        searched: number of its records that have the target.
        hits: the records that were found.
    """

    query: str
    by: str
    others: tuple[str, ...]
    target: str
    part: str
    searched: int
    hits: tuple[Hit, ...]

    def __len__(self) -> int:
        return len(self.hits)

    def __getitem__(self, index: Any) -> Any:
        return self.hits[index]

    def __iter__(self) -> Iterator[Hit]:
        return iter(self.hits)


@naming_plugins
def search(
    run: str | Path,
    query: Any,
    overrides: Sequence[str] = (),
    *,
    by: str | None = None,
    target: str | None = None,
    part: str = "all",
    count: int = 10,
    sheet: str | Path | None = None,
    vectors: str | Path | None = None,
    where: str | None = None,
    checkpoint: str = "final",
    device: str = "auto",
    source: Any = None,
    extensions: Extensions | None = None,
    **handed_in: Any,
) -> SearchResult:
    """Find the records that lie nearest to a raw value in the space where the objective compares.

    Args:
        run: the run folder.
        query: a raw value: a text, the path of a file, an array.
        overrides: `key.sub=value` texts applied to the run's recipe, such as `data.source.path=...`.
        by: the modality that reads the query; None takes the first that reads it: a file by its extension, words by
            decoding. Words that look like a file which is not there are refused, unless `by` names their modality.
        target: the modality that is searched; None takes the first other one, or the only one.
        part: "train", "val", "test" or "all".
        count: number of records to find.
        sheet: a .png file to write: a contact sheet of the query and the records found; None writes none.
        vectors: a file that `embed` wrote, or a folder that `index` wrote, which is searched in place of the records of
            the source: nothing is embedded but the query, and it may be larger than memory.
        where: of an index, which records are searched, a condition of SQL: "category = 'cat' AND split = 'train'". Its
            columns are id, split, group, captions and paths ("caption.text") and labels, by their names.
        checkpoint: as in `load`.
        device: as in `load`.
        source: records in place of those that `data.source` names: a `Source`, or anything that `fit` takes.
        extensions: plugins, when not those that are installed.
        handed_in: what was handed in to the `fit` of the run, by the same names: `encoder=...`, `objective=...`.

    Returns:
        The hits, nearest first, each with id, score, captions, paths and labels.

    Raises:
        RunError: when nothing reads the query, there is no such file or modality, no record has the target, or the
            condition cannot be read.
    """
    check_range("search", "[1, inf)", count=count)
    if sheet is not None and Path(sheet).suffix.lower() != ".png":
        raise RunError(f"A contact sheet is a PNG image: '{sheet}' does not end in .png.")
    if sheet is not None:
        require_own_sheet(Path(sheet))
        require_apart(sheet, query)
    if vectors is not None and names_index(vectors):
        require_index(vectors)
    if where is not None and (vectors is None or not is_index(vectors)):
        raise RunError(f"A filter is for an index: `sensorium index {run}` makes one, which --vectors names.")
    if vectors is not None:
        if sheet is not None or source is not None or overrides:
            raise RunError("A file of vectors is searched without records: no contact sheet, source or change of data.")
        model, evaluation = load(run, checkpoint, extensions, device, **handed_in), None
    else:
        model, evaluation = open_records(run, overrides, checkpoint, device, source, extensions, handed_in)
    modalities = model.plan.modalities
    asked = read_query(query, modalities, by)
    target = target or next((name for name in modalities if name != asked.modality), asked.modality)
    if target not in modalities:
        known = ", ".join(modalities)
        raise RunError(not_found(f"The run has no modality '{target}'", target, modalities, f"it has {known}"))
    query_1D = model.encode(asked.modality, modalities[asked.modality].collate([asked.example])).cpu()

    if vectors is not None and is_index(vectors):
        return _in_index(RecordIndex(vectors), model, asked, target, part, where, query_1D, count)
    if evaluation is None:
        return _in_file(EmbeddingFile(vectors), model, asked, target, part, query_1D, count)  # type: ignore[arg-type]

    def nearest(table: FeatureTable) -> SearchResult:
        if target not in table.present or not table.present[target].any():
            raise RunError(f"No record of the part '{part}' has '{target}': there is nothing to search.")
        rows_V, targets_VD = table.values(target)
        if query_1D.shape[1] != targets_VD.shape[1]:
            raise RunError(
                f"'{asked.modality}' and '{target}' have no joint embedding space: choose others with --by and "
                "--target."
            )
        most = int(np.bincount(rows_V).max())  # of a record with several values, the nearest counts
        scores_1K, found_1K = nearest_neighbors(query_1D, targets_VD, count * most, model.device)
        firsts = np.sort(np.unique(rows_V[found_1K[0]], return_index=True)[1])[:count]
        rows, scores = rows_V[found_1K[0]][firsts], scores_1K[0][firsts]
        hits = _hits(evaluation, table, rows, scores)
        result = SearchResult(
            asked.text, asked.modality, asked.others, target, part, int(table.present[target].sum()), hits
        )
        if sheet is not None:
            positions = table.positions[rows].tolist()  # type: ignore[index]
            _write_sheet(Path(sheet), asked, result, Previews(evaluation.plan, evaluation.source), positions)
        return result

    return evaluation.with_table(model, part, "embedding", nearest)


def _in_file(
    file: EmbeddingFile, model: Model, asked: Query, target: str, part: str, query_1D: Tensor, count: int
) -> SearchResult:
    """Return the nearest rows of a file of embeddings."""
    require_same(file, model, "embedding")
    rows, scores, searched = nearest_in(file, target, query_1D, count, part)
    hits = [
        Hit(rank=rank, id=id, score=score, **vars(told))
        for rank, ((id, told), score) in enumerate(zip(file.summaries(rows.tolist()), scores.tolist(), strict=True), 1)
    ]
    return SearchResult(asked.text, asked.modality, asked.others, target, part, searched, tuple(hits))


def _in_index(
    index: RecordIndex,
    model: Model,
    asked: Query,
    target: str,
    part: str,
    where: str | None,
    query_1D: Tensor,
    count: int,
) -> SearchResult:
    """Return the nearest records of an index that fulfill a condition."""
    require_same(index, model, "embedding")
    found, searched = index.nearest(target, query_1D, count, index.condition(part, where))
    hits = [
        Hit(rank=rank, id=record.id, score=record.score, previews=record.previews, **vars(record.summary))
        for rank, record in enumerate(found, 1)
    ]
    return SearchResult(asked.text, asked.modality, asked.others, target, part, searched, tuple(hits))


def _hits(evaluation: RunEvaluation, table: FeatureTable, rows: np.ndarray, scores: np.ndarray) -> tuple[Hit, ...]:
    """Return the hits at rows of a table, with what can be said of their records."""
    assert table.positions is not None, "batches of a source have positions"
    plan, hits = evaluation.plan, []
    for rank, (row, score) in enumerate(zip(rows.tolist(), scores.tolist(), strict=True), start=1):
        told = summarize(evaluation.source, int(table.positions[row]), plan.fields, plan.modalities)
        hits.append(Hit(rank=rank, id=table.ids[row], score=score, **vars(told)))
    return tuple(hits)


def _write_sheet(path: Path, asked: Query, result: SearchResult, previews: Previews, positions: list[int]) -> None:
    """Draw the query and the records found, row after row."""
    images = [
        RetrievedImage(previews(position, result.target), f"{hit.rank}: {hit.score:.2f} {hit.id}", False)
        for position, hit in zip(positions, result, strict=True)
    ]
    rows = [images[start : start + ROW] for start in range(0, len(images), ROW)]
    drawn = [previews.of_query(asked.example, asked.modality, asked.text), *[None] * (len(rows) - 1)]
    title = f"{asked.modality} -> {result.target}, {result.searched:,} records"
    drawing = contact_sheet(drawn, rows, title, captions=[asked.text, *[""] * (len(rows) - 1)])
    write_sheet(drawing, path)
