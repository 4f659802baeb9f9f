"""`sensorium compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sensorium.cli.json_output import print_json
from sensorium.errors import RunError


def compare(
    runs: Annotated[list[str], typer.Argument(metavar="RUN RUN...", help="Folders of runs that were evaluated.")],
    html: Annotated[
        Path | None,
        typer.Option(help="Write a page too, with curves, charts and what differs: OUT.html.", metavar="OUT"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare the metrics of runs, as their evaluations wrote them."""
    from sensorium.cli.tables import print_tables
    from sensorium.evaluation.run_comparison import compare_runs

    if html is not None:
        import sensorium

        sensorium.report(runs, html)
    try:
        tables = compare_runs(runs)
    except RunError as error:
        if html is None:
            raise
        tables = {}
        typer.echo(str(error), err=True)  # the page has all else
    if as_json:
        print_json({name: table.public() for name, table in tables.items()})
    else:
        print_tables(tables.values())
        if html is not None:
            typer.echo(f"The page is {html}.")
