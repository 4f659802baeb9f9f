"""Atom and bond features: the categorical features of a molecular graph and their numbers of categories.

Values outside a feature's range are clipped. The features determine the molecule (`to_mol`), except for the order of
neighbors around a stereocenter.

Letters: N atoms, E bonds (each once), F atom features, G bond features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from rdkit import Chem
from rdkit.Chem import BondStereo, BondType, HybridizationType

from sensorium.modalities.molecule.motifs import brics_motifs

CHARGE, ISOTOPE = 8, 16
"""Formal charges are clipped to -8 to 8, isotopes to -15 to 15 nucleons more than the most common isotope."""
HYBRIDIZATIONS = (
    HybridizationType.S,
    HybridizationType.SP,
    HybridizationType.SP2,
    HybridizationType.SP3,
    HybridizationType.SP2D,
    HybridizationType.SP3D,
    HybridizationType.SP3D2,
)
CHIRALITIES = ("R", "S")
BONDS = (BondType.SINGLE, BondType.DOUBLE, BondType.TRIPLE, BondType.AROMATIC, BondType.DATIVE, BondType.QUADRUPLE)
STEREOS = (BondStereo.STEREOE, BondStereo.STEREOZ, BondStereo.STEREOANY)

ATOM_SIZES = {
    "element": 119,  # atomic number; 0 is the dummy atom "*"
    "degree": 12,  # number of neighbors without hydrogens
    "charge": 2 * CHARGE + 1,  # formal charge, category 8 is 0
    "hydrogens": 9,  # implicit and explicit
    "hybridization": len(HYBRIDIZATIONS) + 1,  # 0 is any other
    "aromatic": 2,
    "ring": 2,
    "chirality": len(CHIRALITIES) + 1,  # 0 none or unknown, 1 R, 2 S (Cahn-Ingold-Prelog)
    "radicals": 5,  # unpaired electrons
    "isotope": 2 * ISOTOPE,  # 0 unspecified, else nucleons more than the most common isotope, 16 is none
}
"""Atom features and their numbers of categories."""
BOND_SIZES = {
    "type": len(BONDS) + 1,  # 0 is any other, then single, double, triple, aromatic, dative, quadruple
    "stereo": len(STEREOS) + 1,  # 0 none, 1 E, 2 Z, 3 any
    "conjugated": 2,
    "ring": 2,
}
"""Bond features and their numbers of categories."""
_TABLE = Chem.GetPeriodicTable()
_MOST_COMMON = [0, *(_TABLE.GetMostCommonIsotope(number) for number in range(1, ATOM_SIZES["element"]))]
DUMMY = np.array([CHARGE if name == "charge" else 0 for name in ATOM_SIZES])
_HYBRIDIZATION = {kind: number for number, kind in enumerate(HYBRIDIZATIONS, start=1)}
_CHIRALITY = {name: number for number, name in enumerate(CHIRALITIES, start=1)}
_BOND = {kind: number for number, kind in enumerate(BONDS, start=1)}
_STEREO = {kind: number for number, kind in enumerate(STEREOS, start=1)}


@dataclass(frozen=True)
class MoleculeFeatures:
    """The atom and bond features of one molecule.

    Args:
        atoms: int64 (N, F), as in `ATOM_SIZES`.
        ends: int64 (E, 2), begin and end atom of each bond.
        bonds: int64 (E, G), as in `BOND_SIZES`; with motifs, whether it is a BRICS bond is one more.
    """

    atoms: np.ndarray
    ends: np.ndarray
    bonds: np.ndarray


def featurize(mol: Chem.Mol, motifs: bool = False) -> MoleculeFeatures:
    """Return the features of a sanitized molecule of at least one atom; `motifs` marks its BRICS bonds."""
    # By index: iterating over GetAtoms() and GetBonds() takes as long again as reading the features.
    atoms = np.array([_atom(mol.GetAtomWithIdx(i)) for i in range(mol.GetNumAtoms())], np.int64)
    bonds = [_bond(mol.GetBondWithIdx(i)) for i in range(mol.GetNumBonds())]
    rows = np.array(bonds, np.int64).reshape(len(bonds), 2 + len(BOND_SIZES))
    if motifs:
        ends_2E = brics_motifs(mol)[rows[:, :2]].T
        rows = np.column_stack([rows, ends_2E[0] != ends_2E[1]])
    return MoleculeFeatures(atoms, rows[:, :2], rows[:, 2:])


def _atom(atom: Chem.Atom) -> tuple[int, ...]:
    number, isotope = atom.GetAtomicNum(), atom.GetIsotope()
    chirality = atom.GetProp("_CIPCode") if atom.HasProp("_CIPCode") else ""
    return (
        number,
        min(atom.GetDegree(), ATOM_SIZES["degree"] - 1),
        _within(atom.GetFormalCharge(), CHARGE) + CHARGE,
        min(atom.GetTotalNumHs(), ATOM_SIZES["hydrogens"] - 1),
        _HYBRIDIZATION.get(atom.GetHybridization(), 0),
        int(atom.GetIsAromatic()),
        int(atom.IsInRing()),
        _CHIRALITY.get(chirality, 0),
        min(atom.GetNumRadicalElectrons(), ATOM_SIZES["radicals"] - 1),
        _within(isotope - _MOST_COMMON[number], ISOTOPE - 1) + ISOTOPE if isotope else 0,
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


def to_mol(features: MoleculeFeatures) -> Chem.Mol:
    """Return the molecule of some features, without stereochemistry and not sanitized, so that any subgraph is valid.

    Hydrogens, charges, isotopes and radicals are set explicitly, so a whole molecule has the fingerprint and the
    canonical SMILES (without stereochemistry) of the original. A masked feature is that of a dummy atom.
    """
    mol = Chem.RWMol()
    masked_NF = features.atoms >= np.array(list(ATOM_SIZES.values()))
    columns = dict(zip(ATOM_SIZES, np.where(masked_NF, DUMMY, features.atoms).T.tolist(), strict=True))
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
            atom.SetIsotope(_MOST_COMMON[number] + isotope - ISOTOPE)
        mol.AddAtom(atom)
    for (begin, end), row in zip(features.ends.tolist(), features.bonds.tolist(), strict=True):
        kind = BONDS[row[0] - 1] if 0 < row[0] <= len(BONDS) else BondType.UNSPECIFIED
        mol.AddBond(begin, end, kind)
        mol.GetBondBetweenAtoms(begin, end).SetIsAromatic(kind == BondType.AROMATIC)
    built = mol.GetMol()
    built.UpdatePropertyCache(strict=False)
    Chem.FastFindRings(built)
    return built
