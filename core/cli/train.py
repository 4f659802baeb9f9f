"""`sensorium train`."""

from __future__ import annotations

from typing import Annotated

import typer


def train(
    recipe: Annotated[str | None, typer.Argument(help="A shipped name (see `sensorium recipes`) or a file.")] = None,
    overrides: Annotated[list[str] | None, typer.Argument(help="key.sub=value, as many as you like.")] = None,
    run_dir: Annotated[str | None, typer.Option(help="The run folder; default runs/NAME-DATE-TIME.")] = None,
    resume: Annotated[str | None, typer.Option(help="Continue this run, with its own recipe.")] = None,
) -> None:
    """Train as a recipe says, then evaluate; everything lands in one run folder."""
    from sensorium.api import fit
    from sensorium.cli.output import show_log
    from sensorium.training.fabric import launching_rank

    show_log()
    if resume and recipe and "=" in recipe:  # with --resume the recipe is the run's own
        overrides, recipe = [recipe, *(overrides or [])], None
    model = fit(recipe, overrides or [], run_dir=run_dir, resume=resume)
    if model.run is not None and launching_rank() == 0:
        typer.echo(f"The run is in {model.run.folder}.")
