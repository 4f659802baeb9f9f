"""`sensorium search`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from sensorium.cli.device import Device


def search(
    run: Annotated[str, typer.Argument(help="The run folder.")],
    query: Annotated[str, typer.Argument(help="A text or the path of a file.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="Changes to the run's recipe: key.sub=value, such as data.source.path=..."),
    ] = None,
    by: Annotated[str | None, typer.Option(help="The modality of the query. Default: one that fits.")] = None,
    target: Annotated[str | None, typer.Option(help="The modality to search. Default: another one.")] = None,
    part: Annotated[str, typer.Option(help="The part of the split: train, val, test or all.")] = "all",
    count: Annotated[int, typer.Option(help="Number of records to find.")] = 10,
    checkpoint: Annotated[str, typer.Option(help="The checkpoint: final, best, last, or a step number.")] = "final",
    device: Device = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Find the nearest records to a text or a file, by cosine similarity."""
    from sensorium import api
    from sensorium.cli.output import show_log
    from sensorium.training.fabric import launching_rank

    show_log()
    found = api.search(
        run, query, overrides or [], by=by, target=target, part=part, count=count, checkpoint=checkpoint, device=device
    )
    if launching_rank() != 0:  # the first prints for all
        return
    if as_json:
        typer.echo(json.dumps([{"id": name, "score": score} for name, score in found], indent=2, ensure_ascii=False))
    else:
        for name, score in found:
            typer.echo(f"{score:.3f}  {name}")
