"""The molecules that the wheel of rdkit brings along.

"nci" are the first 4,999 of the open database of the National Cancer Institute (https://cactus.nci.nih.gov), with polar
surface areas by P. Ertl's tpsa.c; "wehi" are 10,000 screening compounds of the Walter and Eliza Hall Institute, which
Saubern, Guha and Baell published with their PAINS filters (Mol. Inform. 30, 847, 2011). rdkit distributes both under
its BSD licence; whoever publishes figures names them.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from rdkit import RDConfig

from sensorium import Record, Source

FILES = {"nci": "NCI/first_5k.tpsa.csv", "wehi": "Pains/test_data/wehi_mols.csv"}


class RdkitSamples(Source):
    """Molecules of rdkit's own data: 4,999 with the label "tpsa" (polar surface area in square ångström), or 10,000.

    Args:
        dataset: "nci" or "wehi".
        field: the name under which records carry their SMILES.
    """

    def __init__(self, dataset: Literal["nci", "wehi"] = "nci", field: str = "molecule") -> None:
        self._field = field
        self._records = list(_records(dataset, field))

    @property
    def fields(self) -> tuple[str, ...]:
        """The molecule."""
        return (self._field,)

    def __len__(self) -> int:
        return len(self._records)

    def key(self, index: int) -> Record:
        """Return the record at `index` without its SMILES."""
        record = self._records[index]
        return Record(record.id, {}, record.labels)

    def __getitem__(self, index: int) -> Record:
        return self._records[index]


def _records(dataset: str, field: str) -> Iterator[Record]:
    with Path(RDConfig.RDDataDir, FILES[dataset]).open(encoding="utf-8", newline="") as file:
        rows = csv.reader(line for line in file if not line.startswith("#"))
        for number, (smiles, other) in enumerate(rows, start=1):
            if dataset == "nci":
                yield Record(f"NCI-{number}", {field: smiles}, {"tpsa": float(other)})
            else:
                yield Record(other, {field: smiles})
