"""The chart of a learning curve."""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping, Sequence
from importlib.util import find_spec

from PIL import Image

from sensorium.evaluation.tables import Metric

log = logging.getLogger("sensorium")
WIDTH, HEIGHT, SCALE = 560, 340, 2
"""Of the plot in pixels, and how many pixels of the image each is."""


def curve_chart(points: Mapping[str, Sequence[tuple[int, Metric]]], metric: str, title: str) -> Image.Image | None:
    """Draw a line for each row over the number of labels, on a logarithmic axis, with bars of ± one std over seeds.

    Args:
        points: row -> number of labeled records, and the metric that was learned from them.
        metric: its name.
        title: above the chart.

    Returns:
        The image; None, with a line in the log, where the libraries are not installed.
    """
    if find_spec("altair") is None or find_spec("vl_convert") is None:
        log.info("The chart of the learning curve needs Altair: run pip install 'sensorium[report]'.")
        return None
    import altair as alt

    values = [
        {"row": row, "labels": count, "mean": of.mean, "low": of.mean - std, "high": of.mean + std}
        for row, of_row in points.items()
        for count, of in of_row
        for std in [of.std_over_seeds or 0.0]
    ]
    counts = sorted({value["labels"] for value in values})
    x = alt.X(
        "labels:Q", title="labeled records", scale=alt.Scale(type="log", nice=False), axis=alt.Axis(values=counts)
    )
    y = alt.Y("mean:Q", title=metric, scale=alt.Scale(zero=False))
    color = alt.Color("row:N", title=None, sort=list(points), legend=alt.Legend(labelLimit=260))
    base = alt.Chart(alt.Data(values=values)).encode(x=x, color=color)
    lines = base.mark_line(point=True).encode(y=y)
    bars = base.mark_rule(opacity=0.6).encode(y=alt.Y("low:Q", title=metric), y2="high:Q")
    chart = (bars + lines).properties(width=WIDTH, height=HEIGHT, title=title)
    image = io.BytesIO()
    chart.save(image, format="png", scale_factor=SCALE)
    return Image.open(image).convert("RGB")
