"""`sensorium search`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sensorium.cli.choices import Part
from sensorium.cli.device import Device
from sensorium.cli.json_output import print_json


def search(
    run: Annotated[str, typer.Argument(help="The run folder.")],
    query: Annotated[str, typer.Argument(help="A text or the path of a file.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="Changes to the run's recipe: key.sub=value, such as data.source.path=..."),
    ] = None,
    by: Annotated[
        str | None, typer.Option(help="The modality of the query. Default: the first that reads the file or the text.")
    ] = None,
    target: Annotated[str | None, typer.Option(help="The modality to search. Default: the first other one.")] = None,
    part: Annotated[Part, typer.Option(help="The part of the split that is searched.")] = Part.all,
    count: Annotated[int, typer.Option(help="Number of records to find.", min=1)] = 10,
    sheet: Annotated[
        Path | None, typer.Option(help="A .png file to write: a contact sheet of the query and the records found.")
    ] = None,
    vectors: Annotated[
        Path | None,
        typer.Option(
            "--vectors",
            "--index",
            help="A file that `embed` wrote, or a folder of `index`, to search in place of the records of the source.",
        ),
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(help="Of an index, which records are searched: \"category = 'cat' AND split = 'train'\"."),
    ] = None,
    checkpoint: Annotated[str, typer.Option(help="The checkpoint: final, best, last, or a step number.")] = "final",
    device: Device = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Find the nearest records to a text or a file, by cosine similarity: ids, captions, paths and labels."""
    import sensorium
    from sensorium.cli.hits import plain_result, print_hits
    from sensorium.cli.output import show_log
    from sensorium.training.fabric import launching_rank

    show_log()
    result = sensorium.search(
        run,
        query,
        overrides or [],
        by=by,
        target=target,
        part=part.value,
        count=count,
        sheet=sheet,
        vectors=vectors,
        where=where,
        checkpoint=checkpoint,
        device=device,
    )
    if launching_rank() != 0:  # the first prints for all
        return
    if as_json:
        print_json(plain_result(result))
    else:
        print_hits(result)
        if sheet is not None:
            typer.echo(f"\nContact sheet written to {sheet}.")
