"""How tables are printed: drawn within a terminal's width, as Markdown elsewhere."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from sensorium.cli.tables import print_tables
from sensorium.evaluation.tables import Metric, ResultsRow, ResultsTable


def printed(table: ResultsTable, width: int, terminal: bool = True) -> str:
    file = io.StringIO()
    print_tables([table], Console(width=width, file=file, force_terminal=terminal, no_color=True, color_system=None))
    return file.getvalue()


def a_table(names: list[str], rows: list[str]) -> ResultsTable:
    metrics = {name: Metric([[i / 16], [i / 8]]) for i, name in enumerate(names)}
    lines = [ResultsRow("chance"), *(ResultsRow(name, metrics) for name in rows)]
    return ResultsTable("retrieval", lines, "given", "none", "ab12", (8, 2))


def test_few_metrics_are_columns():
    lines = printed(a_table(["accuracy", "f1"], ["untrained", "trained"]), 80).splitlines()
    assert lines[0] == "retrieval"
    assert "accuracy" in lines[2]
    assert "f1" in lines[2]
    assert any("trained" in line and "0.094 ± 0.044" in line for line in lines)


@pytest.mark.parametrize("width", [60, 80, 200])
def test_many_metrics_are_rows_and_nothing_is_cut(width):
    names = [f"image->text r@{i}" for i in range(10)] + ["median rank", "coverage"]
    table = a_table(names, ["baseline", "untrained", "trained"])
    text = printed(table, width)
    assert all(str(metric) in text for metric in table.rows[1].metrics.values())
    assert all(any(line.count("│") and name in line for line in text.splitlines()) for name in names)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width


def test_runs_that_do_not_fit_side_by_side_are_drawn_below_each_other():
    runs = [f"runs/image-text-20260101-12000{i}" for i in range(5)]
    text = printed(a_table(["accuracy"], runs), 80) + printed(a_table([f"r@{i}" for i in range(9)], runs), 80)
    assert all(text.count(run) == 2 for run in runs)
    assert max(map(len, text.splitlines())) <= 80


def test_a_pipe_gets_markdown_in_full_width():
    table = a_table([f"metric {i}" for i in range(30)], ["trained"])
    assert printed(table, 80, terminal=False) == table.markdown() + "\n"
