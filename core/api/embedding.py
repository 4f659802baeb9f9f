"""Embedding the records of a source with a run's model."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sensorium.api.embedding_files import STREAMED, require_format, write_embeddings
from sensorium.api.run_records import open_records
from sensorium.data.summary import summarize
from sensorium.embeddings.atlas import add_map
from sensorium.embeddings.drawing import RecordImages
from sensorium.embeddings.file import EmbeddingFile
from sensorium.embeddings.projection import require_projection
from sensorium.embeddings.projector import require_empty, write_projector
from sensorium.embeddings.stream import write_stream
from sensorium.embeddings.table import EmbeddingOptions
from sensorium.errors import RunError
from sensorium.evaluation.previews import Previews
from sensorium.feature_table import FeatureTable
from sensorium.parallel import collectives
from sensorium.parallel.rank_zero import on_rank_zero
from sensorium.registration.blame import naming_plugins
from sensorium.registration.discovery import Extensions
from sensorium.runs.atomic import require_apart

log = logging.getLogger("sensorium")
LARGE = 200_000
"""Records above which a file that is made in memory is warned of."""


@naming_plugins
def embed(
    run: str | Path,
    out: str | Path,
    overrides: Sequence[str] = (),
    *,
    part: str = "all",
    space: str = "embedding",
    labels: Sequence[str] | None = None,
    half: bool = False,
    captions: bool = True,
    atlas: bool = False,
    projection: str = "pca",
    projector: str | Path | None = None,
    checkpoint: str = "final",
    device: str = "auto",
    source: Any = None,
    extensions: Extensions | None = None,
    **handed_in: Any,
) -> int:
    """Embed the records of a source with a run's model, and write them to a file.

    A .parquet file and a .lance dataset are written as a stream, row group by row group, so that memory does not grow
    with the number of records; the ranks of `torchrun` share them. Called again after an interruption, it continues.

    Args:
        run: the run folder.
        out: the file, which ends in .parquet, .lance, .npz or .csv. A row of the first two has `id`, `split`, `group`
            (where the source has groups), `label.NAME`, `caption.MODALITY` (texts and SMILES), `path.MODALITY` and,
            under the name of each modality, a list of D numbers, null where a record lacks it. Of several values it is
            the first. The others: see `write_embeddings`.
        overrides: `key.sub=value` texts applied to the run's recipe, such as `data.source.path=...`.
        part: "train", "val", "test" or "all".
        space: "embedding" for the space that the objective compares in, "features" for pooled features; "layers" for
            what every layer returns, "tokens" for the tokens of the last, both to .npz.
        labels: names of the labels to write, .parquet and .lance only; None for all, () for none.
        half: write float16 in place of float32, likewise.
        captions: write captions and paths, likewise; without, records are not read a second time for them.
        atlas: add a map to a .parquet file, as Embedding Atlas reads it: columns `x`, `y`, `neighbors` and images.
        projection: that of the map, "pca" or "umap".
        projector: a folder to write, for the embedding projector of TensorBoard, of a .parquet file.
        checkpoint: as in `load`.
        device: as in `load`.
        source: records in place of those that `data.source` names: a `Source`, or anything that `fit` takes.
        extensions: plugins, when not those that are installed.
        handed_in: what was handed in to the `fit` of the run, by the same names: `encoder=...`, `objective=...`.

    Returns:
        How many records were embedded.

    Raises:
        RunError: for a file of another kind, or when no encoder has anything in the space; for a label that there is
            not; for a number beyond the range of float16; when the parts of an interrupted call are of another model,
            other records or options.
    """
    require_format(Path(out), space)
    options = EmbeddingOptions(part, space, None if labels is None else tuple(labels), half, captions)
    streamed = Path(out).suffix.lower() in STREAMED
    if not streamed and options != EmbeddingOptions(part, space):
        raise RunError(f"Labels, half precision and captions are chosen for {' and '.join(STREAMED)}, not '{out}'.")
    if atlas or projector is not None:
        _require_map(Path(out), projection, projector)
    model, evaluation = open_records(run, overrides, checkpoint, device, source, extensions, handed_in)
    require_apart(out, evaluation.plan.source_options, endings=evaluation.source.extensions)
    if streamed:
        count = write_stream(model, evaluation, Path(out), options)
        images = RecordImages(Previews(evaluation.plan, evaluation.source))
        if projector is not None:
            on_rank_zero(lambda: write_projector(Path(projector), EmbeddingFile(out), images))
        if atlas:
            on_rank_zero(lambda: add_map(Path(out), images, projection))
        return count
    source, plan = evaluation.source, evaluation.plan
    if (count := len(evaluation.reader.positions(part))) > LARGE and collectives.rank() == 0:
        log.warning(
            "'%s' is made in memory, of %s records at once: .parquet and .lance are written as a stream, and go on "
            "where they were interrupted.",
            *(out, f"{count:,}"),
        )

    def write(table: FeatureTable) -> int:
        if not table.features:
            raise RunError(f"No encoder of the run returns {space}.")
        assert table.positions is not None, "batches of a source have positions"
        positions = table.positions.tolist()
        part_of = {position: name for name, rows in evaluation.parts.items() for position in rows.tolist()}
        summaries = (summarize(source, position, plan.fields, plan.modalities) for position in positions)
        write_embeddings(Path(out), table, [part_of[position] for position in positions], summaries)
        return len(table)

    return evaluation.with_table(model, part, space, write)


def _require_map(out: Path, projection: str, projector: str | Path | None) -> None:
    """Raise an error where no map can be made.

    Raises:
        RunError: for another file than .parquet, a projection that there is not, or a folder with something in it.
    """
    if out.suffix.lower() != ".parquet":
        raise RunError(f"A map is made of a .parquet file, not '{out}'.")
    require_projection(projection)
    if projector is not None:
        require_empty(Path(projector))
