"""`sensorium mine`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def mine(
    run: Annotated[str, typer.Argument(help="The run folder.")],
    out: Annotated[Path, typer.Argument(help="The .parquet file to write; a recipe takes it as data.negatives.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="key.sub=value, applied to the run's recipe, such as data.source.path=..."),
    ] = None,
    query: Annotated[str | None, typer.Option(help="The modality that asks; default the first of the recipe.")] = None,
    target: Annotated[str | None, typer.Option(help="The modality that is searched; default the second.")] = None,
    part: Annotated[str, typer.Option(help="train, val, test or all.")] = "train",
    count: Annotated[int, typer.Option(help="The most negatives of a record.")] = 5,
    first: Annotated[int, typer.Option(help="The first rank taken; above 1 it passes over the nearest.")] = 1,
    last: Annotated[int, typer.Option(help="The last rank taken.")] = 100,
    margin: Annotated[
        float, typer.Option(help="A negative's cosine stays below the least positive's by this share of it.")
    ] = 0.05,
    choose: Annotated[str, typer.Option(help="hardest, or random among those left.")] = "hardest",
    index: Annotated[str, typer.Option(help="torch, faiss, or auto; all are exact.")] = "auto",
    checkpoint: Annotated[str, typer.Option(help="final, best, last, or a step number.")] = "final",
    show: Annotated[int, typer.Option(help="How many records to show with their negatives.")] = 5,
) -> None:
    """Find hard negatives with a run's model: what it takes for a record's partner and is not."""
    from sensorium import api
    from sensorium.cli.output import show_log

    show_log()
    mined = api.mine(
        run,
        out,
        overrides or [],
        query=query,
        target=target,
        part=part,
        count=count,
        ranks=(first, last),
        margin=margin,
        choose=choose,  # type: ignore[arg-type]
        index=index,  # type: ignore[arg-type]
        checkpoint=checkpoint,
    )
    for name, value in mined.statistics.items():
        typer.echo(f"{name:55} {value if isinstance(value, int) else format(value, '.4f')}")
    for name, places in mined.examples(show):
        typer.echo(f"{name} (least positive {mined.positive_scores[places[0]]:.3f})")
        for i in places:
            typer.echo(f"    {mined.ranks[i]:>4}  {mined.scores[i]:.3f}  {mined.negatives[i]}")
    typer.echo(f"{len(mined)} negatives written to {out}.")
