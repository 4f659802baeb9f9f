"""The page of a session: its tables, made from the JSON files of the parts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .session import read

OPEN = "not measured yet"
MODES = ("eager", "compiled")
COLUMNS = {
    "images": {"images/s": "images_per_second", "ms a step": "ms", "GB": "gb"},
    "losses": {"ms": "ms", "GB": "gb"},
    "cifar10": {
        "s to .80": "seconds to 0.80",
        "s to .85": "seconds to 0.85",
        "s to .88": "seconds to 0.88",
        "best kNN": "best",
        "wall s": "wall",
    },
    "evaluation": {"s": "seconds", "records": "records", "records/s": "records_per_second"},
}
"""Part -> heading of a column -> key of the rows."""


def write(file: Path, results: Path) -> None:
    """Replace the tables of a page, which stand between comments that name their part."""
    text = file.read_text(encoding="utf-8")
    file.write_text(rendered(text, results), encoding="utf-8")


def rendered(text: str, results: Path) -> str:
    """Return the text of the page with the tables of what was measured."""

    def table(match: re.Match[str]) -> str:
        part = match[1]
        return f"<!-- {part} -->\n\n{table_of(part, read(results / f'{part}.json'))}\n\n<!-- end of {part} -->"

    return re.sub(r"<!-- (\w+) -->.*?<!-- end of \1 -->", table, text, flags=re.DOTALL)


def table_of(part: str, found: Mapping[str, Any] | None) -> str:
    """Return the table of a part, with date, card and versions below."""
    lines = steps_table(found) if part == "steps" else rows_table(COLUMNS[part], found)
    if found is not None:
        versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
        rest = "" if found["complete"] else " Not complete."
        lines += ["", f"{found['date']}, {found['card']}; {versions}.{rest}"]
    return "\n".join(lines)


def rows_table(columns: Mapping[str, str], found: Mapping[str, Any] | None) -> list[str]:
    """Return one line for each row."""
    lines = markdown(["", *columns])
    if found is None:
        return [*lines, f"| {OPEN} |{' |' * len(columns)}"]
    for name, row in found["rows"].items():
        missing = row.get("skipped") or row.get("failed")
        cells = [missing, *[""] * (len(columns) - 1)] if missing else [number(row.get(key)) for key in columns.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def steps_table(found: Mapping[str, Any] | None) -> list[str]:
    """Return how many pairs pass, then each that does not, with the first line of its error."""
    lines = markdown(["steps", "pairs", "pass", "fail", "most synchronizations"])
    if found is None:
        return [*lines, *(f"| {mode} | {OPEN} | | | |" for mode in MODES)]
    failures = []
    for mode in MODES:
        rows = {name: row for name, row in found["rows"].items() if name.endswith(f", {mode}")}
        failed = {name: row["failed"] for name, row in rows.items() if "failed" in row}
        most = max((row["synchronizations"] for row in rows.values() if "failed" not in row), default=0)
        lines.append(f"| {mode} | {len(rows)} | {len(rows) - len(failed)} | {len(failed)} | {most} |")
        failures += [f"| {name} | {error.replace('|', chr(92) + '|')} |" for name, error in failed.items()]
    return lines + (["", *markdown(["pair", "error"], right=False), *failures] if failures else [])


def markdown(heading: list[str], right: bool = True) -> list[str]:
    """Return the two first lines of a table."""
    rule = "---:" if right else "---"
    return [f"| {' | '.join(heading)} |", f"| --- |{f' {rule} |' * (len(heading) - 1)}"]


def number(value: float | None) -> str:
    """Return a number for a table: three digits that count, a dash for none."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
