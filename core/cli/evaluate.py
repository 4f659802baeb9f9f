"""`sensorium evaluate`."""

from __future__ import annotations

from typing import Annotated

import typer

from sensorium.cli.device import Device
from sensorium.cli.json_output import print_json
from sensorium.errors import RunError


def evaluate(
    arguments: Annotated[
        list[str],
        typer.Argument(metavar="RUN... [KEY=VALUE]...", help="Run folders, then changes to the first run's recipe."),
    ],
    evaluators: Annotated[
        list[str] | None, typer.Option("--with", help="An evaluator; may be repeated. Default: those of the recipe.")
    ] = None,
    checkpoint: Annotated[str, typer.Option(help="The checkpoint: final, best, last, or a step number.")] = "final",
    device: Device = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Evaluate a run on its test part, beside chance, baseline features, the untrained encoder and start weights.

    Several runs of one recipe with different seeds give mean ± standard deviation.
    """
    from sensorium.api.measuring import evaluate as measure
    from sensorium.cli.output import show_log
    from sensorium.cli.tables import print_tables
    from sensorium.training.fabric import launching_rank

    show_log()
    runs = [word for word in arguments if "=" not in word]
    if not runs:
        raise RunError("Name a run folder to evaluate.")
    tables = measure(
        runs,
        evaluators,
        [word for word in arguments if "=" in word],
        checkpoint=checkpoint,
        device=device,
        show=None if as_json else lambda table: print_tables([table]),
    )
    if as_json and launching_rank() == 0:  # the first prints for all
        print_json({name: table.public() for name, table in tables.items()})
