"""`sensorium replay`."""

from __future__ import annotations

from typing import Annotated

import typer

from sensorium.cli.json_output import print_json


def replay(
    run: Annotated[str, typer.Argument(help="The run folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Replay the last step that a run skipped for a non-finite loss or gradient, and report where it first occurs."""
    from sensorium.api.measuring import replay as replay_run
    from sensorium.training.fabric import launching_rank

    parts = replay_run(run)
    if launching_rank() != 0:  # the first prints for all
        return
    if as_json:
        print_json([part.public() for part in parts])
    else:
        for part in parts:
            typer.echo(part.sentence)
