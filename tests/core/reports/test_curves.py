"""Curves out of `metrics.jsonl`."""

import json

from sensorium.reports.curves import PANELS, POINTS, panels_of
from sensorium.runs.run import Run


def run_of(folder, lines):
    folder.mkdir()
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 9, "lo')
    return Run(folder)


def test_what_matters_comes_first_and_what_belongs_together_is_one_chart(tmp_path):
    lines = [
        {"step": step, "epoch": 0.1, "scale": 3.0, "skipped": 0, "loss": float("nan") if step == 2 else 1 / step}
        | {"lr": 0.1, "data_wait": 0.0, "health/image/std": 0.9, "health/text/std": 0.8, "health/text/rank": 4.0}
        for step in (1, 2, 4)
    ]
    lines.append({"step": 4, "val/knn/accuracy": 0.5, "val/knn/macro-F1": 0.4, "val/knn/a to b median rank ↓": 7.0})
    panels, left_out = panels_of({"one": run_of(tmp_path / "one", lines)})
    assert [panel.title for panel in panels] == [
        "Loss",
        "Learning rate",
        "Standard deviation of features",
        "Effective rank of features",
        "Time spent waiting for data",
        "scale",
        "knn on the val part",
        "knn on the val part, ranks",
    ]
    assert left_out == 0
    assert panels[0].lines == {"Loss": [(1, 1.0), (2, None), (4, 0.25)]}
    assert list(panels[2].lines) == ["image", "text"]
    assert list(panels[-2].lines) == ["accuracy", "macro-F1"]
    assert list(panels[-1].lines) == ["a to b median rank ↓"]


def test_lines_of_several_runs_are_named_after_them(tmp_path):
    lines = [{"step": 1, "loss": 2.0, "health/a/std": 0.5}]
    panels, _ = panels_of({name: run_of(tmp_path / name, lines) for name in ("one", "two")})
    assert [list(panel.lines) for panel in panels] == [["one", "two"], ["one, a", "two, a"]]


def test_long_lines_are_thinned_and_many_charts_counted(tmp_path):
    lines = [{"step": step, **{f"metric {i}": step for i in range(PANELS + 5)}} for step in range(1001)]
    panels, left_out = panels_of({"one": run_of(tmp_path / "one", lines)})
    assert (len(panels), left_out) == (PANELS, 5)
    (points,) = panels[0].lines.values()
    assert len(points) <= POINTS + 1
    assert (points[0], points[-1]) == ((0, 0.0), (1000, 1000.0))


def test_a_run_without_metrics_has_no_curve(tmp_path):
    assert panels_of({"one": Run(tmp_path)}) == ([], 0)
