"""A local page that searches the records of a run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sensorium.api.indexing import FOLDER
from sensorium.api.models import load
from sensorium.api.run_records import open_records
from sensorium.embeddings.file import EmbeddingFile
from sensorium.embeddings.of_run import require_same
from sensorium.embeddings.stream import write_stream
from sensorium.embeddings.table import EmbeddingOptions
from sensorium.errors import DataError, RunError
from sensorium.evaluation.previews import Previews
from sensorium.evaluation.run_evaluation import RunEvaluation
from sensorium.indexing.records import RecordIndex, is_index, names_index, require_index
from sensorium.indexing.update import update_index
from sensorium.models.model import Model
from sensorium.registration.blame import naming_plugins
from sensorium.registration.discovery import Extensions

log = logging.getLogger("sensorium")
NEEDED = ("starlette", "uvicorn", "jinja2", "python_multipart", "lancedb")


@naming_plugins
def browse(
    run: str | Path,
    index: str | Path | None = None,
    overrides: Sequence[str] = (),
    *,
    port: int = 0,
    announce: Callable[[str], None] = print,
    checkpoint: str = "final",
    device: str = "auto",
    source: Any = None,
    extensions: Extensions | None = None,
    **handed_in: Any,
) -> None:
    """Serve a page on this machine alone that searches the records of a run, until Ctrl-C.

    Args:
        run: the run folder.
        index: a folder of `index`, or a file of `embed`; None takes `index` in the run folder, or where there is none
            embeds the records first.
        overrides: `key.sub=value` texts applied to the run's recipe, such as `data.source.path=...`.
        port: of 127.0.0.1; 0 takes a free one.
        announce: is told the address, in which a random token stands.
        checkpoint: as in `load`.
        device: as in `load`.
        source: records in place of those that `data.source` names: a `Source`, or anything that `fit` takes.
        extensions: plugins, when not those that are installed.
        handed_in: what was handed in to the `fit` of the run, by the same names: `encoder=...`, `objective=...`.

    Raises:
        RunError: when the libraries of the page are not installed, the port is taken, or other weights made the index.
    """
    if any(find_spec(name) is None for name in NEEDED):
        raise RunError("The page needs starlette, uvicorn, jinja2 and LanceDB: run pip install 'sensorium[browse]'.")
    from sensorium.browsing.collection import Collection  # the libraries are optional
    from sensorium.browsing.server import serve

    if index is not None and names_index(index):
        require_index(index)
    if index is None and is_index(Path(run, FOLDER)):
        index = Path(run, FOLDER)
    evaluation: RunEvaluation | None = None
    try:
        model, evaluation = open_records(run, overrides, checkpoint, device, source, extensions, handed_in)
    except DataError as error:
        if index is None:
            raise
        log.warning("The records themselves are not shown: %s", error)
        model = load(run, checkpoint, extensions, device, **handed_in)
    with _index_of(model, evaluation, index) as records:
        previews = None if evaluation is None else Previews(evaluation.plan, evaluation.source)
        serve(Collection(model, records, previews, Path(run).resolve().name), port, announce)


@contextmanager
def _index_of(model: Model, evaluation: RunEvaluation | None, index: str | Path | None) -> Iterator[RecordIndex]:
    """Return the index of a folder, or one for the time of the page, of a file or of all records."""
    if index is not None:  # told before it is copied, by the name that the user knows
        require_same(RecordIndex(index) if is_index(index) else EmbeddingFile(index), model, "embedding")
    if index is not None and is_index(index):
        yield RecordIndex(index)
        return
    with TemporaryDirectory(prefix="sensorium-browse-") as temporary:
        folder, file = Path(temporary, FOLDER), Path(temporary, "vectors.parquet")
        if index is None:
            assert evaluation is not None, "without an index the records are there"
            write_stream(model, evaluation, file, EmbeddingOptions())
        update_index(folder, EmbeddingFile(index or file), None, "exact")
        file.unlink(missing_ok=True)
        yield RecordIndex(folder)
