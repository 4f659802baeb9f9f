"""BRICS motifs."""

from __future__ import annotations

import pytest
from rdkit.Chem import BRICS

from sensorium.modalities.molecule.motifs import brics_motifs
from sensorium.modalities.molecule.parse import parse
from sensorium.modalities.molecule.sources.samples import RdkitSamples

from .molecules import ODD, mol


def test_motifs_of_aspirin():
    assert brics_motifs(mol("CC(=O)Oc1ccccc1C(=O)O")).tolist() == [0, 0, 0, 1, 2, 2, 2, 2, 2, 2, 3, 3, 3]


@pytest.mark.parametrize("smiles", ODD.values(), ids=ODD.keys())
def test_every_atom_is_in_one_motif_and_no_ring_is_cut(smiles):
    molecule = parse(smiles)
    motifs_N = brics_motifs(molecule)
    assert len(motifs_N) == molecule.GetNumAtoms()
    assert sorted(set(motifs_N.tolist())) == list(range(motifs_N.max() + 1))
    for ring in molecule.GetRingInfo().AtomRings():
        assert len({motifs_N[atom] for atom in ring}) == 1


def test_motifs_are_cut_at_brics_bonds_only():
    source = RdkitSamples("wehi")
    for index in range(0, len(source), 400):
        molecule = parse(source[index].values["molecule"])
        motifs_N = brics_motifs(molecule)
        cut = {frozenset(atoms) for atoms, _ in BRICS.FindBRICSBonds(molecule)}
        ends = [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in molecule.GetBonds()]
        assert {frozenset(pair) for pair in ends if motifs_N[pair[0]] != motifs_N[pair[1]]} == cut
