"""Curves of a training, out of `metrics.jsonl`: which metrics there are, and what stands in one chart."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from sensorium.runs.run import Run

POINTS, PANELS = 300, 30
"""Of a line, and of a page; more points are thinned out, more charts are left out and counted."""
NO_CURVE = ("step", "epoch")
TITLES = {
    "loss": "Loss",
    "lr": "Learning rate",
    "records_per_second": "Records per second",
    "data_wait": "Time spent waiting for data",
    "skipped": "Skipped steps",
}
HEALTH = {"std": "Standard deviation of features", "rank": "Effective rank of features"}
FIRST = (TITLES["loss"], TITLES["lr"], *HEALTH.values(), TITLES["data_wait"])
"""The charts that come first; the others follow in the order in which a training logs them."""


@dataclass
class Panel:
    """What stands in one chart.

    Args:
        title: of the chart.
        lines: name of the line -> points, each a step and a value, None where it is not finite.
    """

    title: str
    lines: dict[str, list[tuple[float, float | None]]] = field(default_factory=dict)


def panels_of(runs: Mapping[str, Run]) -> tuple[list[Panel], int]:
    """Return the charts of the curves of runs, and how many more there are than a page shows.

    Args:
        runs: name on the page -> run; of several, each line has the name of its run in front.
    """
    panels: dict[str, Panel] = {}
    for run_name, run in runs.items():
        for metric, points in _metrics(run).items():
            title, line = _place(metric)
            if title == TITLES["skipped"] and not any(value for _, value in points):
                continue
            name = line if len(runs) == 1 else ", ".join(filter(None, (run_name, line)))
            panels.setdefault(title, Panel(title)).lines[name or title] = _thinned(points)
    first = [panels.pop(title) for title in FIRST if title in panels]
    every = [*first, *panels.values()]
    return every[:PANELS], max(len(every) - PANELS, 0)


def _metrics(run: Run) -> dict[str, list[tuple[float, float | None]]]:
    """Return metric -> its points; a last line that was cut off is passed over."""
    found: dict[str, list[tuple[float, float | None]]] = {}
    lines = run.metrics_file.read_text(encoding="utf-8").splitlines() if run.metrics_file.exists() else []
    for line in lines:
        try:
            metrics = json.loads(line)
            step = metrics["step"]
        except (ValueError, KeyError):
            continue
        for name, value in metrics.items():
            if name not in NO_CURVE and isinstance(value, int | float):
                found.setdefault(name, []).append((step, float(value) if math.isfinite(value) else None))
    return found


def _place(metric: str) -> tuple[str, str]:
    """Return the title of a metric's chart, and what its line is called there."""
    kind, _, rest = metric.partition("/")
    if kind == "health":
        what, _, name = rest.rpartition("/")
        return HEALTH.get(name, f"{name} ({kind})"), what
    if kind == "val":
        evaluator, _, name = rest.partition("/")
        return f"{evaluator} on the val part{', ranks' if is_rank(name) else ''}", name
    return TITLES.get(metric, metric), ""


def is_rank(metric: str) -> bool:
    """Return whether a metric counts places, such as "median rank", which share no axis with fractions."""
    return "rank" in re.split(r"[^a-z]+", metric.lower())


def _thinned(points: list[tuple[float, float | None]]) -> list[tuple[float, float | None]]:
    """Return every n-th point, and the last one."""
    every = math.ceil(len(points) / POINTS)
    return points if every <= 1 else [*points[:-1:every], points[-1]]
