"""The collapse alarm: warns when features, prototypes or codes no longer distinguish records.

It watches `Outcome.features` and `Outcome.assignments`. Under distribution, metrics are those of the joined batch (at
most `ROWS` of its rows), so that every rank comes to the same conclusion.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sensorium.errors import TrainingError
from sensorium.losses import effective_rank, normalized_std
from sensorium.parallel import collectives
from sensorium.recipe.schema import Monitor
from sensorium.types import Outcome

log = logging.getLogger("sensorium")
ROWS = 256
"""The most rows of a batch that are looked at: their singular values cost about 5 ms on one core."""
FEWEST = 8
"""With fewer rows there is no telling a collapse from a small batch."""


@dataclass(frozen=True)
class Rule:
    """One kind of collapse: a figure below its threshold.

    Args:
        name: what it is called in the log; `{}` stands for what has collapsed.
        threshold: the key of `monitor` that the figure must not fall below.
        seen: what that means.
        cause: what it is likely to come from.
    """

    name: str
    threshold: str
    seen: str
    cause: str


RULES = {
    "std": Rule(
        "collapsed {}",
        "std",
        "different records have the same {}",
        "nothing in the objective keeps records apart at this rate",
    ),
    "rank": Rule("flat {}", "rank", "the {} of all records lie on one line", "one direction pays more than all others"),
    "information": Rule(
        "uninformed {}",
        "information",
        "every record has the same assignment to {}",
        "assignments have become uniform, or one of the {} takes all records",
    ),
    "used": Rule(
        "single {}", "codes", "one of the {} takes every record", "the others were never near enough to learn"
    ),
}
"""The last part of a figure's name -> the rule that judges it."""


class CollapseAlarm:
    """Watches the outcomes of steps and says, once for each kind, that a training has collapsed.

    Args:
        options: how often it looks, and from where on it is alarmed.
        remedy: what to change first, as the objective says it.
    """

    def __init__(self, options: Monitor, remedy: str | None = None) -> None:
        self.options = options
        self.advice = f"{remedy}, or lower optimizer.lr" if remedy else "lower optimizer.lr"
        self.metrics: dict[str, float] = {}
        self._in_a_row: dict[str, int] = {}
        self._said: set[str] = set()

    def look(self, step: int, outcome: Outcome) -> None:
        """Look at the outcome of step `step`; collective under distribution.

        Raises:
            TrainingError: when something has collapsed and `monitor.on_collapse` is stop.
        """
        self.metrics = measure(outcome)
        low = {key for key, value in self.metrics.items() if value < getattr(self.options, _rule(key).threshold)}
        self._in_a_row = {key: self._in_a_row.get(key, 0) + 1 for key in low}
        self._said &= low
        for key in (key for key in self.metrics if key in low - self._said):
            if self._in_a_row[key] >= self.options.patience:
                self._said.add(key)
                self._alarm(step, key)

    def read(self) -> dict[str, float]:
        """Return the figures of the last look, once."""
        metrics, self.metrics = self.metrics, {}
        return metrics

    def _alarm(self, step: int, key: str) -> None:
        rule, what = _rule(key), key.split("/")[1]
        least = getattr(self.options, rule.threshold)
        told = (
            f"{rule.name.format(what)} by step {step}: {rule.seen.format(what)} ({key} is {self.metrics[key]:.3g}, "
            f"below monitor.{rule.threshold} = {least:g}), likely because {rule.cause.format(what)}: {self.advice}"
        )
        if self.options.on_collapse == "stop":
            raise TrainingError(f"{told}; the run stops here, as monitor.on_collapse says.")
        if collectives.rank() == 0:
            log.warning("%s.", told)


def _rule(key: str) -> Rule:
    return RULES[key.rpartition("/")[2]]


def measure(outcome: Outcome) -> dict[str, float]:
    """Return the figures of a step by name, "health/WHAT/FIGURE"; collective under distribution."""
    metrics: dict[str, float] = {}
    for what, rows_ND in sorted(outcome.features.items()):
        share = -(-ROWS // collectives.world_size())
        rows_ND = collectives.all_gather(rows_ND[:share].detach().float())[0]
        if len(rows_ND) >= FEWEST:
            metrics[f"health/{what}/std"] = float(normalized_std(rows_ND))
            metrics[f"health/{what}/rank"] = float(effective_rank(rows_ND))
    for what, a in sorted(outcome.assignments.items()):
        used, *entropy = _means([a.used] if a.entropy is None else [a.used, a.entropy])
        if entropy:
            metrics[f"health/{what}/information"] = math.log(max(used, 1.0)) - entropy[0]
        metrics[f"health/{what}/used"] = used
    return metrics


def _means(scalars: Sequence[Tensor]) -> list[float]:
    """Return scalars as means over ranks."""
    return collectives.all_reduce_mean(torch.stack([value.detach().float().reshape(()) for value in scalars])).tolist()
