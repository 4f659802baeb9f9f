"""Aggregation and printing of metrics."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest

from sensorium.evaluation.tables import Metric, ResultsRow, ResultsTable, ResultsTables, split_hash

FOLDED = Metric([[0.8, 0.9, 1.0], [0.7, 0.7, 0.7]])


@pytest.fixture
def table() -> ResultsTable:
    rows = [
        ResultsRow("chance", {"accuracy": Metric([[0.1]])}),
        ResultsRow("trained", {"accuracy": FOLDED, "p|q": Metric([[123.456]])}, Counter({"C = 1": 4, "C = 10": 2})),
    ]
    return ResultsTable("probe", rows, "3 folds", "C inside train", split_hash(["a"], ["b"]), (1, 1))


def test_both_deviations_are_kept_apart():
    assert FOLDED.mean == pytest.approx(0.8)
    assert FOLDED.std_over_seeds == pytest.approx(np.std([0.9, 0.7], ddof=1))
    assert FOLDED.std_over_folds == pytest.approx(np.mean([0.1, 0.0]))
    assert str(FOLDED) == "0.800 ± 0.141 (folds ± 0.050)"
    assert str(Metric([[0.5]])) == "0.500"
    assert str(Metric([[0.4], [0.6]])) == "0.500 ± 0.141"


def test_a_notebook_shows_the_table_with_its_footnotes(table):
    table.rows[0].name = "<chance>"
    html = table._repr_html_()
    assert "<caption>probe</caption>" in html
    assert "<tr><td>&lt;chance&gt;</td><td>0.100</td><td>–</td></tr>" in html
    assert all(line in html for line in table.footnotes())
    assert ResultsTables(a=table, b=table)._repr_html_() == 2 * html
    assert repr(ResultsTables(a=table)) == repr(table) == table.markdown()


def test_markdown_is_a_table_with_its_facts(table):
    assert table.markdown().splitlines() == [
        "## probe",
        "",
        "|  | accuracy | p\\|q |",
        "| --- | ---: | ---: |",
        "| chance | 0.100 | – |",
        "| trained | 0.800 ± 0.141 (folds ± 0.050) | 123.5 |",
        "",
        "- folds ±: sample standard deviation over the folds of one seed, averaged over seeds.",
        "- ±: sample standard deviation over seeds of the mean over folds.",
        "- Protocol: 3 folds.",
        "- Selection: C inside train; never on the test part.",
        f"- Split: {split_hash(['a'], ['b'])} (1 train, 1 test).",
        "- trained: C = 1 (×4); C = 10 (×2).",
    ]


def test_files_hold_every_score(table, tmp_path):
    paths = table.write(tmp_path)
    assert [p.relative_to(tmp_path).as_posix() for p in paths] == ["evaluations/probe.json", "evaluations/probe.md"]
    stored = json.loads(paths[0].read_text(encoding="utf-8"))
    assert stored == table.public()
    assert stored["rows"]["trained"]["metrics"]["accuracy"]["scores"] == FOLDED.scores
    assert paths[1].read_text(encoding="utf-8") == table.markdown()


def test_the_hash_knows_parts_and_not_order():
    assert split_hash(["a", "b"], ["c"]) == split_hash(["b", "a"], ["c"])
    assert len({split_hash(["a", "b"], ["c"]), split_hash(["a"], ["b", "c"]), split_hash(["c"], ["a", "b"])}) == 3


def test_metrics_of_pairs_are_shown_as_matrices_of_the_last_row():
    names = ["R@1", "a->b R@1", "b->a R@1", "a->c R@1"]
    rows = [
        ResultsRow(row, {name: Metric([[value]]) for name in names})
        for row, value in (("chance", 0.1), ("trained", 0.5))
    ]
    rows[1].metrics["b->a R@1"] = Metric([[0.25]])
    pairwise = ResultsTable("retrieval", rows, "the given split", "nothing", "abc", (9, 3), is_pairwise=True)
    assert pairwise.shown == ["R@1"]
    assert pairwise.metrics == names
    assert pairwise.matrices() == {
        "R@1": [
            ["R@1, query -> target", "a", "b", "c"],
            ["a", "–", "0.500", "0.500"],
            ["b", "0.250", "–", "–"],
            ["c", "–", "–", "–"],
        ]
    }
    text = pairwise.markdown()
    assert "| chance | 0.100 |" in text
    assert "| trained: R@1, query -> target | a | b | c |" in text
    assert "a->b" not in text
    assert "a-&gt;b" not in pairwise._repr_html_()
    plain = ResultsTable("retrieval", rows, "the given split", "nothing", "abc", (9, 3))
    assert (plain.shown, plain.matrices()) == (names, {})


def test_a_table_is_read_as_it_was_written(table, tmp_path):
    table.write(tmp_path)
    read = ResultsTable.read(tmp_path / "evaluations" / f"{table.evaluator}.json")
    assert [(row.name, row.metrics) for row in read.rows] == [(row.name, row.metrics) for row in table.rows]
    assert (read.protocol, read.selection, read.split, read.counts) == (
        *(table.protocol, table.selection, table.split, table.counts),
    )
    assert read.footnotes()[-1] == table.footnotes()[-1]
