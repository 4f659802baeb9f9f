"""`sensorium predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sensorium.cli.choices import Part
from sensorium.cli.device import Device
from sensorium.cli.json_output import print_json


def predict(
    run: Annotated[str, typer.Argument(help="The run folder that `sensorium finetune` wrote.")],
    source: Annotated[str, typer.Argument(help="The path of a folder or table, or the name of a source.")],
    out: Annotated[Path, typer.Argument(help="The file to write: .parquet or .csv.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="Changes to the run's recipe: key.sub=value, such as data.workers=4."),
    ] = None,
    part: Annotated[Part, typer.Option(help="The part of the split that is predicted.")] = Part.all,
    device: Device = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Predict the labels of records with a fine-tuned run: id, prediction, and the probability of each class.

    Records are read as a stream, with the run's own source where it reads such a path. Those that cannot be read are
    named in OUT.unreadable.csv.
    """
    import sensorium
    from sensorium.cli.output import show_log

    show_log()
    done = sensorium.predict(run, source, out, overrides or [], part=part.value, device=device)
    if as_json:
        print_json(done.public())
    else:
        typer.echo(str(done))
