"""`sensorium check`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from sensorium.cli.json_output import print_json
from sensorium.cli.reading import reading


def check(
    target: Annotated[str, typer.Argument(help="A recipe, a source, or the path of a folder or table.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Changes: data.source.KEY=VALUE, modalities.FIELD.modality=NAME, ...")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write all that was found: JSON, or a table of unreadable values to FILE.csv.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Read every record of all parts on all cores, without training, and report what a training would meet.

    Unreadable values, sizes and lengths, what is cropped or cut, missing values, labels of each part, duplicates within
    and across parts. The exit code is 0 unless a training would stop: more records than data.max_bad are unreadable.
    """
    from sensorium.cli.output import show_log

    show_log()
    check_data(target, overrides or [], out, as_json)


def check_data(target: str, overrides: Sequence[str], out: Path | None = None, as_json: bool = False) -> None:
    """Check, print and write what was found.

    Raises:
        DataError: when a training would stop at unreadable records.
    """
    from sensorium.api.checking import check as examine
    from sensorium.runs.atomic import require_apart, write_json
    from sensorium.training.fabric import launching_rank

    if launching_rank() != 0:  # the first checks for all
        return
    if out is not None:
        require_apart(out, target, [text.partition("=")[2] for text in overrides])
    with reading() as progress:
        report = examine(target, overrides, progress=progress)
    if as_json:
        print_json(report.public())
    else:
        typer.echo(str(report))
    if out is not None and out.suffix.lower() == ".csv":
        report.unreadable.write(out)
    elif out is not None:
        write_json(out, report.public())
    report.require_few_unreadable()
