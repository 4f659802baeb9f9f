"""The tables of `benchmarks/matrix.md`, read back."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

MATRIX = Path(__file__).parents[1] / "benchmarks" / "matrix.md"


@dataclass(frozen=True)
class Cell:
    """One cell: its row and column, and the trained encoder's metric and that of its first weights, or why none."""

    row: str
    column: str
    metric: str
    trained: str
    untrained: str
    reason: str = ""


def cells() -> list[Cell]:
    """Return every cell of the matrix, row by row."""
    text = MATRIX.read_text(encoding="utf-8")
    reasons = dict(re.findall(r"^(\d+)\. (.+)$", text, flags=re.MULTILINE))
    found: list[Cell] = []
    columns: list[tuple[str, str]] = []
    for line in text.splitlines():
        parts = [part.strip() for part in line.strip("|").split("|")] if line.startswith("|") else []
        if parts and parts[0] == "objective":
            columns = [(name, metric) for name, _, metric in (part.partition(": ") for part in parts[1:])]
        elif parts and columns and not parts[0].startswith(("*", "-")):
            found += [
                _cell(parts[0], *column, value, reasons) for column, value in zip(columns, parts[1:], strict=True)
            ]
    return found


def _cell(row: str, column: str, metric: str, value: str, reasons: dict[str, str]) -> Cell:
    if match := re.match(r"– \[(\d+)\]", value):
        return Cell(row, column, metric, "–", "–", reasons.get(match[1], ""))
    trained, _, untrained = value.partition(" (")
    return Cell(row, column, metric, trained, untrained.rstrip(")"))
