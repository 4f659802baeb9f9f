"""Motifs: the parts that a molecule falls into when its BRICS bonds are cut (Degen et al. 2008). No ring is cut."""

from __future__ import annotations

import numpy as np
from rdkit import Chem


def motifs_of(mol: Chem.Mol) -> np.ndarray:
    """Return which motif each atom is in: int64 (N,), numbered from 0 in the order of their first atoms."""
    atoms = mol.GetNumAtoms()
    cut = Chem.FragmentOnBRICSBonds(mol)  # the atoms keep their numbers; what stands for a cut comes after them
    motifs_N = np.empty(atoms, np.int64)
    parts = sorted(min(part) for part in Chem.GetMolFrags(cut))
    number = {first: motif for motif, first in enumerate(parts)}
    for part in Chem.GetMolFrags(cut):
        motifs_N[[atom for atom in part if atom < atoms]] = number[min(part)]
    return motifs_N
