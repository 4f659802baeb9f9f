"""Atom and bond features, and the round trip from features to the molecule."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem

from sensorium.modalities.molecule.features import ATOM_SIZES, BOND_SIZES, featurize, to_mol
from sensorium.modalities.molecule.fingerprints import ecfp4
from sensorium.modalities.molecule.parse import parse
from sensorium.modalities.molecule.sources.samples import RdkitSamples

from .molecules import ODD, mol


def atom(smiles, index, column):
    return int(featurize(mol(smiles)).atoms[index, list(ATOM_SIZES).index(column)])


def bond(smiles, index, column):
    return int(featurize(mol(smiles)).bonds[index, list(BOND_SIZES).index(column)])


@pytest.mark.parametrize(
    ("smiles", "index", "column", "value"),
    [
        ("CO", 1, "element", 8),
        ("*C", 0, "element", 0),
        ("CC(C)C", 1, "degree", 3),
        ("C[NH3+]", 1, "charge", 9),
        ("C[O-]", 1, "charge", 7),
        ("CC", 0, "hydrogens", 3),
        ("[2H]C", 1, "hydrogens", 3),
        ("C#C", 0, "hybridization", 2),
        ("c1ccccc1", 0, "aromatic", 1),
        ("C1CC1C", 3, "ring", 0),
        ("C1CC1C", 0, "ring", 1),
        ("C[C@H](N)C(=O)O", 1, "chirality", 2),
        ("C[C@@H](N)C(=O)O", 1, "chirality", 1),
        ("CC(N)C(=O)O", 1, "chirality", 0),
        ("C[CH2]", 1, "radicals", 1),
        ("[2H]C", 0, "isotope", 17),
        ("[14CH4]", 0, "isotope", 18),
        ("[12CH4]", 0, "isotope", 16),
        ("C", 0, "isotope", 0),
    ],
)
def test_an_atom_feature(smiles, index, column, value):
    assert atom(smiles, index, column) == value


@pytest.mark.parametrize(
    ("smiles", "index", "column", "value"),
    [
        ("CC", 0, "type", 1),
        ("C=C", 0, "type", 2),
        ("C#C", 0, "type", 3),
        ("c1ccccc1", 0, "type", 4),
        ("[NH3]->[Cu+2]", 0, "type", 5),
        ("C/C=C/C", 1, "stereo", 1),
        ("C/C=C\\C", 1, "stereo", 2),
        ("CC=CC", 1, "stereo", 0),
        ("C=CC=C", 1, "conjugated", 1),
        ("C1CC1", 0, "ring", 1),
    ],
)
def test_a_bond_feature(smiles, index, column, value):
    assert bond(smiles, index, column) == value


@pytest.mark.parametrize("smiles", ODD.values(), ids=ODD.keys())
def test_every_feature_is_within_its_range(smiles):
    features = featurize(parse(smiles))
    assert features.atoms.min() >= 0
    assert (features.atoms < np.array(list(ATOM_SIZES.values()))).all()
    assert features.bonds.shape == (len(features.ends), len(BOND_SIZES))
    assert (features.bonds >= 0).all()
    assert (features.bonds < np.array(list(BOND_SIZES.values()))).all()
    assert (features.ends < len(features.atoms)).all()


def test_values_outside_the_range_are_clipped():
    assert atom("[C+12]", 0, "charge") == ATOM_SIZES["charge"] - 1
    assert atom("[CH3][99C]", 1, "isotope") == ATOM_SIZES["isotope"] - 1


def without_stereo(molecule):
    plain = Chem.Mol(molecule)
    Chem.RemoveStereochemistry(plain)
    return Chem.MolToSmiles(plain)


@pytest.mark.parametrize("smiles", ODD.values(), ids=ODD.keys())
def test_an_unusual_molecule_survives_the_round_trip(smiles):
    molecule = parse(smiles)
    assert Chem.MolToSmiles(to_mol(featurize(molecule))) == without_stereo(molecule)


@pytest.mark.parametrize("dataset", ["nci", "wehi"])
def test_real_molecules_survive_the_round_trip(dataset):
    """Features determine the fingerprint and the SMILES without stereochemistry."""
    source = RdkitSamples(dataset)
    for index in range(0, len(source), 25):
        molecule = parse(source[index].values["molecule"])
        restored = to_mol(featurize(molecule))
        assert Chem.MolToSmiles(restored) == without_stereo(molecule)
        assert np.array_equal(ecfp4(restored), ecfp4(molecule))


def test_features_are_equivariant_to_atom_order():
    molecule = mol("C[C@H](N)C(=O)O.C/C=C/C")
    order = np.random.default_rng(0).permutation(molecule.GetNumAtoms())
    permuted = featurize(Chem.RenumberAtoms(molecule, order.tolist()))
    assert np.array_equal(permuted.atoms, featurize(molecule).atoms[order])
    rows = [
        np.sort(np.column_stack([np.sort(np.column_stack(e), axis=1), f.bonds]), axis=0)
        for f, e in ((permuted, order[permuted.ends].T), (featurize(molecule), featurize(molecule).ends.T))
    ]
    assert np.array_equal(*rows)


def test_the_docs_list_every_feature_and_its_size():
    page = (Path(__file__).parents[3] / "docs/how-to/my-own-molecules.md").read_text(encoding="utf-8")
    atoms, bonds = (page.partition(f"| {what} feature |")[2].partition("\n\n")[0] for what in ("atom", "bond"))
    for part, sizes in ((atoms, ATOM_SIZES), (bonds, BOND_SIZES)):
        rows = re.findall(r"^\| (\w+) \| (\d+) \|", part, flags=re.MULTILINE)
        assert [(name, int(size)) for name, size in rows] == list(sizes.items())
