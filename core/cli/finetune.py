"""`sensorium finetune`."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated

import typer


class Initialization(StrEnum):
    """Where the encoder starts from."""

    both = "both"
    trained = "trained"
    scratch = "scratch"


def finetune(
    run: Annotated[str, typer.Argument(help="The run folder.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="key.sub=value, applied to the run's recipe, such as finetune.labels=[class]."),
    ] = None,
    start: Annotated[
        Initialization, typer.Option("--from", help="The run's encoder, its first weights, or both.")
    ] = Initialization.both,
    run_dir: Annotated[
        str | None, typer.Option(help="The folder to write; default finetune-DATE-TIME in the run folder.")
    ] = None,
    checkpoint: Annotated[str, typer.Option(help="final, best, last, or a step number.")] = "final",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Train a run's encoder and a small head on labels, beside the same encoder from scratch.

    It learns from the train part, takes the epoch that did best on the val part, and reports on the test part.
    """
    from sensorium.api import finetune as tune
    from sensorium.cli.output import show_log
    from sensorium.cli.tables import print_tables

    show_log()
    done = tune(run, overrides or [], start=start.value, run_dir=run_dir, checkpoint=checkpoint)
    if as_json:
        typer.echo(json.dumps(done.table.public(), indent=2))
        return
    print_tables([done.table])
    typer.echo(f"The fine-tuned model is in {done.run.folder}.")
