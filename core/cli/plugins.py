"""`sensorium plugins`: all plugins, their states and what they register."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from sensorium.cli.json_output import print_json
from sensorium.cli.output import listing_console
from sensorium.registration.discovery import Plugin, fabric_callbacks, load_extensions

_COLORS = {"loaded": "green", "blocked": "dim", "failed": "red", "conflict": "red", "incompatible": "red"}


def plugins(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON, with the callbacks that distributions add to Fabric.")
    ] = False,
) -> None:
    """List all plugins: state, distribution, and what each registers or why it failed.

    SENSORIUM_PLUGINS=a,b allows only these third-party plugins (empty: none), SENSORIUM_DISABLE_PLUGINS=a,b blocks
    plugins, built-in ones too, and SENSORIUM_PLUGINS_STRICT=1 makes a plugin that cannot be loaded an error.
    """
    found, callbacks = load_extensions().plugins, fabric_callbacks()
    if as_json:
        shown = {"plugins": [plugin.public() for plugin in found], "fabric_callbacks": callbacks}
        print_json(shown)
        return
    table = Table("plugin", "state", "distribution", "version", "registers", box=None, header_style="bold")
    table.add_column("ms", justify="right")
    for plugin in found:
        state = f"[{_COLORS[plugin.state]}]{plugin.state}[/]"
        registers = escape(_registers(plugin) or plugin.reason)
        milliseconds = f"{plugin.seconds * 1000:.0f}"
        table.add_row(plugin.name, state, plugin.distribution, plugin.version, registers, milliseconds)
    console = listing_console()
    console.print(table)
    for entry in callbacks:
        console.print(
            f"Note: {entry['distribution']} {entry['version']} adds callbacks to every Fabric: {entry['target']} in "
            f"the group {entry['group']}.",
            markup=False,
        )


def _registers(plugin: Plugin) -> str:
    return "; ".join(f"{kind}: {', '.join(names)}" for kind, names in plugin.registered.items())
