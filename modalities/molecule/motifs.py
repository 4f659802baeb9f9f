"""BRICS motifs: the fragments of a molecule after its BRICS bonds are cut (Degen et al. 2008). No ring is cut."""

from __future__ import annotations

import numpy as np
from rdkit import Chem


def brics_motifs(mol: Chem.Mol) -> np.ndarray:
    """Return the motif of each atom, int64 (N,), numbered from 0 in the order of their first atoms."""
    atoms = mol.GetNumAtoms()
    cut = Chem.FragmentOnBRICSBonds(mol)  # atoms keep their indices; dummy atoms come after them
    motifs_N = np.empty(atoms, np.int64)
    fragments = Chem.GetMolFrags(cut)
    for motif, fragment in enumerate(sorted(fragments, key=min)):
        motifs_N[[atom for atom in fragment if atom < atoms]] = motif
    return motifs_N
