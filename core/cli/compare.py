"""`sensorium compare`."""

from __future__ import annotations

from typing import Annotated

import typer

from sensorium.cli.json_output import print_json


def compare(
    runs: Annotated[list[str], typer.Argument(metavar="RUN RUN...", help="Folders of runs that were evaluated.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare the metrics of runs, as their evaluations wrote them."""
    from sensorium.cli.tables import print_tables
    from sensorium.evaluation.run_comparison import compare_runs

    tables = compare_runs(runs)
    if as_json:
        print_json({name: table.public() for name, table in tables.items()})
    else:
        print_tables(tables.values())
