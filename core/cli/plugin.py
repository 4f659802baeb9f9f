"""`sensorium plugin new` and `sensorium plugin check`: a plugin template, and the conformance checks."""

from __future__ import annotations

import re
from enum import StrEnum
from importlib.resources import files
from pathlib import Path
from shlex import quote
from string import Template
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

import sensorium
from sensorium.cli.json_output import print_json
from sensorium.errors import PluginError

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Create a plugin from a template, or check one.")


class Kind(StrEnum):
    """What the new plugin registers."""

    objective = "objective"
    modality = "modality"


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Name of plugin and distribution, such as my-objective.")],
    folder: Annotated[Path, typer.Argument(help="The folder to write, new or empty.", metavar="DIR")],
    kind: Annotated[Kind, typer.Option(help="What the plugin registers.")] = Kind.objective,
) -> None:
    """Create an installable plugin project, with a working example and a test that runs the conformance checks."""
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise PluginError(
            f"'{name}' is not a valid plugin name: use lower-case letters and digits in words joined by '-'."
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise PluginError(f"{folder} is not empty: name a new folder.")
    module = name.replace("-", "_")
    words = {
        "name": name,
        "module": module,
        "Class": "".join(word.capitalize() for word in name.split("-")),
        "kind": kind.value,
        "A_kind": "An objective" if kind is Kind.objective else "A modality",
        "api": sensorium.API_VERSION,
    }
    for template, path in _files(kind, module).items():
        text = (files("sensorium.cli") / "templates" / template).read_text(encoding="utf-8")
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(Template(text).substitute(words), encoding="utf-8")
    typer.echo(f"Wrote {folder}. Next: pip install -e {quote(f'{folder}[dev]')} && sensorium plugin check {name}")


@app.command()
def check(
    name: Annotated[str, typer.Argument(help="Name of an installed plugin or of its distribution.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Run the conformance checks on everything that a plugin registers; exit code 1 if one fails."""
    from sensorium.testing import check_plugin

    console, rows = Console(soft_wrap=True, highlight=False), []
    for row in check_plugin(name):
        rows.append(row)
        if not as_json:
            color = {"passed": "green", "failed": "red", "skipped": "yellow"}[row.status]
            reason = f": {escape(row.reason)}" if row.reason else ""
            console.print(f"[{color}]{row.status:7}[/] {row.seconds:6.2f} s  {escape(row.name)}{reason}")
    failed = sum(row.status == "failed" for row in rows)
    if as_json:
        print_json([vars(row) for row in rows])
    else:
        passed = sum(row.status == "passed" for row in rows)
        console.print(f"{passed} passed, {failed} failed, {len(rows) - passed - failed} skipped")
    if failed:
        raise typer.Exit(1)


def _files(kind: Kind, module: str) -> dict[str, str]:
    """Return template -> path in the new project."""
    return {
        "pyproject.toml.tmpl": "pyproject.toml",
        "README.md.tmpl": "README.md",
        "test_plugin.py.tmpl": f"tests/test_{module}.py",
        f"{kind}_init.py.tmpl": f"{module}/__init__.py",
        f"{kind}.py.tmpl": f"{module}/{kind}.py",
    }
