"""How far a training moved features: the same records embedded before and after it, and the table of both.

What a model knew before is measured on a reference set (`evaluate.reference`), by the same evaluators before and after.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from sensorium import losses
from sensorium.blocks.lora import merged_weights
from sensorium.evaluation.runner import CHANCE
from sensorium.evaluation.tables import AS_IT_CAME, TRAINED, Metric, ResultsRow, ResultsTable, split_hash
from sensorium.feature_table import FeatureTable
from sensorium.models.model import Model
from sensorium.neighbors.similarity import l2_normalize

FORGETTING, TEST_PART, REFERENCE = "forgetting", "test part", "reference"
"""The table, and its rows."""
FEWEST = 4
"""Records that a distance needs."""


def distances(before: FeatureTable, after: FeatureTable, device: torch.device | str) -> dict[str, float]:
    """Return how features of the same records differ, by modality, such as "image CKA".

    * cosine distance: mean of 1 - cosine between a record's features before and after. A rotation of all features
      counts here, though no probe would notice it.
    * CKA: linear, with unbiased estimates (`sensorium.losses.linear_cka`): 1 where features are a rotation of what
      they were, 0 where they have nothing to do with it.
    * RankMe and std, before and after: of features that collapse both fall.

    Args:
        before: N records.
        after: the same, in the same order.
        device: where features are compared.
    """
    assert before.ids == after.ids, "both are read in one pass over the records"
    metrics: dict[str, float] = {}
    for name, present_N in before.present.items():
        if present_N.sum() < FEWEST:
            continue
        sides = [torch.as_tensor(table.features[name][present_N]).to(device) for table in (before, after)]
        cosine_N = (l2_normalize(sides[0], device) * l2_normalize(sides[1], device)).sum(1)
        found = {"cosine distance": 1 - float(cosine_N.mean()), "CKA": float(losses.linear_cka(*sides))}
        for measure, of in (("RankMe", losses.effective_rank), ("std", losses.normalized_std)):
            found |= {f"{measure} {when}": float(of(x)) for when, x in zip(("before", "after"), sides, strict=True)}
        metrics |= {f"{name} {key}": value for key, value in found.items() if value == value}
    return metrics


@dataclass
class SetDrift:
    """What a training changed on one set of records.

    Args:
        name: the row of the table.
        counts: number of its train and of its test records.
        split: hash of their ids.
        of_seeds: the distances of each seed's features.
        tables: what its evaluators measured.
    """

    name: str
    counts: tuple[int, int]
    split: str
    of_seeds: list[dict[str, float]] = field(default_factory=list)
    tables: Mapping[str, ResultsTable] = field(default_factory=dict)

    @classmethod
    def of(cls, name: str, parts: tuple[FeatureTable, FeatureTable], of_seeds: list[dict[str, float]]) -> SetDrift:
        """Return that of the train and the test part of a set."""
        train, test = parts
        return cls(name, (len(train), len(test)), split_hash(train.ids, test.ids), of_seeds)

    def row(self) -> ResultsRow:
        """Return its row: what was lost by every metric that has a level of chance, and the distances."""
        metrics: dict[str, Metric] = {}
        for evaluator, table in self.tables.items():
            metrics |= _lost(evaluator.rpartition("/")[2], table)
        for key in dict.fromkeys(key for of_seed in self.of_seeds for key in of_seed):
            metrics[key] = Metric([[of_seed[key]] for of_seed in self.of_seeds if key in of_seed])
        return ResultsRow(self.name, metrics)


def _lost(evaluator: str, table: ResultsTable) -> dict[str, Metric]:
    """Return how much worse the metrics of a table became, seed by seed."""
    rows = {row.name: row.metrics for row in table.rows}
    before, after = rows.get(AS_IT_CAME, {}), rows.get(TRAINED, {})
    lost = {}
    for name in (name for name in table.shown if name in rows.get(CHANCE, {}) and name in before and name in after):
        sides = zip(before[name].scores, after[name].scores, strict=False)
        is_error = name.endswith("↓")
        scores = [[(x - y) * (-1 if is_error else 1) for x, y in zip(*folds, strict=False)] for folds in sides]
        lost[f"{evaluator} {name.removesuffix(' ↓')} {'rise' if is_error else 'drop'}"] = Metric(scores)
    return lost


def forgetting_table(sets: Sequence[SetDrift], moved: Mapping[str, Sequence[float]]) -> ResultsTable:
    """Return the table `forgetting`: a row for each set of records, what was lost on it and how far features moved.

    Args:
        sets: the run's own records first.
        moved: modality -> how far the weights of its encoder moved, of each seed.
    """
    own = sets[0]
    remarks = [
        "drop, rise: by how much the metric became worse from as it came to trained; below 0 it became better.",
        "cosine distance and CKA (linear, unbiased): of each record's features before and after; 0 and 1 if unchanged.",
    ]
    remarks += [f"{s.name}: split {s.split} ({s.counts[0]} train, {s.counts[1]} test)." for s in sets[1:]]
    remarks += [
        f"Weights of '{name}' moved by {100 * sum(of_seeds) / len(of_seeds):.2g} % of their norm."
        for name, of_seeds in moved.items()
    ]
    return ResultsTable(
        FORGETTING,
        [one.row() for one in sets],
        "the same records before and after the training",
        "nothing is selected",
        own.split,
        own.counts,
        remarks=remarks,
    )


def weights_moved(before: Model, after: Model) -> dict[str, float]:
    """Return modality -> the norm of the difference of an encoder's weights over the norm of what they were.

    Adapters count as what they add to weights.
    """
    moved, now = {}, merged_weights(after.learner.state_dict())
    for name, encoder in before.learner.encoders.items():
        change = norm = 0.0
        for key, weights in encoder.named_parameters():
            first = weights.detach().float()
            change += float((now[f"encoders.{name}.{key}"].float() - first).square().sum())
            norm += float(first.square().sum())
        moved[name] = (change / norm) ** 0.5 if norm else 0.0
    return moved
