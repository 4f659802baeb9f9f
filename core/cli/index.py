"""`sensorium index`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sensorium.cli.choices import IndexKind, Part
from sensorium.cli.device import Device
from sensorium.cli.embed import names_of
from sensorium.cli.json_output import print_json


def index(
    run: Annotated[str, typer.Argument(help="The run folder.")],
    out: Annotated[
        Path | None, typer.Argument(help="The folder of the index, new or one to bring up to date. Default: RUN/index.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="Changes to the run's recipe: key.sub=value, such as data.source.path=..."),
    ] = None,
    part: Annotated[Part, typer.Option(help="The part of the split that is indexed.")] = Part.all,
    labels: Annotated[
        str | None, typer.Option(help="Labels to keep: names with commas, or none. Default: all.")
    ] = None,
    previews: Annotated[bool, typer.Option(help="Draw each record into a small image file.")] = True,
    vectors: Annotated[
        Path | None, typer.Option(help="A file that `embed` wrote, to index in place of embedding the records.")
    ] = None,
    kind: Annotated[
        IndexKind,
        typer.Option(
            help="exact, ivf (inverted lists, whose recall is measured), or auto: exact up to 200,000 records."
        ),
    ] = IndexKind.auto,
    checkpoint: Annotated[str, typer.Option(help="The checkpoint: final, best, last, or a step number.")] = "final",
    device: Device = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Put vectors, labels, captions, paths and previews of records into an index that `search` and `browse` read."""
    from dataclasses import asdict

    import sensorium
    from sensorium.cli.output import show_log
    from sensorium.training.fabric import launching_rank

    show_log()
    if out is not None and "=" in str(out):  # the first override, and no folder
        out, overrides = None, [str(out), *(overrides or [])]
    made = sensorium.index(
        run,
        out,
        overrides or [],
        part=part.value,
        labels=names_of(labels),
        previews=previews,
        vectors=vectors,
        kind=kind.value,
        checkpoint=checkpoint,
        device=device,
    )
    if launching_rank() != 0:  # the first prints for all
        return
    if as_json:
        print_json(asdict(made))
        return
    typer.echo(
        f"{made.added:,} records added, {made.updated:,} updated, {made.unchanged:,} unchanged; {made.folder} has "
        f"{made.records:,}."
    )
    for name, how in made.searched.items():
        typer.echo(f"{name}: {how}")
