"""`sensorium embed`."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from sensorium.cli.choices import Part, Projection, Space
from sensorium.cli.device import Device


def embed(
    run: Annotated[str, typer.Argument(help="The run folder.")],
    out: Annotated[
        Path,
        typer.Argument(
            help="The file to write: .parquet or .lance, as a stream that continues when it was interrupted; .npz or "
            ".csv of few records."
        ),
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
    labels: Annotated[
        str | None,
        typer.Option(help="Labels to write to .parquet or .lance: names with commas, or none. Default: all."),
    ] = None,
    half: Annotated[bool, typer.Option("--half", help="Write float16 to .parquet or .lance.")] = False,
    captions: Annotated[
        bool,
        typer.Option(help="Write captions and paths to .parquet or .lance, for which records are read once more."),
    ] = True,
    atlas: Annotated[
        bool,
        typer.Option("--atlas", help="Add a map to .parquet, which Embedding Atlas reads: x, y, neighbors, images."),
    ] = False,
    projection: Annotated[Projection, typer.Option(help="The map: pca, or umap.")] = Projection.pca,
    projector: Annotated[
        Path | None, typer.Option(help="A folder to write beside .parquet, for the embedding projector of TensorBoard.")
    ] = None,
    checkpoint: Annotated[str, typer.Option(help="The checkpoint: final, best, last, or a step number.")] = "final",
    device: Device = "auto",
) -> None:
    """Embed the records of a source with the model of a run."""
    import sensorium
    from sensorium.cli.output import show_log
    from sensorium.embeddings.atlas import atlas_options
    from sensorium.training.fabric import launching_rank

    show_log()
    count = sensorium.embed(
        run,
        out,
        overrides or [],
        part=part.value,
        space=space.value,
        labels=names_of(labels),
        half=half,
        captions=captions,
        atlas=atlas,
        projection=projection.value,
        projector=projector,
        checkpoint=checkpoint,
        device=device,
    )
    if launching_rank() != 0:  # the first prints for all
        return
    typer.echo(f"{count:,} records embedded into {out}.")
    if atlas:
        typer.echo(f"Look at them:  embedding-atlas {quote(str(out))} {atlas_options(out)}")
    if projector is not None:
        typer.echo(f"Look at them:  tensorboard --logdir {quote(str(projector))}")


def names_of(labels: str | None) -> list[str] | None:
    """Return names given with commas; "none" is no name, "all" and nothing given are None."""
    if labels is None or labels == "all":
        return None
    return [] if labels == "none" else [name.strip() for name in labels.split(",")]
