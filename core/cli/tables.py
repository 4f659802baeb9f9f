"""How the tables of evaluations are printed: drawn for the width of a terminal, as Markdown anywhere else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sensorium.evaluation.tables import ResultsRow, ResultsTable

MANY = 5
"""With more metrics than this, each metric has a row of its own."""
PADDING = 3
"""What a column takes beside its text."""


def print_tables(tables: Iterable[ResultsTable], console: Console | None = None) -> None:
    """Print tables on a console, standard output by default."""
    console = console or Console()
    for table in tables:
        if console.is_terminal:
            _draw(table, console)
        else:
            console.file.write(table.markdown() + "\n")


def _draw(table: ResultsTable, console: Console) -> None:
    console.print(Text(table.evaluator, style="bold"))
    names, rows = table.shown, table.rows
    wide = [["", *names], *([row.name, *(_cell(row, name) for name in names)] for row in rows)]
    if len(names) <= MANY and sum(_widths(wide)) <= console.width:
        console.print(_grid(wide))
    else:
        tall = [["metric", *(row.name for row in rows)], *([name, *(_cell(r, name) for r in rows)] for name in names)]
        for columns in _chunks(_widths(tall), console.width):
            console.print(_grid([[cells[i] for i in columns] for cells in tall], grouped=True))
    for heading, *body in table.matrices().values():
        lines = [[f"{rows[-1].name}: {heading[0]}", *heading[1:]], *body]
        for columns in _chunks(_widths(lines), console.width):
            console.print(_grid([[cells[i] for i in columns] for cells in lines]))
    for line in table.footnotes():
        console.print(Text(line, style="dim"))
    console.print()


def _grid(lines: Sequence[Sequence[str]], grouped: bool = False) -> Table:
    """Return a grid of a heading and lines; `grouped` rules off lines whose first words differ."""
    heading, *body = lines
    grid = Table()
    for i, name in enumerate(heading):
        grid.add_column(Text(name), justify="right" if i else "left", overflow="fold")
    following = [after[0].split()[0] for _, after in pairwise(body)] + [""]
    for cells, next_word in zip(body, following, strict=True):
        several = " " in cells[0]
        grid.add_row(*map(Text, cells), end_section=grouped and several and cells[0].split()[0] != next_word)
    return grid


def _cell(row: ResultsRow, name: str) -> str:
    return str(row.metrics[name]) if name in row.metrics else "–"


def _widths(lines: Sequence[Sequence[str]]) -> list[int]:
    """Return the width of each column."""
    return [max(map(len, column)) + PADDING for column in zip(*lines, strict=True)]


def _chunks(widths: Sequence[int], room: int) -> list[list[int]]:
    """Return which columns are drawn together: the first each time, and as many of the others as there is room for."""
    chunks: list[list[int]] = []
    for i, width in enumerate(widths[1:], 1):
        if not chunks or sum(widths[j] for j in chunks[-1]) + width > room - 1:
            chunks.append([0])
        chunks[-1].append(i)
    return chunks
