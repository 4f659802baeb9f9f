"""The collapse alarm: warns when features, prototypes or codes no longer distinguish records.

It watches `Outcome.features` and `Outcome.assignments`, those of each of several objectives apart. Features of a
pretrained encoder tell records apart from the start: of a run that starts from weights, a fall far below what they were
is an alarm too. Of predictions of given targets, whose rank may be low because that of the targets is, it watches
`Outcome.explained`. Under distribution, metrics are those of the joined batch (at most `ROWS` of its rows), so that
every rank comes to the same conclusion.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sensorium.errors import TrainingError
from sensorium.losses import effective_rank, normalized_std
from sensorium.parallel import collectives
from sensorium.recipe.schema import Monitor
from sensorium.types import Outcome

log = logging.getLogger("sensorium")
ROWS = 256
"""Maximum number of rows per check: their singular values cost about 5 ms on one core."""
LEAST_EXPLAINED = 0.1
"""Explained variance that predictions must have reached once, before its fall is an alarm."""
FEWEST = 8
"""Minimum number of rows: with fewer, a small batch looks like a collapse."""


@dataclass(frozen=True)
class Rule:
    """One kind of collapse: a metric below its threshold.

    Args:
        name: its name in the log; `{}` stands for what has collapsed.
        threshold: the key of `monitor` that holds the minimum of the metric.
        meaning: what a value below it means.
        cause: its likely cause.
    """

    name: str
    threshold: str
    meaning: str
    cause: str


RULES = {
    "std": Rule(
        "complete collapse of {}",
        "std",
        "all records have the same {}",
        "at this learning rate the objective does not prevent it",
    ),
    "rank": Rule(
        "dimensional collapse of {}",
        "rank",
        "the {} of all records lie on one line",
        "one direction dominates the loss",
    ),
    "information": Rule(
        "uninformative {}",
        "information",
        "every record has the same assignment to {}",
        "assignments have become uniform, or one of the {} takes all records",
    ),
    "used": Rule(
        "collapse to one of the {}", "codes", "one of the {} takes every record", "the others are never the nearest"
    ),
    "explained": Rule(
        "collapse of {}",
        "explained",
        "the {} explain nothing of their targets any more",
        "features have become the same for all records",
    ),
}
"""Last part of a metric's name -> its rule."""


