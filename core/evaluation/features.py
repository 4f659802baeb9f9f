"""Feature tables of records: embeddings, likelihoods, baseline features."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sensorium.contracts import FeatureTable, Modality
from sensorium.errors import SensoriumError
from sensorium.types import Batch, Record, RecordBatch


def feature_table(
    batches: Iterable[RecordBatch],
    embed: Callable[[str, Batch], Tensor],
    keys: Callable[[int], Record],
    modalities: Sequence[str],
) -> FeatureTable:
    """Embed an ordered pass over the records of one part.

    Args:
        batches: every record of the part once, on the device of `embed`.
        embed: `embed(modality, batch)` returns float (B, D) rows for a batch of B examples; it is called without
            gradient, and its modules must be in eval mode.
        keys: returns the record at a position of the source, for its labels and group; its values are not read.
        modalities: the names to embed; others of a batch are ignored.

    Raises:
        SensoriumError: when a feature is not finite, with the record's id.
    """
    ids: list[str] = []
    positions: list[np.ndarray] = []
    rows: dict[str, list[np.ndarray]] = {name: [] for name in modalities}
    masks: dict[str, list[np.ndarray]] = {name: [] for name in modalities}
    for records in batches:
        ids += records.ids
        positions.append(_positions(records))
        for name in modalities:
            mask_B = _mask(records, name)
            masks[name].append(mask_B)
            if mask_B.any():
                with torch.no_grad():
                    x_ND = embed(name, records.batches[name]).float().cpu().numpy()
                _check_finite(x_ND, name, [i for i, has in zip(records.ids, mask_B, strict=True) if has])
                rows[name].append(x_ND)
    positions_N = np.concatenate([np.zeros(0, np.int64), *positions])
    records_of = [keys(int(position)) for position in positions_N]
    present = {name: np.concatenate(parts) if parts else np.zeros(0, bool) for name, parts in masks.items()}
    return FeatureTable(
        ids,
        {name: _scatter(rows[name], present[name]) for name in modalities},
        present,
        label_columns(records_of),
        [group_name(record) for record in records_of],
        positions_N,
    )


def score_table(
    batches: Iterable[RecordBatch],
    score: Callable[[RecordBatch], dict[str, Tensor] | None],
    keys: Callable[[int], Record],
) -> FeatureTable:
    """Score an ordered pass over the records of one part.

    Args:
        batches: every record of the part once.
        score: returns the scores of each record of a batch by name, such as "nats", each (B,).
        keys: returns the record at a position of the source, for its labels and group.

    Raises:
        SensoriumError: when the objective gives no scores.
    """

    def as_modalities() -> Iterator[RecordBatch]:
        for records in batches:
            scores = score(records)
            if scores is None:
                raise SensoriumError(
                    "The objective of this run gives no likelihood of records, which the space 'scores' consists of: "
                    "remove this evaluator, or train an objective that predicts tokens."
                )
            names.update(dict.fromkeys(scores))
            columns = {name: _ScoreBatch(values[:, None].float()) for name, values in scores.items()}
            yield RecordBatch(records.ids, dict(columns), dict.fromkeys(columns), positions=records.positions)

    names: dict[str, None] = {}
    scored = list(as_modalities())
    return feature_table(scored, lambda name, batch: batch.values, keys, list(names))  # type: ignore[attr-defined]


@dataclass
class _ScoreBatch(Batch):
    """float32 (B, 1): one score of each record."""

    values: Tensor


def baseline_table(
    batches: Iterable[RecordBatch], modalities: Mapping[str, Modality], keys: Callable[[int], Record]
) -> FeatureTable | None:
    """Return the table of baseline features; None when no modality has any.

    Args:
        batches: every record of the part once.
        modalities: name -> modality; those without baseline features are absent from the table.
        keys: returns the record at a position of the source, for its labels and group.
    """
    lacking: set[str] = set()

    def embed(name: str, batch: Batch) -> Tensor:
        x_BD = modalities[name].baseline_features(batch)
        if x_BD is None:
            lacking.add(name)
            return torch.zeros(len(batch), 0)
        return torch.from_numpy(np.asarray(x_BD, np.float32))

    table = feature_table(batches, embed, keys, list(modalities))
    for name in lacking:
        del table.features[name], table.present[name]
    return table if table.features else None


def _positions(records: RecordBatch) -> np.ndarray:
    assert records.positions is not None, "the loader returns positions"
    return records.positions


def _mask(records: RecordBatch, name: str) -> np.ndarray:
    present = records.present.get(name, np.zeros(len(records), bool))
    return np.ones(len(records), bool) if present is None else present


def _check_finite(x_ND: np.ndarray, name: str, ids: list[str]) -> None:
    nonfinite_N = ~np.isfinite(x_ND).all(axis=1)
    if nonfinite_N.any():
        raise SensoriumError(
            f"The features of '{name}' are not finite for {nonfinite_N.sum()} of {len(ids)} records of a batch, the "
            f"first is '{ids[int(nonfinite_N.argmax())]}': the training has diverged."
        )


def _scatter(parts: list[np.ndarray], present_N: np.ndarray) -> np.ndarray:
    """Return rows at the indices of their records, nan elsewhere; width 0 when no record has the modality."""
    width = parts[0].shape[1] if parts else 0
    x_ND = np.full((len(present_N), width), np.nan, np.float32)
    if parts:
        x_ND[present_N] = np.concatenate(parts)
    return x_ND


def group_name(record: Record) -> str:
    """Return the group of a record; the prefix keeps an id from being the name of another record's group."""
    return f"record {record.id}" if record.group is None else f"group {record.group}"


def label_columns(records: Sequence[Record]) -> dict[str, np.ndarray]:
    """Return label name -> object array (N,), None where a record lacks the label."""
    names = dict.fromkeys(name for record in records for name in record.labels)
    columns = {}
    for name in names:
        columns[name] = np.empty(len(records), object)
        columns[name][:] = [_plain(record.labels.get(name)) for record in records]
    return columns


def _plain(value: object) -> object:
    return value.item() if isinstance(value, np.generic) else value
