"""What curation compares: records with a vector each.

Letters: N records of a source, M of them that are compared, D numbers of a vector.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from sensorium.contracts import RecordColumns
from sensorium.contracts.record_columns import Column
from sensorium.data.splits import PARTS
from sensorium.errors import DataError
from sensorium.evaluation.previews import Previews

TOLD = 19
"""Characters of an id in a caption."""


@dataclass
class ComparedRecords:
    """Records and the vectors by which they are compared.

    Args:
        columns: ids, labels and groups of N records.
        part_N: the number of each record's part in `PARTS`, int8, -1 where it is in none.
        at_M: which of the N records are compared, int64, ascending.
        x_MD: their vectors, L2-normalized, float32.
        modality: the modality that is compared.
        compared_by: what the vectors are, in words.
        previews: draws records; None where there are only vectors.
    """

    columns: RecordColumns
    part_N: np.ndarray
    at_M: np.ndarray
    x_MD: Tensor
    modality: str
    compared_by: str
    previews: Previews | None = None

    def __post_init__(self) -> None:
        if len(self.at_M) < 2:
            raise DataError(f"{len(self.at_M)} records have '{self.modality}': there is nothing to compare.")

    def __len__(self) -> int:
        return len(self.at_M)

    @cached_property
    def group_M(self) -> np.ndarray:
        """A number for each compared record, int64, equal for records of one group."""
        return self.columns.group_numbers()[self.at_M]

    @property
    def part_M(self) -> np.ndarray:
        """The number of each compared record's part, int8."""
        return self.part_N[self.at_M]

    @property
    def mean_D(self) -> Tensor:
        """The mean of all vectors."""
        return self.x_MD.mean(dim=0)

    def vectors(self, rows: np.ndarray) -> Tensor:
        """Return the vectors at rows, int64 (m,)."""
        return self.x_MD[torch.from_numpy(rows).to(self.x_MD.device)]

    def label(self, name: str) -> Column:
        """Return a label of each compared record (M,), null where it has none."""
        return self.columns.labels[name].take(pa.array(self.at_M))

    def id(self, row: int) -> str:
        """Return the id of the compared record at a row of `x_MD`."""
        return self.columns.ids_at(self.at_M[row : row + 1])[0]

    def told(self, row: int) -> str:
        """Return the part and the id of the compared record at a row, the end of a long one, for a caption."""
        part, id = int(self.part_N[self.at_M[row]]), self.id(row)
        id = id if len(id) <= TOLD else f"…{id[1 - TOLD :]}"
        return f"{PARTS[part]} {id}" if part >= 0 else id


def described(x_MD: np.ndarray) -> np.ndarray:
    """Return baseline features as vectors to compare records by: float32 (M, D).

    The mean of each record's numbers is taken off, so that brightness or gain count less, and each number is divided by
    its deviation over the records, since they may have units of their own. A deviation below the median is taken for
    the median: what is rare would decide everything else. Numbers that are the same in all records are 0, so that the
    many bits that no molecule has do not make all alike; where all are, so that every record is the same, they are 1.

    Args:
        x_MD: baseline features of M records.
    """
    varies_D = x_MD.max(axis=0, initial=-np.inf) > x_MD.min(axis=0, initial=np.inf)
    if not varies_D.any():
        return np.ones(x_MD.shape, np.float32)
    x_MD = x_MD - x_MD.mean(axis=1, keepdims=True)
    std_D = x_MD.std(axis=0, dtype=np.float64)
    return (x_MD / np.maximum(std_D, np.median(std_D[varies_D])) * varies_D).astype(np.float32)
