"""`sensorium evaluate`."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich import print as print_rich


def evaluate(
    run: Annotated[str, typer.Argument(help="The run folder.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="key.sub=value, applied to the run's recipe.")] = None,
    evaluators: Annotated[
        list[str] | None, typer.Option("--with", help="An evaluator; may be given again. Default: those of the recipe.")
    ] = None,
    checkpoint: Annotated[str, typer.Option(help="final, best, last, or a step number.")] = "final",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure a run on its test part: chance, hand-made features, untrained and trained side by side."""
    from sensorium.api import evaluate as measure
    from sensorium.cli.output import show_log

    show_log()
    tables = measure(run, evaluators, overrides or [], checkpoint=checkpoint)
    if as_json:
        typer.echo(json.dumps({name: table.public() for name, table in tables.items()}, indent=2))
    else:
        for table in tables.values():
            print_rich(table)
