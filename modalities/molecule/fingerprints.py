"""Baseline features of molecules: ECFP4 fingerprints and RDKit descriptors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from rdkit import Chem
from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator

from sensorium.modalities.molecule.descriptors import descriptors

BITS = 2048
_MORGAN = GetMorganGenerator(radius=2, fpSize=BITS)
Kind = Literal["ecfp4", "descriptors", "both"]


def ecfp4(mol: Chem.Mol) -> np.ndarray:
    """Return ECFP4, the Morgan fingerprint of radius 2, as uint8 bits (2048,) (Rogers and Hahn 2010)."""
    return _MORGAN.GetFingerprintAsNumPy(mol)


def fingerprint_features(mols: Sequence[Chem.Mol], kind: Kind) -> np.ndarray:
    """Return baseline features of sanitized molecules, float32 (B, D); a descriptor that is undefined is 0."""
    makers = {"ecfp4": [ecfp4], "descriptors": [descriptors], "both": [ecfp4, descriptors]}[kind]
    return np.nan_to_num(np.array([np.concatenate([make(mol) for make in makers]) for mol in mols], np.float32))
