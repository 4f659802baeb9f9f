"""`sensorium list KIND [NAME]`: what is registered, and the options of one part."""

from __future__ import annotations

import inspect
import re
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from sensorium.cli.json_output import print_json
from sensorium.cli.output import listing_console, reflow
from sensorium.errors import PluginError, did_you_mean
from sensorium.registration.discovery import load_extensions
from sensorium.registration.registry import FILLED, KINDS, Registry, Spec


def list_kind(
    kind: Annotated[str, typer.Argument(help=f"One of {', '.join(KINDS)}.", metavar="KIND")],
    name: Annotated[str | None, typer.Argument(help="Show the options of this part.", metavar="[NAME]")] = None,
    modality: Annotated[str | None, typer.Option(help="Only parts for this modality.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List what is registered, with plugin and requirements; with a NAME, show the options of one part."""
    if kind not in KINDS:
        raise PluginError(
            f"There is no kind '{kind}'{did_you_mean(kind, KINDS) or '.'} The kinds are: {', '.join(KINDS)}."
        )
    registry = load_extensions().registry
    if modality is not None:
        registry.find("modalities", modality)
    if name is None:
        _show_all(kind, registry, modality, as_json)
    else:
        _show_one(registry.find(kind, name, modality), as_json)


def _show_all(kind: str, registry: Registry, modality: str | None, as_json: bool) -> None:
    specs = [s for s in registry.specs(kind) if modality is None or s.modality in (None, modality)]
    if as_json:
        print_json([spec.public() for spec in specs])
        return
    of_modality = kind in ("encoders", "views")
    table = Table("name", *["modality"] * of_modality, "plugin", "summary", "requires", box=None, header_style="bold")
    for spec in specs:
        absent = spec.missing_packages()
        needs = ", ".join(f"[red]{r} (missing)[/]" if r in absent else r for r in spec.requires)
        belongs = [spec.modality or "every"] * of_modality
        table.add_row(spec.name, *belongs, spec.plugin, escape(spec.summary), needs)
    listing_console().print(table)


def _show_one(spec: Spec, as_json: bool) -> None:
    if spec.kind in ("recipes", "commands"):
        command = f"sensorium recipes {spec.name}" if spec.kind == "recipes" else f"sensorium {spec.name} --help"
        raise PluginError(f"'{spec.name}' has no options to list: run {command}.")
    from sensorium.registration.options import options_of

    target = spec.load()
    options = options_of(target, skip=FILLED.get(spec.kind, 0))
    about = _reflowed(inspect.cleandoc(target.__doc__ or spec.summary).partition("\nArgs:")[0].strip())
    if as_json:
        shown = spec.public() | {"about": about, "options": [option.public() for option in options]}
        print_json(shown)
        return
    console = listing_console()
    console.print(f"[bold]{spec.name}[/]  plugin {spec.plugin}, {spec.distribution}\n\n{escape(reflow(about))}\n")
    if not options:
        console.print("No options.")
        return
    table = Table("option", "type", "default", "meaning", box=None, header_style="bold")
    for option in options:
        default = "[red]required[/]" if option.required else escape(repr(option.default))
        table.add_row(option.name, escape(option.type), default, escape(option.help))
        for one in option.suboptions:
            table.add_row(f"  .{one.name}", escape(one.type), escape(repr(one.default)), escape(one.help))
    console.print(table)


def _reflowed(text: str) -> str:
    """Return text with each paragraph on one line, which the terminal then wraps; lists and code stay as they are."""
    blocks = text.split("\n\n")
    return "\n\n".join(
        block if re.search(r"^(\s|[-*>|`]|\d+\.)", block, re.MULTILINE) else block.replace("\n", " ")
        for block in blocks
    )
