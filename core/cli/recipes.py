"""`sensorium recipes`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from sensorium.cli.json_output import print_json
from sensorium.cli.output import wrap
from sensorium.registration.discovery import load_extensions


def recipes(
    name: Annotated[str | None, typer.Argument(help="Print this recipe.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the registered recipes, or print one."""
    registry = load_extensions().registry
    if name is None:
        specs = list(registry.specs("recipes"))
        if as_json:
            print_json([spec.public() for spec in specs])
        else:
            width = max((len(spec.name) for spec in specs), default=0)
            console = Console()
            for spec in specs:
                line = f"{spec.name:{width}}  {spec.summary}"
                typer.echo(wrap(line, console.width, width + 2) if console.is_terminal else line)
        return
    from sensorium.recipe.reading import raw_recipe, recipe_text

    if as_json:
        print_json(raw_recipe(name, registry))
    else:
        typer.echo(recipe_text(name, registry).rstrip())
