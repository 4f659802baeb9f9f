"""Charts of a page, made with Altair: Vega-Lite specifications as wide as the page lets them be.

Colors of text, axes and background are the page's own, which are light or dark.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import numpy as np

from sensorium.evaluation.tables import ResultsTable
from sensorium.reports.curves import Panel

Spec = dict[str, Any]
Row = dict[str, Any]
HEIGHT, LINE = 180, 22
"""Pixels: of a chart of curves, and of a row of a chart that has rows."""
NUMBERS = ",.6~r"
"""Format of numbers at an axis: 6 significant digits, without zeros at the end."""
CLASSES, MANY = 19, 30
"""So many classes have a color of their own, and so many stand in a confusion matrix."""
OTHER, NONE = "other classes", "no label"


def curves(panel: Panel) -> Spec:
    """Return lines over steps."""
    values = [
        {"step": step, "value": value, "line": name} for name, line in panel.lines.items() for step, value in line
    ]
    chart = alt.Chart(alt.Data(values=values)).encode(
        x=alt.X("step:Q", title="step", axis=alt.Axis(tickCount=5, format="~s")),
        y=alt.Y("value:Q", title=None, scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=5, format=NUMBERS)),
        tooltip=[alt.Tooltip("line:N"), alt.Tooltip("step:Q"), alt.Tooltip("value:Q", format=".5g")],
    )
    if len(panel.lines) > 1:
        order = alt.Scale(domain=list(panel.lines))
        chart = chart.encode(color=alt.Color("line:N", title=None, scale=order, legend=_below(columns=2)))
    few = all(len(line) <= 40 for line in panel.lines.values())
    return _spec(chart.mark_line(point=alt.OverlayMarkDef(size=18) if few else False, strokeWidth=1.8), HEIGHT)


def results(table: ResultsTable, metrics: Sequence[str]) -> Spec:
    """Return the rows of a table as points for each metric, with one standard deviation to both sides.

    Args:
        table: the table.
        metrics: names of those that stand in the chart; of one alone, rows are named at the axis.
    """
    values = [
        _point(row.name, name, row.metrics[name]) for name in metrics for row in table.rows if name in row.metrics
    ]
    rows = list(dict.fromkeys(value["row"] for value in values))
    tooltip = [alt.Tooltip("row:N"), alt.Tooltip("metric:N"), alt.Tooltip("said:N", title="mean ± deviation")]
    color = alt.Color("row:N", title=None, scale=alt.Scale(domain=rows, range=row_colors(rows)))
    base = alt.Chart(alt.Data(values=values)).encode(tooltip=tooltip)
    axis = alt.Axis(labelLimit=150)
    if len(metrics) > 1:
        y, offset = alt.Y("metric:N", title=None, sort=list(metrics), axis=axis), alt.YOffset("row:N", sort=rows)
        base = base.encode(y=y, yOffset=offset, color=color.legend(_below(columns=2)))
    else:
        base = base.encode(y=alt.Y("row:N", title=None, sort=rows, axis=axis), color=color.legend(None))
    x = alt.X("mean:Q", title=None, scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=4, format=NUMBERS))
    bars = base.mark_rule(strokeWidth=2).encode(x=x, x2="high:Q").transform_calculate(mean="datum.low")
    points = base.mark_point(filled=True, size=60, opacity=1).encode(x=x)
    height = len(metrics) * (len(rows) * 9 + 8) if len(metrics) > 1 else len(rows) * LINE
    return _spec(alt.layer(bars, points), max(height, 3 * LINE))


def confusion(counts: Mapping[tuple[str, str], int]) -> Spec:
    """Return the shares of a class that are predicted as each class; rows are true classes.

    Args:
        counts: true class, predicted class -> number of records.
    """
    names = sorted({name for pair in counts for name in pair})
    of_class = {name: sum(counts.get((name, other), 0) for other in names) for name in names}
    values = [
        {"label": label, "prediction": prediction, "records": n, "share": n / max(of_class[label], 1)}
        for label in names
        for prediction in names
        for n in [counts.get((label, prediction), 0)]
    ]
    is_short = sum(map(len, names)) + 2 * len(names) < 40
    base = alt.Chart(alt.Data(values=values)).encode(
        x=alt.X(
            "prediction:N",
            sort=names,
            title="predicted",
            axis=alt.Axis(labelLimit=110, labelAngle=0 if is_short else -45),
        ),
        y=alt.Y("label:N", sort=names, title="true", axis=alt.Axis(labelLimit=110)),
        tooltip=["label:N", "prediction:N", "records:Q", alt.Tooltip("share:Q", format=".1%")],
    )
    cells = base.mark_rect().encode(
        color=alt.Color("share:Q", scale=alt.Scale(scheme="blues", domain=[0, 1]), legend=None)
    )
    layers = [cells]
    if len(names) <= 12:
        white = alt.condition("datum.share > 0.5", alt.value("white"), alt.value("#202124"))
        layers.append(base.mark_text(fontSize=11).encode(text="records:Q", color=white))
    return _spec(alt.layer(*layers), max(len(names) * LINE, 4 * LINE))


def predicted(labels: Sequence[float], predictions: Sequence[float]) -> Spec:
    """Return predicted values over true ones, with the line on which both are equal."""
    values = [{"label": a, "prediction": b} for a, b in zip(labels, predictions, strict=True)]
    ends = [{"label": end, "prediction": end} for end in (min([*labels, *predictions]), max([*labels, *predictions]))]
    x = alt.X("label:Q", title="true", scale=alt.Scale(zero=False))
    y = alt.Y("prediction:Q", title="predicted", scale=alt.Scale(zero=False))
    points = alt.Chart(alt.Data(values=values)).mark_circle(size=28, opacity=0.6).encode(x=x, y=y)
    same = alt.Chart(alt.Data(values=ends)).mark_line(strokeDash=[4, 4], color="#888").encode(x=x, y=y)
    return _spec(alt.layer(same, points.encode(tooltip=["label:Q", "prediction:Q"])), 300)


def embedding_map(points: Sequence[Row], label: str | None, classes: Sequence[str] = ()) -> Spec:
    """Return points of a plane, colored by their label; those without a number are gray.

    Args:
        points: each with x, y, id, words and, where there are any, label and image (a data URI).
        label: name of the label; None for points without.
        classes: names of all classes, of other maps of the page too, so that a class has one color; none for numbers.
    """
    tooltip = [alt.Tooltip(f"{name}:N") for name in ("id", "label", "words", "image") if any(name in p for p in points)]
    chart = alt.Chart(alt.Data(values=list(points))).mark_circle(size=36, opacity=0.85)
    around = alt.Scale(zero=False, nice=False, padding=16)
    chart = chart.encode(
        x=alt.X("x:Q", axis=None, scale=around), y=alt.Y("y:Q", axis=None, scale=around), tooltip=tooltip
    )
    if label is not None and classes:
        names = sorted(set(classes) - {OTHER, NONE}) + [name for name in (OTHER, NONE) if name in classes]
        scale = alt.Scale(domain=names, range=_colors(names))
        chart = chart.encode(color=alt.Color("label:N", title=label, scale=scale, legend=_below(columns=3)))
    elif label is not None:
        color = alt.Color("label:Q", title=label, scale=alt.Scale(scheme="viridis"), legend=_below())
        known, unknown = chart.transform_filter("isValid(datum.label)"), chart.transform_filter("!isValid(datum.label)")
        return _spec(alt.layer(unknown.encode(color=alt.value(GRAY)), known.encode(color=color)).interactive(), 420)
    return _spec(chart.interactive(), 420)


def shown_labels(labels: Sequence[Any]) -> list[Any] | None:
    """Return labels as a map colors them: numbers, or names of which the rarest are "other classes"; None for none.

    Args:
        labels: of the records, None where one has none.
    """
    known = [label for label in labels if label is not None]
    if not known:
        return None
    if all(isinstance(label, int | float) for label in known) and len(set(known)) > CLASSES:
        return [None if label is None or not math.isfinite(label) else float(label) for label in labels]
    names, counts = np.unique([str(label) for label in known], return_counts=True)
    kept = set(names[np.argsort(-counts, kind="stable")[:CLASSES]]) if len(names) > CLASSES else set(names)
    return [NONE if label is None else str(label) if str(label) in kept else OTHER for label in labels]


def _point(row: str, name: str, metric: Any) -> Row:
    mean, spread = metric.mean, metric.std_over_seeds or metric.std_over_folds or 0.0
    finite = {"mean": mean, "low": mean - spread, "high": mean + spread} if np.isfinite(mean) else {}
    return {"row": row, "metric": name, "said": str(metric), **finite}


def _colors(names: Sequence[str]) -> list[str]:
    """Return a color for each name: of at most ten the darker ones; gray for what has no color of its own."""
    named = [name for name in names if name not in (OTHER, NONE)]
    palette = TABLEAU_10 if len(named) <= len(TABLEAU_10) else TABLEAU_20
    return [*palette[: len(named)], *[GRAY] * (len(names) - len(named))]


def row_colors(rows: Sequence[str]) -> list[str]:
    """Return a color for each row of a table, the same in all of a page's: the strongest is that of the last one."""
    others = iter(TABLEAU_10[1 + len(SETTLED) :] * (len(rows) // 7 + 1))
    last = {row: TABLEAU_10[0] for row in rows[-1:] if row not in SETTLED}
    return [(last | SETTLED).get(row) or next(others) for row in rows]


def _below(**options: Any) -> alt.Legend:
    return alt.Legend(orient="bottom", labelLimit=140, symbolLimit=40, **options)


def _spec(chart: alt.Chart | alt.LayerChart | alt.FacetChart, height: int) -> Spec:
    sized = chart.properties(
        width="container", height=height, autosize=alt.AutoSizeParams(type="fit-x", contains="padding")
    )
    spec = sized.to_dict()
    spec.pop("config", None)
    return spec


TABLEAU_10 = (
    "#4a86c5",
    "#f58518",
    "#54a24b",
    "#e45756",
    "#72b7b2",
    "#eeca3b",
    "#b279a2",
    "#ff9da6",
    "#9d755d",
    "#6b9080",
)
TABLEAU_20 = (
    "#4a86c5", "#9ecae9", "#f58518", "#ffbf79", "#54a24b", "#88d27a", "#b79a20", "#f2cf5b", "#439894", "#83bcb6",
    "#e45756", "#ff9d98", "#79706e", "#bab0ac", "#d67195", "#fcbfd2", "#b279a2", "#d6a5c9", "#9e765f", "#d8b5a5",
)  # fmt: skip
"""Vega's categorical schemes, legible on white and on black."""
GRAY = "#9aa0a6"
SETTLED = {"chance": GRAY, "baseline": TABLEAU_10[1], "untrained": TABLEAU_10[2]}
"""Rows of results that mean the same in every table, and their colors."""
