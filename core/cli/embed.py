"""`sensorium embed`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sensorium.cli.choices import Part, Space
from sensorium.cli.device import Device


def embed(
    run: Annotated[str, typer.Argument(help="The run folder.")],
    out: Annotated[
        Path, typer.Argument(help="The file to write: .npz (ids, and one array per modality), .parquet or .csv.")
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="Changes to the run's recipe: key.sub=value, such as data.source.path=..."),
    ] = None,
    part: Annotated[Part, typer.Option(help="The part of the split that is embedded.")] = Part.all,
    space: Annotated[
        Space,
        typer.Option(
            help="embedding (after the projection of the objective), features (of the encoder); or, to .npz, layers "
            "(of each one the mean token and the class token) or tokens (of the last layer)."
        ),
    ] = Space.embedding,
    checkpoint: Annotated[str, typer.Option(help="The checkpoint: final, best, last, or a step number.")] = "final",
    device: Device = "auto",
) -> None:
    """Embed the records of a source with the model of a run."""
    from sensorium.api.embedding import embed_source
    from sensorium.cli.output import show_log
    from sensorium.training.fabric import launching_rank

    show_log()
    count = embed_source(
        run, out, overrides or [], part=part.value, space=space.value, checkpoint=checkpoint, device=device
    )
    if launching_rank() != 0:  # the first prints for all
        return
    typer.echo(f"{count} records embedded into {out}.")
