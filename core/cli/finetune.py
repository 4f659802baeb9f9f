"""`sensorium finetune`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from sensorium.cli.device import Device
from sensorium.cli.json_output import print_json


class From(StrEnum):
    """Values of `--from`: which initial weights of the encoder are trained."""

    both = "both"
    trained = "trained"
    weights = "weights"
    scratch = "scratch"


def finetune(
    run: Annotated[str, typer.Argument(help="The run folder.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="Changes to the run's recipe: key.sub=value, such as finetune.labels=[class]."),
    ] = None,
    start: Annotated[
        From,
        typer.Option(
            "--from",
            help="Initial weights: those of the run (trained), what the run itself started from (weights), random ones "
            "(scratch), or all that there are, to compare (both).",
        ),
    ] = From.both,
    run_dir: Annotated[
        str | None, typer.Option(help="The folder to write. Default: finetune-DATE-TIME in the run folder.")
    ] = None,
    checkpoint: Annotated[str, typer.Option(help="The checkpoint: final, best, last, or a step number.")] = "final",
    device: Device = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Fine-tune a run's encoder with a small head on labels, beside its linear probe and the same encoder from scratch.

    Trains on the train part, takes the best epoch by the val part (early stopping) and reports the test part.
    Few labels: finetune.labels_per_class=10 or finetune.label_fraction=0.01; the epoch is chosen in folds of them.
    Lists make a learning curve: 'finetune.labels_per_class=[10,50,100]' 'finetune.label_fraction=[0.01,0.1,1]'.
    """
    from sensorium.api.finetuning import finetune as tune
    from sensorium.cli.output import show_log
    from sensorium.cli.tables import print_tables

    show_log()
    done = tune(run, overrides or [], start=start.value, run_dir=run_dir, checkpoint=checkpoint, device=device)
    if as_json:
        print_json(done.shown.public())
        return
    print_tables([done.shown])
    if done.curve is not None and done.curve.plot is not None:
        typer.echo(f"The learning curve is drawn in {done.run.evaluations / 'learning-curve.png'}.")
    typer.echo(f"The fine-tuned model is in {done.run.folder}.")
