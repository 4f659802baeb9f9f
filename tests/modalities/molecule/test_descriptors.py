"""Descriptors."""

from __future__ import annotations

import time

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import Descriptors

from sensorium.modalities.molecule import descriptors as descriptors_module
from sensorium.modalities.molecule.descriptors import DESCRIPTORS, LARGE, descriptors
from sensorium.modalities.molecule.modality import MoleculeModality

from .molecules import ODD, PEPTIDE, mol

ASPIRIN = "CC(=O)Oc1ccccc1C(=O)O"
STEREO = {"NumAtomStereoCenters", "NumUnspecifiedAtomStereoCenters"}
"""What RDKit counts of stereochemistry, which graphs do not have."""


def named(row_P: np.ndarray) -> dict[str, float]:
    assert row_P.dtype == np.float32
    return dict(zip(DESCRIPTORS, row_P.tolist(), strict=True))


def test_there_are_rdkits_descriptors_each_once():
    assert len(DESCRIPTORS) == len(set(DESCRIPTORS)) == 217
    assert set(DESCRIPTORS) <= {name for name, _ in Descriptors.descList}


def test_they_are_what_rdkit_computes():
    found, wanted = named(descriptors(mol(ASPIRIN))), Descriptors.CalcMolDescriptors(mol(ASPIRIN))
    assert found == pytest.approx({name: wanted[name] for name in DESCRIPTORS}, rel=1e-6)


@pytest.mark.parametrize("smiles", [s for s in ODD.values() if s != PEPTIDE])
def test_of_odd_molecules_they_are_finite_or_nan_and_defined_where_rdkit_says_so(smiles):
    found = named(descriptors(mol(smiles.split()[0])))
    wanted = Descriptors.CalcMolDescriptors(mol(smiles.split()[0]), missingVal=np.nan, silent=True)
    finite = {name for name in DESCRIPTORS if np.isfinite(wanted[name])}
    assert {name for name, value in found.items() if not np.isnan(value)} == finite
    assert not np.isinf(list(found.values())).any()


def test_those_of_an_example_are_those_of_its_molecule_but_for_stereochemistry():
    modality = MoleculeModality(motifs=True)
    assert modality.descriptor_names == DESCRIPTORS
    for smiles in (ASPIRIN, ODD["R"], ODD["Z"], ODD["complex"], ODD["salt"], ODD["isotope"], ODD["aromatic"]):
        found, wanted = named(modality.descriptors(modality.decode(smiles))), named(descriptors(mol(smiles)))
        kept = [name for name in DESCRIPTORS if name not in STEREO]
        assert [found[n] for n in kept] == pytest.approx([wanted[n] for n in kept], rel=1e-5, abs=1e-5, nan_ok=True)


def test_they_are_those_of_the_molecule_whatever_the_order_of_its_atoms():
    first = mol("CC(C)Cc1ccc(cc1)C(C)C(=O)O")
    order = np.random.default_rng(0).permutation(first.GetNumAtoms()).tolist()
    np.testing.assert_allclose(descriptors(Chem.RenumberAtoms(first, order)), descriptors(first), rtol=1e-4, atol=1e-4)


def test_one_that_fails_is_nan_and_the_others_remain(monkeypatch):
    def fails(mol):
        raise RuntimeError("no force field")

    whole = descriptors(mol(ASPIRIN))
    monkeypatch.setitem(descriptors_module._FUNCTIONS, "MolLogP", fails)
    monkeypatch.setitem(descriptors_module._FUNCTIONS, "TPSA", lambda mol: float("inf"))
    monkeypatch.delitem(descriptors_module._FUNCTIONS, "qed")  # as of a release that lacks it
    found = descriptors(mol(ASPIRIN))
    broken = [DESCRIPTORS.index(name) for name in ("MolLogP", "TPSA", "qed")]
    assert np.isnan(found[broken]).all()
    np.testing.assert_array_equal(np.delete(found, broken), np.delete(whole, broken))


def test_a_macromolecule_takes_no_longer_than_its_size():
    peptide, start = mol(PEPTIDE), time.process_time()
    found = named(descriptors(peptide))
    assert time.process_time() - start < 10  # with the information content of its characteristic polynomial, 24 s
    assert peptide.GetNumHeavyAtoms() > LARGE
    assert {name for name, value in found.items() if np.isnan(value)} == {"Ipc", "AvgIpc"}
