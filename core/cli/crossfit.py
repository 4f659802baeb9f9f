"""`sensorium crossfit`."""

from __future__ import annotations

from typing import Annotated

import typer


def crossfit(
    recipe: Annotated[str, typer.Argument(help="The name of a shipped recipe (see `sensorium recipes`) or a file.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Changes to the recipe: key.sub=value, any number of them.")
    ] = None,
    by: Annotated[str, typer.Option(help="The label whose values are left out one at a time, such as device.")] = ...,  # type: ignore[assignment]
    run_dir: Annotated[str | None, typer.Option(help="The folder of all runs. Default: runs/NAME-crossfit-BY.")] = None,
) -> None:
    """Pretrain and evaluate once for each group left out, which neither the training nor the probes then see.

    One run for each group; the table has mean and standard deviation over groups, and the metrics of all held-out
    predictions joined. The same command again continues where it was stopped.
    """
    from sensorium.api.crossfitting import crossfit as run_all
    from sensorium.cli.output import show_log
    from sensorium.cli.tables import print_tables

    show_log()
    run_all(recipe, by, overrides or [], run_dir=run_dir, show=lambda table: print_tables([table]))
