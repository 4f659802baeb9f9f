"""Approximate indices of FAISS: inverted lists (IVF) and graphs (HNSW), of float16 vectors; cosines are exact.

An index holds vectors as float16 and returns candidates, whose cosines are then computed in float32. On the CPU.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import faiss
import numpy as np
import torch
from torch import Tensor

from sensorium.data.memory import memory
from sensorium.errors import SensoriumError
from sensorium.neighbors.search import IndexOptions, NeighborIndex, recall

RECALL = 0.95
"""That an index is tuned to."""
BLOCK = 1024
"""Queries that are searched at once."""
ADDED = 2**16
"""Vectors that are added at once."""
COMPARED = 2**24
"""Numbers of candidates that are in memory at once, 64 MB."""


class FaissIndex(NeighborIndex):
    """An index of FAISS.

    Args:
        y_ND: L2-normalized float32 vectors.
        options: how it is searched.

    Raises:
        SensoriumError: when it does not fit into memory.
    """

    knob: str
    """What of it trades time for recall, by the name of its option."""

    def __init__(self, y_ND: Tensor, options: IndexOptions) -> None:
        super().__init__(y_ND)
        self.options, self.recall = options, float("nan")
        self.bytes = len(y_ND) * self.bytes_of_a_vector()
        free = memory().free
        if self.bytes > free:
            raise SensoriumError(
                f"The index of {len(y_ND):,} vectors takes {_gb(self.bytes)}, but {_gb(free)} of memory are free: take "
                "fewer records, or the index 'exact'."
            )
        self.index = self.build()

    @abstractmethod
    def bytes_of_a_vector(self) -> int:
        """Return the bytes that the index takes for a vector."""

    @abstractmethod
    def build(self) -> Any:
        """Return the index with all vectors."""

    @abstractmethod
    def set(self, effort: int) -> None:
        """Set the knob."""

    @property
    @abstractmethod
    def most(self) -> int:
        """The largest value of the knob."""

    def tune(self, x_QD: Tensor, k: int) -> None:
        """Set the knob to its option, or double it until the recall is reached, and measure the recall.

        Args:
            x_QD: queries.
            k: number of neighbors among which the recall is measured.
        """
        given = getattr(self.options, self.knob)
        self.effort = min(given or 8, self.most)
        self.k = min(k, len(self.y_ND))
        while True:
            self.set(self.effort)
            self.queries, self.recall = len(x_QD), recall(x_QD, self.y_ND, self.search(x_QD, self.k)[0])
            if given is not None or self.recall >= RECALL or self.effort == self.most:
                return
            self.effort = min(2 * self.effort, self.most)

    def search(self, x_QD, k):
        """Return what the index finds, with exact cosines, nearest first."""
        k = min(k, len(self.y_ND))
        found = [self._search(x_QD[block], k) for block in self._compared(len(x_QD), k)]
        if not found:
            return np.zeros((0, k), np.float32), np.zeros((0, k), np.int64)
        scores, rows = zip(*found, strict=True)
        return np.concatenate(scores), np.concatenate(rows)

    def _search(self, x_BD: Tensor, k: int) -> tuple[np.ndarray, np.ndarray]:
        rows_BK = torch.from_numpy(self.index.search(_numpy(x_BD), k)[1])
        is_none_BK = rows_BK < 0
        rows_BK = rows_BK.clamp_min(0)
        y_BKD = self.y_ND[rows_BK.to(self.y_ND.device)]
        s_BK = torch.einsum("bd,bkd->bk", x_BD, y_BKD).cpu().masked_fill(is_none_BK, -torch.inf)
        s_BK, order_BK = s_BK.sort(dim=1, descending=True, stable=True)
        return s_BK.numpy(), rows_BK.gather(1, order_BK).numpy()

    def _compared(self, queries: int, k: int) -> list[slice]:
        rows = max(1, COMPARED // (k * self.y_ND.shape[1]))
        return [slice(start, start + rows) for start in range(0, queries, rows)]

    def blocks(self, queries):
        """Return blocks of a number of queries."""
        return [slice(start, min(start + BLOCK, queries)) for start in range(0, queries, BLOCK)]

    def add(self, index: Any) -> None:
        """Add all vectors to an index, some at a time, so that no second copy of them is made."""
        for start in range(0, len(self.y_ND), ADDED):
            index.add(_numpy(self.y_ND[start : start + ADDED]))

    @property
    def description(self):
        """What it is, its memory and its recall."""
        return (
            f"{self.structure} over {len(self.y_ND):,} vectors ({_gb(self.bytes)}), {self.knob} {self.effort}: "
            f"recall@{self.k} {f'{self.recall:.3f}'.lstrip('0')} on {self.queries:,} queries"
        )

    @property
    @abstractmethod
    def structure(self) -> str:
        """What it consists of, in words."""


class IVFIndex(FaissIndex):
    """Inverted lists: vectors by the nearest of 4 sqrt(N) clusters (k-means), of which a query probes some.

    The same for a seed, whatever the number of threads that search.
    """

    knob = "nprobe"

    @property
    def lists(self) -> int:
        """The number of clusters."""
        return max(1, min(round(4 * len(self.y_ND) ** 0.5), len(self.y_ND)))

    def bytes_of_a_vector(self):
        """Return the bytes of float16 numbers and an id."""
        return 2 * self.y_ND.shape[1] + 8

    def build(self):
        """Cluster a sample of the vectors, and sort all of them into the clusters."""
        width = self.y_ND.shape[1]
        coarse = faiss.IndexFlatIP(width)
        half, metric = faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
        index = faiss.IndexIVFScalarQuantizer(coarse, width, self.lists, half, metric, False)
        index.cp.seed, index.cp.niter, index.cp.spherical = self.options.seed % 2**31, 10, True
        index.cp.min_points_per_centroid = 1
        rng = np.random.default_rng(self.options.seed)
        sample = np.sort(rng.choice(len(self.y_ND), min(len(self.y_ND), 64 * self.lists), replace=False))
        index.train(_numpy(self.y_ND[torch.from_numpy(sample)]))
        self.add(index)
        return index

    def set(self, effort):
        """Set how many lists are probed."""
        self.index.nprobe = effort

    @property
    def most(self):
        """All lists."""
        return self.lists

    @property
    def structure(self):
        """What it consists of."""
        return f"ivf of {self.lists:,} lists"


class HNSWIndex(FaissIndex):
    """A hierarchical navigable small world graph (Malkov and Yashunin 2018).

    It is built by one thread, so that it is the same each time; a million vectors take minutes.
    """

    knob = "ef_search"
    links, construction = 32, 80

    def bytes_of_a_vector(self):
        """Return the bytes of float16 numbers and of the links, twice as many on the lowest layer."""
        return 2 * self.y_ND.shape[1] + 4 * (2 * self.links + 2)

    def build(self):
        """Add one vector after the other."""
        half: Any = faiss.ScalarQuantizer.QT_fp16
        index: Any = faiss.IndexHNSWSQ(self.y_ND.shape[1], half, self.links, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = self.construction
        index.hnsw.rng = faiss.RandomGenerator(self.options.seed % 2**31)  # type: ignore[attr-defined]
        index.train(_numpy(self.y_ND[:1]))
        with _one_thread():
            self.add(index)
        return index

    def set(self, effort):
        """Set how many candidates are kept."""
        self.index.hnsw.efSearch = effort

    @property
    def most(self):
        """A graph that is searched so thoroughly is slower than matrix products."""
        return min(4096, len(self.y_ND))

    @property
    def structure(self):
        """What it consists of."""
        return f"hnsw of {self.links} links"


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(threads)


def _numpy(x_ND: Tensor) -> np.ndarray:
    return np.ascontiguousarray(x_ND.cpu().numpy(), dtype=np.float32)


def _gb(count: float) -> str:
    return f"{count / 1e9:.2g} GB" if count >= 1e8 else f"{count / 1e6:.2g} MB"
