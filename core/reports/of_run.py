"""The page of one run, and the page of several."""

from __future__ import annotations

import csv
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml
from PIL import Image

import sensorium
from sensorium.errors import RunError
from sensorium.evaluation.run_comparison import compare_runs, read_tables
from sensorium.evaluation.shown import image_uri
from sensorium.reports.charts import curves
from sensorium.reports.curves import panels_of
from sensorium.reports.facts import Facts, facts_of, flat
from sensorium.reports.page import markdown, render
from sensorium.reports.records import ShownRecords
from sensorium.reports.tables import shown_tables
from sensorium.runs.run import Run

SHEET = 1600
"""Pixels a side of an image out of the run folder."""
LINES = 100
"""Unreadable values that a page shows."""
NO_TABLES = "The run has not been evaluated: `sensorium evaluate RUN` measures it."


def run_page(run: Run, records: ShownRecords | None, no_records: str, card: str) -> str:
    """Return the page of a run.

    Args:
        run: the run folder.
        records: maps and galleries; None without.
        no_records: why there are none, a sentence.
        card: the model card, in Markdown; "" without.
    """
    tables = read_tables(run)
    facts = facts_of(run, tables)
    panels, left_out = panels_of({run.folder.name: run})
    unreadable, said = _unreadable(run)
    present = {"map": bool(records and records.maps), "records": records is None, "views": run.gallery_file.exists()}
    present |= {"retrieval": bool(records and records.retrieval), "neighbors": present["map"], "card": bool(card)}
    return render(
        "run.html",
        title=yaml.safe_load(facts.recipe).get("name") or run.folder.name,
        subtitle=f"A run of sensorium, {facts.summary.get('State', '')}",
        sections=[(id, name) for id, name in SECTIONS.items() if present.get(id, True)],
        facts=facts,
        panels=[(panel, curves(panel)) for panel in panels],
        panels_left_out=left_out,
        views=_image(run.gallery_file) if run.gallery_file.exists() else None,
        tables=shown_tables(tables, run.evaluations),
        no_tables=NO_TABLES,
        records=records,
        no_records=no_records,
        sheets=[(path.stem, _image(path)) for path in sorted(run.evaluations.glob("sheet-*.png"))]
        if records is None
        else [],
        unreadable=unreadable,
        unreadable_said=said,
        card=markdown(card.partition("\n---\n")[2]) if card else "",
        **_written(),
    )


SECTIONS = {
    "summary": "Summary",
    "curves": "Curves",
    "views": "Views",
    "tables": "Results",
    "map": "Map",
    "neighbors": "Neighbors",
    "retrieval": "Retrieval",
    "records": "Records",
    "unreadable": "Unreadable",
    "card": "Model card",
    "versions": "Versions",
}
"""Id and name of each section, in their order."""


def comparison_page(folders: Sequence[str | Path]) -> str:
    """Return the page of several runs.

    Raises:
        RunError: for a folder that is not a run.
    """
    runs = {str(folder): Run.open(folder) for folder in folders}
    facts = {name: facts_of(run, read_tables(run)) for name, run in runs.items()}
    try:
        tables, no_tables = compare_runs(list(runs)), ""
    except RunError as error:
        tables, no_tables = {}, str(error)
    panels, left_out = panels_of(runs)
    return render(
        "comparison.html",
        title=f"{len(runs)} runs",
        subtitle=", ".join(runs),
        sections=[(id, SECTIONS[id]) for id in ("summary", "curves", "tables")],
        runs=facts,
        summary=_side_by_side({name: one.summary for name, one in facts.items()}),
        differences=_differences(facts),
        panels=[(panel, curves(panel)) for panel in panels],
        panels_left_out=left_out,
        tables=shown_tables(tables),
        no_tables=no_tables,
        **_written(),
    )


def _side_by_side(runs: Mapping[str, Mapping[str, str]]) -> list[list[str]]:
    """Return lines of cells, a column for each run, heading first."""
    names = dict.fromkeys(name for of_run in runs.values() for name in of_run)
    return [["", *runs], *([name, *(of_run.get(name, "–") for of_run in runs.values())] for name in names)]


def _differences(facts: Mapping[str, Facts]) -> list[list[str]]:
    """Return the recipe keys whose values are not those of all runs."""
    recipes = {
        name: {key: str(value) for key, value in flat(yaml.safe_load(one.recipe)).items()}
        for name, one in facts.items()
    }
    heading, *lines = _side_by_side(recipes)
    return [["key", *heading[1:]], *(line for line in lines if len(set(line[1:])) > 1)]


def _unreadable(run: Run) -> tuple[list[list[str]], str]:
    """Return the lines of `unreadable.csv`, heading first, and how many there are of each kind."""
    if not run.unreadable_file.exists():
        return [], ""
    with open(run.unreadable_file, encoding="utf-8", newline="") as file:
        heading, *lines = list(csv.reader(file)) or [[]]
    if not lines:
        return [], ""
    kinds = Counter(line[heading.index("kind")] for line in lines)
    counted = ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common())
    first = f" The first {LINES} are shown; all are in {run.unreadable_file.name}." if len(lines) > LINES else ""
    return [heading, *lines[:LINES]], f"Values that could not be read: {counted}.{first}"


def _image(path: Path) -> str:
    with Image.open(path) as image:
        return image_uri(image, SHEET)


def _written() -> dict[str, str]:
    return {"version": sensorium.__version__, "written": time.strftime("%Y-%m-%d %H:%M")}
