"""Indexing the records of a run: vectors, labels, captions, paths and previews in LanceDB."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sensorium.api.run_records import open_records
from sensorium.embeddings.drawing import RecordImages
from sensorium.embeddings.file import EmbeddingFile
from sensorium.embeddings.of_run import require_same
from sensorium.embeddings.stream import write_stream
from sensorium.embeddings.table import EmbeddingOptions
from sensorium.evaluation.previews import Previews
from sensorium.indexing.approximate import require_kind
from sensorium.indexing.records import identity_of, is_index, require_lancedb, require_room
from sensorium.indexing.thumbnails import Thumbnails
from sensorium.indexing.update import IndexUpdate, update_index
from sensorium.parallel.rank_zero import on_rank_zero
from sensorium.registration.blame import naming_plugins
from sensorium.registration.discovery import Extensions

FOLDER, INCOMING = "index", "incoming.parquet"


@naming_plugins
def index(
    run: str | Path,
    out: str | Path | None = None,
    overrides: Sequence[str] = (),
    *,
    part: str = "all",
    labels: Sequence[str] | None = None,
    previews: bool = True,
    vectors: str | Path | None = None,
    kind: str = "auto",
    checkpoint: str = "final",
    device: str = "auto",
    source: Any = None,
    extensions: Extensions | None = None,
    **handed_in: Any,
) -> IndexUpdate:
    """Put the vectors of a run's records into an index, with labels, captions, paths and previews.

    Records that the index does not have are added, those that it has otherwise are replaced, all others stay: also
    those that are no longer among the records. Memory does not grow with their number.

    Args:
        run: the run folder.
        out: the folder of the index, a database of LanceDB; None is `index` in the run folder.
        overrides: `key.sub=value` texts applied to the run's recipe, such as `data.source.path=...`.
        part: "train", "val", "test" or "all".
        labels: names of the labels to keep; None for all.
        previews: draw each record into a small image file, `previews/` in the folder; texts are captions.
        vectors: a file that `embed` wrote, of which the index is made; None embeds the records.
        kind: "exact" compares all vectors, "ivf" those in some of many lists, "auto" is exact up to 200,000 records.
        checkpoint: as in `load`.
        device: as in `load`.
        source: records in place of those that `data.source` names: a `Source`, or anything that `fit` takes.
        extensions: plugins, when not those that are installed.
        handed_in: what was handed in to the `fit` of the run, by the same names: `encoder=...`, `objective=...`.

    Returns:
        How many records were added, updated and left, and how the index is searched.

    Raises:
        RunError: without LanceDB; when the folder holds other files and no index, or other weights made the index, or
            the file of vectors.
    """
    require_lancedb()
    require_kind(kind)
    folder = Path(run, FOLDER) if out is None else Path(out)
    require_room(folder, INCOMING)
    model, evaluation = open_records(run, overrides, checkpoint, device, source, extensions, handed_in)
    incoming = folder / INCOMING if vectors is None else Path(vectors)
    if is_index(folder):
        require_same(identity_of(folder), model, "embedding")
    if vectors is None:
        write_stream(
            model, evaluation, incoming, EmbeddingOptions(part, labels=None if labels is None else tuple(labels))
        )

    def update() -> IndexUpdate:
        file = EmbeddingFile(incoming)
        require_same(file, model, "embedding")
        draw = Thumbnails(RecordImages(Previews(evaluation.plan, evaluation.source)), folder) if previews else None
        made = update_index(folder, file, draw, kind)
        if vectors is None:
            incoming.unlink()
        return made

    return on_rank_zero(update)
