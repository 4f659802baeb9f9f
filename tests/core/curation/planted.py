"""Records with vectors in which duplicates, outliers and clusters are planted."""

import numpy as np
import pyarrow as pa

from sensorium.contracts import RecordColumns
from sensorium.curation.records import ComparedRecords
from sensorium.data.splits import PARTS
from sensorium.neighbors.similarity import l2_normalize


def records(x_MD, parts=None, groups=None, labels=None):
    """Return records with these vectors; the part of each, "train" by default, its group and its class."""
    x_MD = np.asarray(x_MD, np.float32)
    parts = ["train"] * len(x_MD) if parts is None else parts
    columns = RecordColumns(
        len(x_MD),
        pa.array([f"r{row}" for row in range(len(x_MD))]),
        {} if labels is None else {"class": pa.array(labels)},
        groups=None if groups is None else pa.array(groups, pa.string()),
    )
    part_N = np.array([PARTS.index(part) for part in parts], np.int8)
    return ComparedRecords(columns, part_N, np.arange(len(x_MD)), l2_normalize(x_MD, "cpu"), "a", "vectors")


def blobs(count=200, width=16, centres=4, spread=0.3, seed=0):
    """Return vectors around some centres, and the centre of each."""
    rng = np.random.default_rng(seed)
    middle_KD = 2 * rng.standard_normal((centres, width))
    of_N = np.arange(count) % centres
    return middle_KD[of_N] + spread * rng.standard_normal((count, width)), of_N
