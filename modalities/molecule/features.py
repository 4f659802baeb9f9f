"""The feature tables of atoms and bonds: what each column holds, and how many values it can take.

Every column is a small integer, an index into an embedding. Values beyond a table's end are its last or first value.
The tables say enough to build the molecule again (`rebuild`), all but the order of neighbors around a stereo center.

Letters: N atoms, E bonds (each once), F and G columns of atoms and bonds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from rdkit import Chem
from rdkit.Chem import BondStereo, BondType, HybridizationType

from sensorium.modalities.molecule.motifs import motifs_of

CHARGE, ISOTOPE = 8, 16
"""Charges from -8 to 8 are told apart; isotopes by how many nucleons they have beyond the commonest, -15 to 15."""
HYBRIDIZATIONS = (
    HybridizationType.S,
    HybridizationType.SP,
    HybridizationType.SP2,
    HybridizationType.SP3,
    HybridizationType.SP2D,
    HybridizationType.SP3D,
    HybridizationType.SP3D2,
)
CENTERS = ("R", "S")
BONDS = (BondType.SINGLE, BondType.DOUBLE, BondType.TRIPLE, BondType.AROMATIC, BondType.DATIVE, BondType.QUADRUPLE)
STEREOS = (BondStereo.STEREOE, BondStereo.STEREOZ, BondStereo.STEREOANY)

ATOM_SIZES = {
    "element": 119,  # atomic number; 0 is the dummy atom "*"
    "degree": 12,  # neighbors, hydrogens aside
    "charge": 2 * CHARGE + 1,  # formal charge, 8 stands for 0
    "hydrogens": 9,  # implicit and explicit ones together
    "hybridization": len(HYBRIDIZATIONS) + 1,  # 0 is any other
    "aromatic": 2,
    "ring": 2,
    "center": len(CENTERS) + 1,  # 0 none or unknown, 1 R, 2 S (Cahn-Ingold-Prelog)
    "radicals": 5,  # unpaired electrons
    "isotope": 2 * ISOTOPE,  # 0 unlabeled, else nucleons beyond the commonest isotope, 16 for none
}
"""Columns of an atom's features, and how many values each can take."""
BOND_SIZES = {
    "type": len(BONDS) + 1,  # 0 is any other, then single, double, triple, aromatic, dative, quadruple
    "stereo": len(STEREOS) + 1,  # 0 none, 1 E, 2 Z, 3 said to be unknown
    "conjugated": 2,
    "ring": 2,
}
"""Columns of a bond's features, and how many values each can take."""
MOTIFS = "between motifs"
"""The fifth column of bonds, of two values, where motifs are asked for: whether BRICS would cut the bond."""

_TABLE = Chem.GetPeriodicTable()
_COMMONEST = [0, *(_TABLE.GetMostCommonIsotope(number) for number in range(1, ATOM_SIZES["element"]))]
_DUMMY = np.array([CHARGE if name == "charge" else 0 for name in ATOM_SIZES])
_HYBRIDIZATION = {kind: number for number, kind in enumerate(HYBRIDIZATIONS, start=1)}
_CENTER = {name: number for number, name in enumerate(CENTERS, start=1)}
_BOND = {kind: number for number, kind in enumerate(BONDS, start=1)}
_STEREO = {kind: number for number, kind in enumerate(STEREOS, start=1)}


@dataclass(frozen=True)
class MoleculeFeatures:
    """The features of one molecule.

    Args:
        atoms: int64 (N, F), columns as in `ATOM_SIZES`.
        ends: int64 (E, 2), the two atoms of each bond.
        bonds: int64 (E, G), columns as in `BOND_SIZES`, and `MOTIFS` where it is asked for.
    """

    atoms: np.ndarray
    ends: np.ndarray
    bonds: np.ndarray


