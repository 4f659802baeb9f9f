"""`sensorium matrix`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sensorium.cli.json_output import print_json


def matrix(
    only: Annotated[
        list[str] | None,
        typer.Option(help="An objective, a row (predict:rotation) or a column; may be repeated. Default: all."),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Optimizer steps per training. Default: those of the column.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings per cell, each with its own seed.")] = 1,
    out: Annotated[
        Path, typer.Option(help="The folder of cells and tables; cells that are there are not computed again.")
    ] = Path("matrix"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Train every objective briefly on every modality that supports it, and compare with untrained encoders.

    Run it again to continue after a stop. Cells with other steps or seeds are computed anew.
    """
    import logging

    from sensorium.cli.output import show_log
    from sensorium.errors import Interrupted
    from sensorium.matrix.cells import Budget
    from sensorium.matrix.runner import run_matrix

    show_log()
    logger = logging.getLogger("sensorium")

    def quiet(record: logging.LogRecord) -> bool:
        return record.module in ("runner", "cells") or record.levelno > logging.INFO

    logger.addFilter(quiet)
    try:
        found = run_matrix(out, only or (), Budget(steps, seeds))
    except Interrupted as error:
        raise Interrupted(
            f"The matrix was stopped: run the command again to continue with {out}.", error.code - 128
        ) from None
    finally:
        logger.removeFilter(quiet)
    if as_json:
        print_json(found.public())
    else:
        typer.echo(found.markdown())
