"""Embedding the records of a source with a run's model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sensorium.api.embedding_files import require_format, write_embeddings
from sensorium.api.run_records import open_records
from sensorium.data.summary import summarize
from sensorium.errors import RunError
from sensorium.feature_table import FeatureTable
from sensorium.registration.blame import naming_plugins
from sensorium.registration.discovery import Extensions


@naming_plugins
def embed_source(
    run: str | Path,
    out: str | Path,
    overrides: Sequence[str] = (),
    *,
    part: str = "all",
    space: str = "embedding",
    checkpoint: str = "final",
    device: str = "auto",
    source: Any = None,
    extensions: Extensions | None = None,
    **handed_in: Any,
) -> int:
    """Embed the records of a source with a run's model, and write them to a file.

    Args:
        run: the run folder.
        out: the file, which ends in .npz, .parquet or .csv (see `write_embeddings`).
        overrides: `key.sub=value` texts applied to the run's recipe, such as `data.source.path=...`.
        part: "train", "val", "test" or "all".
        space: "embedding" for the space that the objective compares in, "features" for pooled features; "layers" for
            what every layer returns, "tokens" for the tokens of the last, both to .npz.
        checkpoint: as in `load`.
        device: as in `load`.
        source: records in place of those that `data.source` names: a `Source`, or anything that `fit` takes.
        extensions: plugins, when not those that are installed.
        handed_in: what was handed in to the `fit` of the run, by the same names: `encoder=...`, `objective=...`.

    Returns:
        How many records were embedded.

    Raises:
        RunError: for a file of another kind, or when no encoder has anything in the space.
    """
    require_format(Path(out), space)
    model, evaluation = open_records(run, overrides, checkpoint, device, source, extensions, handed_in)
    source, plan = evaluation.source, evaluation.plan

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
