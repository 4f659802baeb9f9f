"""The molecule modality."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from PIL import Image
from rdkit import Chem

from sensorium import BadSample, Modality
from sensorium.errors import DataError
from sensorium.modalities.molecule.draw import draw
from sensorium.modalities.molecule.features import featurise, rebuild
from sensorium.modalities.molecule.fingerprints import Kind, handmade
from sensorium.modalities.molecule.motifs import motifs_of
from sensorium.modalities.molecule.parse import Fragments, InParts, parse


class MoleculeModality(Modality):
    """Molecules as graphs of atoms and bonds.

    A raw value is a SMILES, a mol block or an rdkit molecule; hydrogens that need not be told are folded into their
    atoms, there are no conformers. An atom has ten features: element, degree, charge, hydrogens, hybridisation, whether
    aromatic and in a ring, stereo centre (R or S), unpaired electrons and isotope. A bond has four: type, stereo (E or
    Z), whether conjugated and in a ring. Each is a small integer; `sensorium.modalities.molecule.features` has the
    tables and their sizes. Salts, metals, isotopes and radicals are molecules like others.

    Args:
        invalid: what becomes of a value that is no molecule: "skip" leaves it out, counted and named in the run's
            bad-records.jsonl; "error" stops.
        fragments: what becomes of a molecule of several unconnected parts: "keep" takes it whole, "largest" its part of
            most heavy atoms, "skip" leaves it out, "error" stops.
        motifs: find the BRICS motif of each atom too, which views that keep or count motifs need; it doubles the work.
        handmade: the hand-made features of tables: "ecfp4" (2,048 bits), "descriptors" (46 of rdkit's) or "both".
    """

    def __init__(
        self,
        invalid: Literal["skip", "error"] = "skip",
        fragments: Fragments = "keep",
        motifs: bool = False,
        handmade: Kind = "ecfp4",
    ) -> None:
        self.invalid, self.fragments, self.motifs, self.kind = invalid, fragments, motifs, handmade

    def _mol(self, raw: Any) -> Chem.Mol:
        try:
            return parse(raw, self.fragments)
        except BadSample as error:
            option = "fragments" if isinstance(error, InParts) else "invalid"
            if getattr(self, option) == "error":
                raise DataError(
                    f"The molecule {str(raw)[:80]!r} is refused, {error}: mend it, or set the modality's {option} to skip."
                ) from error
            raise
