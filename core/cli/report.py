"""`sensorium report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sensorium.cli.choices import Part, Projection
from sensorium.cli.device import Device


def report(
    run: Annotated[str, typer.Argument(help="The run folder.")],
    out: Annotated[
        Path | None, typer.Argument(help="The .html file to write; default report.html in the run folder.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="Changes to the run's recipe: key.sub=value, such as data.source.path=..."),
    ] = None,
    part: Annotated[Part, typer.Option(help="The part of the split whose records are shown.")] = Part.test,
    records: Annotated[
        int, typer.Option(min=0, help="Largest number of records of the map and of neighbors; 0 shows none.")
    ] = 500,
    projection: Annotated[Projection, typer.Option(help="The map: pca, or umap.")] = Projection.pca,
    label: Annotated[str | None, typer.Option(help="The label that colors the map; default the first.")] = None,
    checkpoint: Annotated[
        str | None,
        typer.Option(help="final, best, last, or a step number; default the model, or else the last checkpoint."),
    ] = None,
    device: Device = "auto",
) -> None:
    """Write a page of a run: curves, results, a map of embeddings, neighbors, in one HTML file that loads nothing."""
    import sensorium
    from sensorium.cli.output import show_log

    show_log()
    if out is not None and "=" in str(out):  # a change to the recipe in the place of the file
        out, overrides = None, [str(out), *(overrides or [])]
    path = sensorium.report(
        run,
        out,
        overrides or [],
        part=part.value,
        records=records,
        projection=projection.value,
        label=label,
        checkpoint=checkpoint,
        device=device,
    )
    typer.echo(f"The page is {path} ({path.stat().st_size / 1e6:.1f} MB).")
