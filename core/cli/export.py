"""`sensorium export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def export(
    run: Annotated[str, typer.Argument(help="The run folder.")],
    out: Annotated[Path, typer.Argument(help="The folder to write, new or empty.")],
    options: Annotated[
        list[str] | None,
        typer.Argument(help="Options of the format, key=value; `sensorium list exporters NAME` shows them."),
    ] = None,
    format: Annotated[str, typer.Option(help="The format; `sensorium list exporters` shows all.")] = "encoders",
    checkpoint: Annotated[str, typer.Option(help="The checkpoint: final, best, last, or a step number.")] = "final",
) -> None:
    """Export the model of a run to files for other libraries, and print how to load them."""
    import sensorium
    from sensorium.cli.output import show_log
    from sensorium.recipe.merging import overridden

    show_log()
    lines = sensorium.export(run, out, format, options=overridden({}, options or []), checkpoint=checkpoint)
    typer.echo(f"Wrote {out}. To load it:\n\n{lines}")
