"""Which index searches: exact for few, one of FAISS for many, whose recall is measured and said."""

from __future__ import annotations

import logging
from importlib.util import find_spec

import numpy as np
import torch
from torch import Tensor

from sensorium.errors import SensoriumError
from sensorium.neighbors.search import ExactIndex, IndexOptions, NeighborIndex

log = logging.getLogger("sensorium")
SMALL = 200_000
"""Vectors up to which "auto" is exact."""
QUICK = {"cpu": 1e13, "cuda": 1e16}
"""Multiplications of an exact search, a few minutes of it, up to which "auto" is exact."""
SPEED = {"cpu": 2e10, "cuda": 2e13}
"""Multiplications per second, of a core or a GPU, by which the time of an exact search is told."""
SAMPLE = 1000
"""Queries that measure the recall."""


def make_index(y_ND: Tensor, x_QD: Tensor, k: int, options: IndexOptions) -> NeighborIndex:
    """Return an index of N vectors, tuned to the queries that will be asked; one that is approximate is logged.

    Args:
        y_ND: L2-normalized float32 vectors.
        x_QD: L2-normalized float32 queries; a sample of them measures the recall.
        k: number of neighbors that will be asked for: a recall among fewer says little of the further ones.
        options: which index.

    Raises:
        SensoriumError: when FAISS is asked for, or needed so that the search does not take hours, and not installed;
            when the index does not fit into memory.
    """
    kind = options.kind if options.kind != "auto" else _kind_for(len(x_QD), len(y_ND), y_ND.shape[1], y_ND.device.type)
    if kind == "exact":
        return ExactIndex(y_ND)
    if find_spec("faiss") is None:
        raise SensoriumError(
            f"The index '{kind}' needs FAISS: run pip install 'sensorium[search]', or take the index 'exact'."
        )
    from sensorium.neighbors.faiss_index import HNSWIndex, IVFIndex  # the library is optional

    made = IVFIndex(y_ND, options) if kind == "ivf" else HNSWIndex(y_ND, options)
    made.tune(x_QD[_sample(len(x_QD), options.seed)], k)
    log.info("neighbors: %s", made.description)
    return made


def _kind_for(queries: int, vectors: int, width: int, device: str) -> str:
    """Return the index that "auto" is.

    Raises:
        SensoriumError: when it would be FAISS's, which is not installed.
    """
    work, device = float(queries) * vectors * width, device if device in QUICK else "cpu"
    if vectors <= SMALL or work <= QUICK[device]:
        return "exact"
    if find_spec("faiss") is not None:
        return "ivf"
    hours = work / (SPEED[device] * (torch.get_num_threads() if device == "cpu" else 1)) / 3600
    raise SensoriumError(
        f"To compare {queries:,} queries with {vectors:,} vectors exactly takes about {hours:.1g} hours: run pip "
        "install 'sensorium[search]' for an approximate index, or ask for the index 'exact'."
    )


def _sample(count: int, seed: int) -> Tensor:
    """Return at most `SAMPLE` of so many positions, ascending."""
    rng = np.random.default_rng(seed)
    return torch.from_numpy(np.sort(rng.choice(count, min(count, SAMPLE), replace=False)))
