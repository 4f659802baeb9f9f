"""`sensorium pack`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sensorium.cli.choices import Form


def pack(
    target: Annotated[
        str, typer.Argument(help="A recipe, a run, a source, or the path of a folder or table; with --verify, a pack.")
    ],
    out: Annotated[
        Path | None, typer.Argument(help="The folder to write: NAME.lance, NAME.tars, or of Parquet.")
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Changes: data.source.KEY=VALUE, modalities.FIELD.modality=NAME, ...")
    ] = None,
    form: Annotated[
        Form | None, typer.Option("--format", help="What is written. Default: by the end of OUT, else parquet.")
    ] = None,
    shard_size: Annotated[int, typer.Option(help="Size of a shard in MB, about.")] = 256,
    decode: Annotated[
        bool, typer.Option("--decode", help="Write decoded examples: images resized, audio resampled, once.")
    ] = False,
    quality: Annotated[
        int | None, typer.Option(help="With --decode: images as JPEG of this quality, 1 to 100. Default: without loss.")
    ] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Check the files of a pack against its checksums.")] = False,
) -> None:
    """Write the records of any source to shards that are read fast: a Lance dataset, tars, or Parquet files.

    Ids, labels, splits, groups and times are kept. A pack that was stopped goes on with the same command.
    """
    import sensorium
    from sensorium.cli.output import show_log
    from sensorium.cli.reading import reading
    from sensorium.doctor.advice import size
    from sensorium.training.fabric import launching_rank

    if verify == (out is not None):
        raise typer.BadParameter("a pack is named alone with --verify, and SOURCE and OUT without it")
    show_log()
    if launching_rank() != 0:  # the first packs for all
        return
    if out is None:
        found = sensorium.verify_pack(target)
        files = sum(len(shard.files) for shard in found.shards)
        typer.echo(f"{found.records:,} records in {files:,} files, {size(found.bytes)}: all are as they were packed.")
        return
    with reading() as progress:
        made = sensorium.pack(
            target,
            out,
            overrides or [],
            form=None if form is None else form.value,
            shard_bytes=shard_size * 10**6,
            decode=decode,
            quality=quality,
            progress=progress,
        )
    shards = f"{made.shards:,} shard{'s' * (made.shards != 1)}"
    typer.echo(
        f"{made.records:,} records are in {shards} of {made.folder}: {size(made.after)}, and were {size(made.before)}; "
        f"{made.left_out:,} were left out."
    )
    if made.read:
        typer.echo(
            f"{made.read:,} records were read in {made.seconds:,.1f} s: {made.read / made.seconds:,.0f} records/s."
        )
    typer.echo("A recipe reads them as")
    typer.echo(f"  data.source={_in_line(made.source)}")


def _in_line(source: dict[str, object]) -> str:
    from sensorium.recipe.yaml_text import one_line

    return one_line(source)
