"""Queries of several modalities at once: their embeddings combined to one, as a modality of its own.

Letters: N records, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from typing import Literal

import numpy as np

from sensorium.errors import SensoriumError
from sensorium.evaluation.labels import choose_column
from sensorium.feature_table import FeatureTable

Combination = Literal["mean", "product"]
"""How the unit embeddings of several modalities become one: their mean, or their elementwise product."""


def joint_name(modalities: Sequence[str]) -> str:
    """Return the name of several modalities together, such as "image+text"."""
    return "+".join(modalities)


def with_joint_query(table: FeatureTable, modalities: Sequence[str], combine: Combination) -> FeatureTable:
    """Return the table with the combined embeddings of records that have all of some modalities.

    Of a record with several values of a modality the first one counts.

    Args:
        table: N records.
        modalities: two or more of its modalities.
        combine: see `Combination`.

    Raises:
        SensoriumError: for an unknown modality, and for embeddings of different widths.
    """
    for name in modalities:
        choose_column("modality", name, list(table.features))
    if len({table.features[name].shape[1] for name in modalities}) > 1:
        widths = ", ".join(f"'{name}' (width {table.features[name].shape[1]})" for name in modalities)
        raise SensoriumError(f"{widths} have no joint embedding space: train them together by a cross-modal objective.")
    units = [_unit(table.features[name]) for name in modalities]
    joint_ND = reduce(np.add if combine == "mean" else np.multiply, units)
    present_N = np.logical_and.reduce([table.present[name] for name in modalities])
    name = joint_name(modalities)
    return replace(
        table,
        features=table.features | {name: joint_ND.astype(np.float32)},
        present=table.present | {name: present_N},
    )


def _unit(x_ND: np.ndarray) -> np.ndarray:
    """Return rows of norm one, in double precision; zero and nan stay."""
    x_ND = x_ND.astype(np.float64)
    norms_N1 = np.linalg.norm(x_ND, axis=1, keepdims=True)
    return x_ND / np.where(norms_N1 > 0, norms_N1, 1.0)
