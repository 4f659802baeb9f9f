"""`sensorium train`."""

from __future__ import annotations

from typing import Annotated

import typer

from sensorium.errors import RecipeError


def train(
    recipe: Annotated[
        str | None, typer.Argument(help="The name of a shipped recipe (see `sensorium recipes`) or a file.")
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Changes to the recipe: key.sub=value, any number of them.")
    ] = None,
    run_dir: Annotated[
        str | None,
        typer.Option(
            help="The run folder. Default: runs/NAME-DATE-TIME. With --resume RUN: continue a copy of RUN there."
        ),
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            help="Continue this run, with its own recipe. auto: begin in --run-dir, continue what it holds, or leave "
            "it alone if it is finished; the same command again is right after any stop."
        ),
    ] = None,
    no_evaluate: Annotated[
        bool, typer.Option("--no-evaluate", help="Do not evaluate after the training; `sensorium evaluate` does.")
    ] = False,
    data_changed: Annotated[
        bool, typer.Option("--data-changed", help="With --resume: train on although records are gone or new.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Read every record and report on them, as `sensorium check`, and exit.")
    ] = False,
    print_recipe: Annotated[bool, typer.Option("--print-recipe", help="Print the resolved recipe and exit.")] = False,
) -> None:
    """Train as a recipe says, then evaluate; everything is written to one run folder.

    Ctrl-C (exit code 130), SIGTERM (143), SIGUSR1 (138) and SIGHUP (129), to any process, finish the step, write a
    checkpoint and exit; `--resume RUN` continues. A second Ctrl-C exits at once.
    """
    if resume and recipe and "=" in recipe:  # with --resume the recipe is the run's own
        overrides, recipe = [recipe, *(overrides or [])], None
    if resume and recipe and resume != "auto":
        raise RecipeError(f"--resume continues {resume} with its own recipe: leave out '{recipe}', or --resume.")
    if data_changed and not resume:
        raise RecipeError("--data-changed is for a run that is continued: name it with --resume.")
    named = None if resume == "auto" else resume
    if print_recipe:
        _print_recipe(recipe, overrides or [], named)
        return
    from sensorium.api.training import fit
    from sensorium.cli.output import show_log
    from sensorium.training.fabric import launching_rank

    show_log()
    if check:
        _check(recipe, overrides or [], named)
        return
    model = fit(
        recipe,
        overrides or [],
        run_dir=run_dir,
        resume=resume,
        data_changed=data_changed,
        evaluate=not no_evaluate,
    )
    if model.run is not None and launching_rank() == 0:
        typer.echo(f"The run is in {model.run.folder}.")


def _check(recipe: str | None, overrides: list[str], resume: str | None) -> None:
    from sensorium.cli.check import check_data
    from sensorium.runs.run import Run

    given = str(Run.open(resume).recipe_file) if resume else recipe
    if given is None:
        raise RecipeError("Name a recipe whose records are to be checked, or a run with --resume.")
    check_data(given, overrides)


def _print_recipe(recipe: str | None, overrides: list[str], resume: str | None) -> None:
    from sensorium.recipe.reading import read_recipe, to_yaml
    from sensorium.registration.discovery import load_extensions
    from sensorium.runs.run import Run

    given = Run.open(resume).recipe_file if resume else recipe
    if given is None:
        raise RecipeError("Name a recipe to print, or a run with --resume.")
    typer.echo(to_yaml(read_recipe(given, load_extensions().registry, overrides)).rstrip())
