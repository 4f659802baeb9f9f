"""`sensorium matrix`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def matrix(
    only: Annotated[
        list[str] | None,
        typer.Option(help="An objective, a row (predict:rotation) or a column; may be given again. Default: all."),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Optimizer steps of each training. Default: what the column asks for.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each cell.")] = 1,
    out: Annotated[Path, typer.Option(help="Where cells and tables are kept; cells that are there stay.")] = Path(
        "matrix"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Train every objective on every kind of data that can serve it, briefly, and compare with untrained encoders.

    A call that was stopped goes on where it was. Cells of other steps or seeds are computed anew.
    """
    import json
    import logging

    from sensorium.cli.output import show_log
    from sensorium.matrix.cells import Budget
    from sensorium.matrix.runner import run_matrix

    show_log()
    logger = logging.getLogger("sensorium")

    def quiet(record: logging.LogRecord) -> bool:
        return record.module in ("runner", "cells") or record.levelno > logging.INFO

    logger.addFilter(quiet)
    try:
        found = run_matrix(out, only or (), Budget(steps, seeds))
    finally:
        logger.removeFilter(quiet)
    typer.echo(json.dumps(found.public(), indent=1) if as_json else found.markdown())