class CollapseAlarm:
    """Checks the outcomes of steps, and warns once for each kind of collapse.

    Args:
        options: interval, patience and thresholds.
        remedy: what to change first, from the objective.
        pretrained: names of `Outcome.features` that come from weights that the run started from.
        terms: of several objectives, by the name that what they watch begins with: what to change first.
    """

    def __init__(
        self,
        options: Monitor,
        remedy: str | None = None,
        pretrained: Collection[str] = (),
        terms: Mapping[str, str | None] | None = None,
    ) -> None:
        self.options, self.pretrained, self.remedy, self.terms = options, frozenset(pretrained), remedy, terms or {}
        self.start: dict[str, float] = {}
        self.metrics: dict[str, float] = {}
        self._highest: dict[str, float] = {}
        self._consecutive: dict[str, int] = {}
        self._warned: set[str] = set()

    def check(self, step: int, outcome: Outcome) -> None:
        """Check the outcome of step `step`; a collective operation.

        Raises:
            TrainingError: when something has collapsed and `monitor.on_collapse` is stop.
        """
        self.metrics = measure(outcome)
        for key, value in self.metrics.items():
            if key.endswith("/explained"):
                self._highest[key] = max(self._highest.get(key, 0.0), value)
        low = {key for key, value in self.metrics.items() if value < max(self._minimum(key), self._fallen(key))}
        self._consecutive = {key: self._consecutive.get(key, 0) + 1 for key in low}
        self._warned &= low
        for key in (key for key in self.metrics if key in low - self._warned):
            if self._consecutive[key] >= self.options.patience:
                self._warned.add(key)
                self._alarm(step, key)

    def note_start(self, outcome: Outcome) -> None:
        """Note the features of the first step, which the start weights have made; a collective operation."""
        if self.pretrained:
            found = measure(outcome)
            self.start = {key: value for key, value in found.items() if _watched(key) in self.pretrained}
            self.metrics = found

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps: what was found so far, the same on every rank."""
        return {
            "start": self.start,
            "metrics": self.metrics,
            "highest": self._highest,
            "consecutive": self._consecutive,
            "warned": sorted(self._warned),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a checkpoint; an older one has the start alone."""
        self.start, self.metrics = dict(state.get("start", {})), dict(state.get("metrics", {}))
        self._highest, self._consecutive = dict(state.get("highest", {})), dict(state.get("consecutive", {}))
        self._warned = set(state.get("warned", ()))

    def _minimum(self, key: str) -> float:
        threshold: float = getattr(self.options, _rule(key).threshold)
        if key not in self._highest:
            return threshold
        has_explained = self._highest[key] >= LEAST_EXPLAINED
        return threshold * self._highest[key] if threshold and has_explained else -math.inf

    def _fallen(self, key: str) -> float:
        """Return below which value features have lost most of what they were at the first step."""
        return self.options.fall * self.start[key] if key in self.start else -math.inf

    def read(self) -> dict[str, float]:
        """Return the metrics of the last check, once."""
        metrics, self.metrics = self.metrics, {}
        return metrics

    def _alarm(self, step: int, key: str) -> None:
        rule, value, minimum = _rule(key), self.metrics[key], self._minimum(key)
        term, what, advice = self._of_term(_watched(key))
        if key in self._highest:
            warning = (
                f"{term}{rule.name.format(what)} by step {step}: {rule.meaning.format(what)} ({key} is {value:.3g}, "
                f"below monitor.{rule.threshold} = {self.options.explained:g} of the {self._highest[key]:.3g} that it "
                f"was); likely cause: {rule.cause}; to do: {advice}"
            )
        elif value < minimum:
            warning = (
                f"{term}{rule.name.format(what)} by step {step}: {rule.meaning.format(what)} ({key} is {value:.3g}, "
                f"below monitor.{rule.threshold} = {minimum:g}); likely cause: {rule.cause.format(what)}; "
                f"to do: {advice}"
            )
        else:
            warning = (
                f"{term}{what} lose what the start weights knew by step {step}: {key} is {value:.3g}, below "
                f"monitor.fall = {self.options.fall:g} of the {self.start[key]:.3g} that it was; likely cause: "
                f"gradients of new heads, or too high a learning rate; to do: {advice}, or keep the encoder frozen "
                "until heads have settled (modalities.NAME.unfreeze=[0.1, 0.1])"
            )
        if self.options.on_collapse == "stop":
            raise TrainingError(f"{warning}; the run stops (monitor.on_collapse).")
        if collectives.rank() == 0:
            log.warning("%s.", warning)

    def _of_term(self, watched: str) -> tuple[str, str, str]:
        """Return the objective among several that a warning is of, as it begins, what is watched, and what to do."""
        name, _, what = watched.partition("/")
        is_of_term = name in self.terms
        remedy = self.terms[name] if is_of_term else self.remedy
        advice = f"{remedy}, or lower optimizer.lr" if remedy else "lower optimizer.lr"
        return (f"{name}: ", what, advice) if is_of_term else ("", watched, advice)


def _watched(key: str) -> str:
    """Return the name of the features or assignments that a metric is of."""
    return key.removeprefix("health/").rpartition("/")[0]


def _rule(key: str) -> Rule:
    return RULES[key.rpartition("/")[2]]


def measure(outcome: Outcome) -> dict[str, float]:
    """Return the metrics of a step by name, "health/WHAT/METRIC"; a collective operation.

    The device is read once, and once more for each of the features' ranks, which are computed on the host.
    """
    metrics: dict[str, float] = {}
    scalars: dict[str, Tensor] = {}
    for what, rows_ND in sorted(outcome.features.items()):
        rows_per_rank = -(-ROWS // collectives.world_size())
        rows_ND = collectives.all_gather(rows_ND[:rows_per_rank].detach().float())[0]
        if len(rows_ND) >= FEWEST:
            metrics |= {f"health/{what}/std": math.nan, f"health/{what}/rank": float(effective_rank(rows_ND))}
            scalars[f"health/{what}/std"] = normalized_std(rows_ND)
    assigned = sorted(outcome.assignments.items())
    explained = sorted(outcome.explained.items())
    own = [value for _, a in assigned for value in (a.used, a.entropy) if value is not None]
    own += [value for _, value in explained]
    of_rows, means = _stacked([*scalars.values()]), collectives.all_reduce_mean(_stacked(own)) if own else None
    read = iter((of_rows if means is None else torch.cat([of_rows.to(means.device), means])).tolist())
    metrics |= {name: next(read) for name in scalars}
    for what, a in assigned:
        used = next(read)
        if a.entropy is not None:
            metrics[f"health/{what}/information"] = math.log(max(used, 1.0)) - next(read)
        metrics[f"health/{what}/used"] = used
    return metrics | {f"health/{what}/explained": next(read) for what, _ in explained}


def _stacked(scalars: Sequence[Tensor]) -> Tensor:
    """Return scalars as a vector, float32."""
    return torch.stack([value.detach().float().reshape(()) for value in scalars]) if scalars else torch.zeros(0)
