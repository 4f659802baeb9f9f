"""The molecules bundled with RDKit.

"nci" is the first 4,999 molecules of the open database of the National Cancer Institute (https://cactus.nci.nih.gov),
with polar surface areas by P. Ertl's tpsa.c; "wehi" is 10,000 screening compounds of the Walter and Eliza Hall
Institute, published by Saubern, Guha and Baell with their PAINS filters (Mol. Inform. 30, 847, 2011). RDKit distributes
both under its BSD license; cite them where you publish results.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pyarrow as pa
from rdkit import RDConfig
from rdkit.Chem.QED import qed

from sensorium import BadSample, OpenedAgain, Record, RecordColumns
from sensorium.modalities.molecule.parse import parse

FILES = {"nci": "NCI/first_5k.tpsa.csv", "wehi": "Pains/test_data/wehi_mols.csv"}


class RdkitSamples(OpenedAgain):
    """Molecules bundled with RDKit: 4,999 of the NCI, or 10,000 of the WEHI.

    Args:
        dataset: "nci" or "wehi".
        field: field name of the SMILES in the records.
        label: "tpsa", the topological polar surface area in square ångström (NCI only); or "qed", the quantitative
            estimate of drug-likeness, 0 to 1 (Bickerton et al. 2012), which RDKit computes in about a millisecond per
            molecule when the source is built. Invalid molecules have none.
    """

    license = "BSD, as RDKit distributes them"
    attribution = (
        "NCI: Open NCI Database, https://cactus.nci.nih.gov. WEHI: S. Saubern, R. Guha, J. B. Baell, Mol. Inform. 30, "
        "847, 2011."
    )

    def __init__(
        self, dataset: Literal["nci", "wehi"] = "nci", field: str = "molecule", label: Literal["tpsa", "qed"] = "tpsa"
    ) -> None:
        self._field = field
        records = list(_records(dataset, field, label))
        self._columns = RecordColumns.of_keys(records)
        self._smiles = pa.array([record.values[field] for record in records], pa.string())

    @property
    def fields(self) -> tuple[str, ...]:
        """The field name of the molecule."""
        return (self._field,)

    def __len__(self) -> int:
        return len(self._columns)

    def columns(self) -> RecordColumns:
        """Return ids and labels of all molecules."""
        return self._columns

    def __getitem__(self, index: int) -> Record:
        key = self.key(index)
        return replace(key, values={self._field: self._smiles[range(len(self))[index]].as_py()})


def _records(dataset: str, field: str, label: str) -> Iterator[Record]:
    with Path(RDConfig.RDDataDir, FILES[dataset]).open(encoding="utf-8", newline="") as file:
        rows = csv.reader(line for line in file if not line.startswith("#"))
        for number, (smiles, other) in enumerate(rows, start=1):
            labels = _qed_label(smiles) if label == "qed" else {"tpsa": float(other)} if dataset == "nci" else {}
            yield Record(f"NCI-{number}" if dataset == "nci" else other, {field: smiles}, labels)


def _qed_label(smiles: str) -> dict[str, float]:
    """Return the label "qed" of a molecule; empty for an invalid one."""
    try:
        return {"qed": float(qed(parse(smiles)))}
    except BadSample:
        return {}
