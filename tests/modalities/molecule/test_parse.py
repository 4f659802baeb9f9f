"""Parsing of raw values to molecules."""

from __future__ import annotations

import subprocess
import sys

import pytest
from rdkit import Chem

from sensorium import BadSample
from sensorium.modalities.molecule.parse import parse

from .molecules import ODD, PEPTIDE, mol


@pytest.mark.parametrize("smiles", ODD.values(), ids=ODD.keys())
def test_unusual_molecules_are_kept_whole(smiles):
    wanted = Chem.MolFromSmiles(smiles.split()[0])
    assert Chem.MolToSmiles(parse(smiles)) == Chem.MolToSmiles(wanted)


def test_a_peptide_keeps_all_of_its_atoms():
    assert parse(PEPTIDE).GetNumAtoms() == 491


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("", "it is empty"),
        ("  \t ", "it is empty"),
        (" named", "it is not a SMILES: 'named'"),
        ("C(C", r"it is not a SMILES: 'C\(C'"),
        ("C1CC", "it is not a SMILES"),
        ("CN(C)(C)(C)C", "Explicit valence for atom # 1 N, 5, is greater than permitted"),
        ("c1ccc1c", "non-ring atom 4 marked aromatic"),
        ("c1cccc1", "kekulize"),
        (b"\xff\xfe", "not UTF-8"),
        (7, "of type int, neither SMILES nor mol block"),
        (None, "of type NoneType"),
        ("title\nno block at all\n\n", "it is not a mol block"),
        (Chem.Mol(), "it has no atoms"),
    ],
)
def test_an_invalid_molecule_gives_the_reason(raw, reason):
    """An invalid SMILES never becomes an empty molecule."""
    with pytest.raises(BadSample, match=rf"(?i){reason}"):
        parse(raw)


def test_mol_blocks_bytes_and_molecules_are_read():
    benzene = mol("c1ccccc1")
    for raw in (benzene, Chem.MolToMolBlock(benzene), Chem.MolToMolBlock(benzene).encode(), b"c1ccccc1 benzene\n"):
        assert Chem.MolToSmiles(parse(raw)) == "c1ccccc1"
    broken = Chem.MolToMolBlock(benzene).replace("  6  6  0", "  9  6  0")
    with pytest.raises(BadSample, match="not a mol block"):
        parse(broken)


def test_fragments_are_kept_selected_or_refused():
    salt = "[Na+].CCC(=O)[O-].O"
    assert parse(salt).GetNumAtoms() == 7
    assert Chem.MolToSmiles(parse(salt, "largest")) == "CCC(=O)[O-]"
    for policy in ("skip", "error"):
        with pytest.raises(BadSample, match="3 disconnected fragments"):
            parse(salt, policy)
    assert Chem.MolToSmiles(parse("O.N", "largest")) == "O", "the first of equals"
    assert parse("CCO", "error").GetNumAtoms() == 3


def test_rdkit_logging_is_restored():
    """RDKit's message becomes the reason; its logging is as before afterwards."""
    code = """
from rdkit import Chem
from sensorium import BadSample
from sensorium.modalities.molecule.parse import parse
try:
    parse("C(((")
except BadSample:
    pass
Chem.MolFromSmiles("N(((")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "C(((" not in done.stderr
    assert "N(((" in done.stderr
