"""The page of a run, or of several."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sensorium.api.run_parts import extensions_of
from sensorium.api.run_records import open_records
from sensorium.embeddings.projection import Projection, require_projection
from sensorium.errors import Interrupted, RunError, SensoriumError, as_clause
from sensorium.evaluation.runner import reason_of
from sensorium.exporters.card import model_card
from sensorium.registration.blame import naming_plugins
from sensorium.registration.discovery import Extensions, load_extensions
from sensorium.reports.options import MapOptions
from sensorium.reports.page import require_libraries
from sensorium.runs.atomic import write_text
from sensorium.runs.run import Run

if TYPE_CHECKING:
    from sensorium.reports.records import ShownRecords

log = logging.getLogger("sensorium")
ENDINGS = (".html", ".htm")


@naming_plugins
def report(
    runs: str | Path | Sequence[str | Path],
    out: str | Path | None = None,
    overrides: Sequence[str] = (),
    *,
    part: str = "test",
    records: int = 500,
    projection: Projection = "pca",
    label: str | None = None,
    checkpoint: str | None = None,
    device: str = "auto",
    source: Any = None,
    extensions: Extensions | None = None,
    **handed_in: Any,
) -> Path:
    """Write a page of a run, or of several runs side by side: one HTML file that needs no other and no network.

    Of one run it has the summary, curves, views of the first batch, tables with charts, a map of embeddings, nearest
    neighbors, retrieval between modalities, unreadable values, the model card, plugins and versions. Images are
    shown, sounds can be played. A run that is not finished, or not evaluated, has what there is. Of several runs it has
    summaries, differences of the recipes, curves and tables.

    Args:
        runs: the run folder, or several.
        out: the file; default `report.html` in the run folder. Of several runs it must be given.
        overrides: `key.sub=value` texts applied to the run's recipe, such as `data.source.path=...`.
        part: the part of the split whose records are shown: "train", "val", "test" or "all"; all where it is empty.
        records: the largest number of records that are embedded for map and galleries, chosen by their ids; 0 for none.
        projection: "pca", or "umap" where umap-learn is installed.
        label: the label that colors the map; None for the first.
        checkpoint: as in `load`; None for the exported model or, of a run that has none, the last checkpoint.
        device: as in `load`.
        source: records in place of those that `data.source` names: a `Source`, or anything that `fit` takes.
        extensions: plugins, when not those that are installed.
        handed_in: what was handed in to the `fit` of the run, by the same names: `encoder=...`, `objective=...`.

    Returns:
        The path of the page.

    Raises:
        RunError: when the file does not end in .html or .htm, a folder is not a run, a library is missing, or there
            is no such label, part or projection.
    """
    if out is not None and Path(out).suffix.lower() not in ENDINGS:
        raise RunError(f"A page is a file of HTML: name one that ends in .html, not '{out}'.")
    require_libraries()
    require_projection(projection)
    from sensorium.reports.of_run import comparison_page, run_page

    folders = [runs] if isinstance(runs, str | Path) else list(runs)
    if len(folders) != 1:
        if out is None:
            raise RunError("Name the file of a page of several runs.")
        write_text(Path(out), comparison_page(folders))
        return Path(out)
    run, extensions = Run.open(folders[0]), extensions or load_extensions()
    path = Path(out) if out is not None else run.report_file
    options = MapOptions(part, records, projection, label)
    opening = (overrides, checkpoint or _latest(run), device, source, extensions, handed_in)
    shown, why = _records(run, options, opening, is_asked=bool(overrides or checkpoint or label or source is not None))
    write_text(path, run_page(run, shown, why, _card(run, extensions, handed_in)))
    return path


def _latest(run: Run) -> str:
    return "final" if run.model.is_dir() else "last"


def _records(
    run: Run, options: MapOptions, opening: tuple[Any, ...], is_asked: bool
) -> tuple[ShownRecords | None, str]:
    """Return maps and galleries, or why there are none; what a caller asked for explicitly is an error."""
    if not options.records:
        return None, "No records were asked for."
    from sensorium.reports.records import RecordPages

    try:
        model, evaluation = open_records(run.folder, *opening)
        return RecordPages(model, evaluation, options)(), ""
    except Interrupted:
        raise
    except SensoriumError as error:
        if is_asked:
            raise
        reason = str(error)
    except Exception as error:  # of a preview that anybody may have written: a page without images is one
        reason = f"The records could not be drawn: {as_clause(reason_of(error))}."
    log.warning("The page shows no records. %s", reason)
    return None, f"No records are shown. {reason}"


def _card(run: Run, extensions: Extensions, handed_in: Mapping[str, Any]) -> str:
    """Return the model card; none of a run whose plugins are not here."""
    try:
        return model_card(run, extensions_of(run, extensions, handed_in).registry)
    except SensoriumError as error:
        log.warning("The page has no model card. %s", error)
        return ""
