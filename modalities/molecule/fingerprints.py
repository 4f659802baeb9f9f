"""Baseline features of molecules: ECFP4 fingerprints and RDKit descriptors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from rdkit import Chem
from rdkit.Chem import rdMolDescriptors as calc
from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator

BITS = 2048
DESCRIPTORS: dict[str, Callable[[Chem.Mol], float]] = {
    "mass": calc.CalcExactMolWt,
    "heavy atoms": Chem.Mol.GetNumHeavyAtoms,
    "hetero atoms": calc.CalcNumHeteroatoms,
    "charge": Chem.GetFormalCharge,
    "polar surface": calc.CalcTPSA,
    "surface": calc.CalcLabuteASA,
    "donors": calc.CalcNumHBD,
    "acceptors": calc.CalcNumHBA,
    "rotatable bonds": calc.CalcNumRotatableBonds,
    "amide bonds": calc.CalcNumAmideBonds,
    "sp3 carbons": calc.CalcFractionCSP3,
    "rings": calc.CalcNumRings,
    "aromatic rings": calc.CalcNumAromaticRings,
    "saturated rings": calc.CalcNumSaturatedRings,
    "heterocycles": calc.CalcNumHeterocycles,
    "spiro atoms": calc.CalcNumSpiroAtoms,
    "bridgeheads": calc.CalcNumBridgeheadAtoms,
    "chi0v": calc.CalcChi0v,
    "chi1v": calc.CalcChi1v,
    "kappa1": calc.CalcKappa1,
    "kappa2": calc.CalcKappa2,
    "kappa3": calc.CalcKappa3,
}
"""Scalar descriptors; Crippen logP and molar refractivity, and the SlogP_VSA and SMR_VSA bins, come after them."""
_MORGAN = GetMorganGenerator(radius=2, fpSize=BITS)
Kind = Literal["ecfp4", "descriptors", "both"]


def ecfp4(mol: Chem.Mol) -> np.ndarray:
    """Return ECFP4, the Morgan fingerprint of radius 2, as uint8 bits (2048,) (Rogers and Hahn 2010)."""
    return _MORGAN.GetFingerprintAsNumPy(mol)


def descriptors(mol: Chem.Mol) -> np.ndarray:
    """Return RDKit descriptors, float64 (46,); one that is undefined for the molecule is 0."""
    scalars = [float(describe(mol)) for describe in DESCRIPTORS.values()]
    crippen = calc.CalcCrippenDescriptors(mol)
    return np.nan_to_num([*scalars, *crippen, *calc.SlogP_VSA_(mol), *calc.SMR_VSA_(mol)], posinf=0.0, neginf=0.0)


def fingerprint_features(mols: Sequence[Chem.Mol], kind: Kind) -> np.ndarray:
    """Return baseline features of sanitized molecules, float32 (B, D)."""
    makers = {"ecfp4": [ecfp4], "descriptors": [descriptors], "both": [ecfp4, descriptors]}[kind]
    return np.array([np.concatenate([make(mol) for make in makers]) for mol in mols], np.float32)
