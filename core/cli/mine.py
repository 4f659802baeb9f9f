"""`sensorium mine`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sensorium.cli.choices import Choice, Index, Part
from sensorium.cli.device import Device


def mine(
    run: Annotated[str, typer.Argument(help="The run folder.")],
    out: Annotated[Path, typer.Argument(help="The .parquet file to write, for data.negatives of a recipe.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="Changes to the run's recipe: key.sub=value, such as data.source.path=..."),
    ] = None,
    query: Annotated[str | None, typer.Option(help="The query modality. Default: the first of the recipe.")] = None,
    target: Annotated[
        str | None, typer.Option(help="The target modality, which is searched. Default: the second.")
    ] = None,
    part: Annotated[Part, typer.Option(help="The part of the split that is mined.")] = Part.train,
    count: Annotated[int, typer.Option(help="Maximum number of negatives per record.")] = 5,
    first_rank: Annotated[int, typer.Option(help="Lowest rank of a negative, from 1; above 1 skips the nearest.")] = 1,
    last_rank: Annotated[int, typer.Option(help="Highest rank of a negative.")] = 100,
    margin: Annotated[
        float, typer.Option(help="Gap below the lowest cosine of a positive, as a fraction of it, that negatives keep.")
    ] = 0.05,
    choose: Annotated[Choice, typer.Option(help="hardest, or random among the candidates.")] = Choice.hardest,
    index: Annotated[
        Index,
        typer.Option(
            help="exact; ivf or hnsw of FAISS, whose recall is printed; auto: exact up to 200,000 records, then ivf."
        ),
    ] = Index.auto,
    nprobe: Annotated[
        int | None,
        typer.Option(
            help="Lists that ivf probes per query. Default: tuned to a recall of .95 up to the last rank.", min=1
        ),
    ] = None,
    ef_search: Annotated[
        int | None, typer.Option(help="Candidates that hnsw keeps per query. Default: tuned likewise.", min=1)
    ] = None,
    vectors: Annotated[
        Path | None,
        typer.Option(help="A file that `embed` wrote of these records, to read in place of embedding them again."),
    ] = None,
    checkpoint: Annotated[str, typer.Option(help="The checkpoint: final, best, last, or a step number.")] = "final",
    device: Device = "auto",
    show: Annotated[int, typer.Option(help="Number of records to print with their negatives.")] = 5,
) -> None:
    """Mine hard negatives with the model of a run: records that are similar to a query and no positives of it."""
    import sensorium
    from sensorium.cli.output import show_log
    from sensorium.training.fabric import launching_rank

    show_log()
    mined = sensorium.mine(
        run,
        out,
        overrides or [],
        query=query,
        target=target,
        part=part.value,
        count=count,
        ranks=(first_rank, last_rank),
        margin=margin,
        choose=choose.value,
        index=index.value,
        nprobe=nprobe,
        ef_search=ef_search,
        vectors=vectors,
        checkpoint=checkpoint,
        device=device,
    )
    if launching_rank() != 0:  # the first prints for all
        return
    for name, value in mined.statistics.items():
        typer.echo(f"{name:55} {value if isinstance(value, int) else format(value, '.4f')}")
    for name, places in mined.examples(show):
        typer.echo(f"query {name}, least cosine with a positive {mined.positive_scores[places[0]]:.3f}")
        typer.echo("    rank  cosine  negative")
        for i in places:
            typer.echo(f"    {mined.ranks[i]:>4}  {mined.scores[i]:>6.3f}  {mined.negatives[i]}")
    typer.echo(f"{len(mined)} negatives written to {out}.")
