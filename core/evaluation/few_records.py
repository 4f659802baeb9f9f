"""How many records of each class were measured, and how far chance could move a metric where they are few."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from sensorium.evaluation.labels import count_records
from sensorium.seeding import seed_of

FEW = 10
"""With fewer measured records of a class, the interval of the metric is said."""
RESAMPLES = 200
LISTED = 12
"""With more classes than this, only the smallest is named."""


def class_remarks(
    counts: Mapping[str, int], metric: str, measure: Callable[[np.ndarray], float | None], records: int
) -> list[str]:
    """Return the counts, and a warning with an interval where a class has few records.

    Args:
        counts: class -> number of measured records.
        metric: the metric whose interval is said.
        measure: returns it for rows of the measured records, or None where it does not apply.
        records: number of measured records.
    """
    if not counts:
        return []
    smallest = min(counts, key=lambda name: counts[name])
    listed = ", ".join(f"{name} {count}" for name, count in counts.items())
    if len(counts) > LISTED:
        listed = f"{len(counts)} classes, {count_records(counts[smallest])} of the smallest ({smallest})"
    remarks = [f"Measured records: {listed}."]
    if counts[smallest] < FEW and (interval := _interval(metric, measure, records)) is not None:
        remarks.append(
            f"Few: {count_records(counts[smallest])} of '{smallest}'. The 95 % interval of the last row's {metric} is "
            f"{interval[0]:.3f} to {interval[1]:.3f}: differences of that size are noise."
        )
    return remarks


def task_remarks(counts: Mapping[str, tuple[int, int]]) -> list[str]:
    """Return the positives of each binary task, and a warning that names those of which one class has few records.

    Args:
        counts: task -> its measured positives and records.
    """
    if not counts:
        return []
    listed = [f"{task} {positives} of {records}" for task, (positives, records) in counts.items()]
    few = [f"{task} {min(p, n - p)}" for task, (p, n) in counts.items() if min(p, n - p) < FEW]
    if len(counts) > LISTED:
        total = sum(positives for positives, _ in counts.values())
        listed = [f"{total} of {sum(records for _, records in counts.values())} labels of {len(counts)} tasks"]
    remarks = [f"Measured positives: {', '.join(listed)}."]
    if few:
        more = f" and {len(few) - LISTED} more" if len(few) > LISTED else ""
        remarks.append(
            f"Few: a class with fewer than {FEW} measured records ({', '.join(few[:LISTED])}{more}); the ROC-AUC of "
            "such a task is mostly noise."
        )
    return remarks


def _interval(metric: str, measure: Callable[[np.ndarray], float | None], records: int) -> tuple[float, float] | None:
    """Return the 95 % interval of a metric over test records; resampling tells nothing of an accuracy of 0 or 1."""
    if metric == "accuracy":
        return wilson_interval(measure(np.arange(records)) or 0.0, records)
    return bootstrap_interval(measure, records)


def wilson_interval(fraction: float, records: int) -> tuple[float, float]:
    """Return the 95 % score interval of a fraction of N records (Wilson 1927)."""
    z2 = 1.959964**2
    center = (fraction + z2 / (2 * records)) / (1 + z2 / records)
    half = (z2 * (fraction * (1 - fraction) / records + z2 / (4 * records**2))) ** 0.5 / (1 + z2 / records)
    return max(center - half, 0.0), min(center + half, 1.0)


def bootstrap_interval(
    measure: Callable[[np.ndarray], float | None], records: int, resamples: int = RESAMPLES
) -> tuple[float, float] | None:
    """Return the 95 % percentile bootstrap interval of a metric over test records (Efron 1979); None if it has none.

    Args:
        measure: returns the metric of rows, int64 (N,), or None where it does not apply.
        records: N, the number of records that rows are drawn of.
        resamples: how often.
    """
    rng = np.random.default_rng(seed_of("bootstrap", 0))
    values = [measure(rng.integers(0, records, records)) for _ in range(resamples)]
    known = [value for value in values if value is not None]
    if not known:
        return None
    low, high = np.quantile(known, [0.025, 0.975])
    return float(low), float(high)
