"""`sensorium browse`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sensorium.cli.device import Device


def browse(
    run: Annotated[str, typer.Argument(help="The run folder.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="Changes to the run's recipe: key.sub=value, such as data.source.path=..."),
    ] = None,
    index: Annotated[
        Path | None,
        typer.Option(
            "--index",
            "--vectors",
            help="A folder of `index`, or a file that `embed` wrote. Default: RUN/index, or the records.",
        ),
    ] = None,
    port: Annotated[int, typer.Option(help="The port of 127.0.0.1; 0 takes a free one.", min=0, max=65535)] = 0,
    checkpoint: Annotated[str, typer.Option(help="The checkpoint: final, best, last, or a step number.")] = "final",
    device: Device = "auto",
) -> None:
    """Search the records on a page of this machine: by words, by a file, by a record; with filters. Ctrl-C ends it."""
    import sensorium
    from sensorium.cli.output import show_log

    def announce(address: str) -> None:
        print(f"Open {address}\nCtrl-C ends it.", flush=True)

    show_log()
    sensorium.browse(run, index, overrides or [], port=port, announce=announce, checkpoint=checkpoint, device=device)
    typer.echo("\nThe page is closed.")