def featurize(mol: Chem.Mol, motifs: bool = False) -> MoleculeFeatures:
    """Return the features of a sanitised molecule of at least one atom, with or without the column `MOTIFS`."""
    # By number: rdkit's own sequences of atoms and bonds cost as much again as what is read of them.
    atoms = np.array([_atom(mol.GetAtomWithIdx(i)) for i in range(mol.GetNumAtoms())], np.int64)
    bonds = [_bond(mol.GetBondWithIdx(i)) for i in range(mol.GetNumBonds())]
    rows = np.array(bonds, np.int64).reshape(len(bonds), 2 + len(BOND_SIZES))
    if motifs:
        ends_2E = motifs_of(mol)[rows[:, :2]].T
        rows = np.column_stack([rows, ends_2E[0] != ends_2E[1]])
    return MoleculeFeatures(atoms, rows[:, :2], rows[:, 2:])


def _atom(atom: Chem.Atom) -> tuple[int, ...]:
    number, isotope = atom.GetAtomicNum(), atom.GetIsotope()
    center = atom.GetProp("_CIPCode") if atom.HasProp("_CIPCode") else ""
    return (
        number,
        min(atom.GetDegree(), ATOM_SIZES["degree"] - 1),
        _within(atom.GetFormalCharge(), CHARGE) + CHARGE,
        min(atom.GetTotalNumHs(), ATOM_SIZES["hydrogens"] - 1),
        _HYBRIDIZATION.get(atom.GetHybridization(), 0),
        int(atom.GetIsAromatic()),
        int(atom.IsInRing()),
        _CENTER.get(center, 0),
        min(atom.GetNumRadicalElectrons(), ATOM_SIZES["radicals"] - 1),
        _within(isotope - _COMMONEST[number], ISOTOPE - 1) + ISOTOPE if isotope else 0,
    )


def _bond(bond: Chem.Bond) -> tuple[int, ...]:
    return (
        bond.GetBeginAtomIdx(),
        bond.GetEndAtomIdx(),
        _BOND.get(bond.GetBondType(), 0),
        _STEREO.get(bond.GetStereo(), 0),
        int(bond.GetIsConjugated()),
        int(bond.IsInRing()),
    )


def _within(value: int, most: int) -> int:
    return max(-most, min(most, value))


def rebuild(features: MoleculeFeatures) -> Chem.Mol:
    """Return the molecule that features describe, without stereo; not sanitised, so that any subgraph is one.

    Hydrogens, charges, isotopes and radicals are as told, so a whole molecule has the fingerprint and the canonical
    SMILES (stereo aside) of the one that was featurized. A feature that a view has hidden is as in a dummy atom.
    """
    mol = Chem.RWMol()
    hidden_NF = features.atoms >= np.array(list(ATOM_SIZES.values()))
    columns = dict(zip(ATOM_SIZES, np.where(hidden_NF, _DUMMY, features.atoms).T.tolist(), strict=True))
    for number, charge, hydrogens, aromatic, radicals, isotope in zip(
        *(columns[name] for name in ("element", "charge", "hydrogens", "aromatic", "radicals", "isotope")), strict=True
    ):
        atom = Chem.Atom(number)
        atom.SetFormalCharge(charge - CHARGE)
        atom.SetNumExplicitHs(hydrogens)
        atom.SetNoImplicit(True)
        atom.SetIsAromatic(bool(aromatic))
        atom.SetNumRadicalElectrons(radicals)
        if isotope:
            atom.SetIsotope(_COMMONEST[number] + isotope - ISOTOPE)
        mol.AddAtom(atom)
    for (begin, end), row in zip(features.ends.tolist(), features.bonds.tolist(), strict=True):
        kind = BONDS[row[0] - 1] if 0 < row[0] <= len(BONDS) else BondType.UNSPECIFIED
        mol.AddBond(begin, end, kind)
        mol.GetBondBetweenAtoms(begin, end).SetIsAromatic(kind == BondType.AROMATIC)
    made = mol.GetMol()
    made.UpdatePropertyCache(strict=False)
    Chem.FastFindRings(made)
    return made
