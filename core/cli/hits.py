"""How the hits of a search are printed."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sensorium.api.searching import Hit, SearchResult

WIDE = 10_000
"""Width of a listing that goes to a file or another program: nothing is cut."""


def print_hits(result: SearchResult, console: Console | None = None) -> None:
    """Print what was asked and searched, and a line for each hit; a terminal cuts lines at its width."""
    console = console or Console()
    if not console.is_terminal:
        console = Console(file=console.file, width=WIDE)
    also = f"; {', '.join(result.others)} would read it too, see --by" if result.others else ""
    console.print(Text(f"query     {result.query}, as {result.by}{also}"), soft_wrap=True)
    console.print(Text(f"searched  {result.target} of {result.searched:,} records, part {result.part}\n"))
    modalities = dict.fromkeys([result.target, *(name for hit in result for name in (*hit.captions, *hit.paths))])
    shown = {name: [hit.captions.get(name, hit.paths.get(name, "")) for hit in result] for name in modalities}
    shown["labels"] = [" ".join(f"{name}={value}" for name, value in hit.labels.items()) for hit in result]
    shown = {name: cells for name, cells in shown.items() if any(cells)}
    table = Table("rank", "cosine", "id", box=None, header_style="bold", pad_edge=False)
    for column in table.columns[:2]:
        column.justify = "right"
    for name in shown:
        table.add_column(Text(name), overflow="ellipsis", no_wrap=True)
    for row, hit in enumerate(result):
        about = [str(hit.rank), f"{hit.score:.3f}", hit.id]
        table.add_row(*map(Text, [*about, *(" ".join(cells[row].split()) for cells in shown.values())]))
    console.print(table)


def plain_result(result: SearchResult) -> dict[str, Any]:
    """Return a search as plain values for JSON."""
    asked = {name: getattr(result, name) for name in ("query", "by", "target", "part", "searched")}
    return asked | {"hits": [plain_hit(hit) for hit in result]}


def plain_hit(hit: Hit) -> dict[str, Any]:
    """Return a hit as plain values, rank, id and score first."""
    return {name: asdict(hit)[name] for name in ("rank", "id", "score", "captions", "paths", "labels", "previews")}
