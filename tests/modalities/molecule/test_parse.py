"""From raw values to molecules, or to a reason."""

from __future__ import annotations

import subprocess
import sys

import pytest
from rdkit import Chem

from sensorium import BadSample
from sensorium.modalities.molecule.parse import parse

from .molecules import ODD, PEPTIDE, mol


@pytest.mark.parametrize("smiles", ODD.values(), ids=ODD.keys())
def test_odd_molecules_survive_whole(smiles):
    wanted = Chem.MolFromSmiles(smiles.split()[0])
    assert Chem.MolToSmiles(parse(smiles)) == Chem.MolToSmiles(wanted)


def test_a_peptide_keeps_all_of_its_atoms():
    assert parse(PEPTIDE).GetNumAtoms() == 491


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("", "it is empty"),
        ("  \t ", "it is empty"),
        (" named", "it is no SMILES: 'named'"),
        ("C(C", r"it is no SMILES: 'C\(C'"),
        ("C1CC", "it is no SMILES"),
        ("CN(C)(C)(C)C", "Explicit valence for atom # 1 N, 5, is greater than permitted"),
        ("c1ccc1c", "non-ring atom 4 marked aromatic"),
        ("c1cccc1", "kekulize"),
        (b"\xff\xfe", "not UTF-8"),
        (7, "of type int, neither SMILES nor mol block"),
        (None, "of type NoneType"),
        ("title\nno block at all\n\n", "it is no mol block"),
        (Chem.Mol(), "it has no atoms"),
    ],
)
def test_what_is_no_molecule_says_why(raw, reason):
    """A bad SMILES never becomes an empty molecule."""
    with pytest.raises(BadSample, match=rf"(?i){reason}"):
        parse(raw)


def test_blocks_bytes_and_molecules_are_read_too():
    benzene = mol("c1ccccc1")
    for raw in (benzene, Chem.MolToMolBlock(benzene), Chem.MolToMolBlock(benzene).encode(), b"c1ccccc1 benzene\n"):
        assert Chem.MolToSmiles(parse(raw)) == "c1ccccc1"
    broken = Chem.MolToMolBlock(benzene).replace("  6  6  0", "  9  6  0")
    with pytest.raises(BadSample, match="no mol block"):
        parse(broken)


def test_parts_are_kept_picked_or_refused():
    salt = "[Na+].CCC(=O)[O-].O"
    assert parse(salt).GetNumAtoms() == 7
    assert Chem.MolToSmiles(parse(salt, "largest")) == "CCC(=O)[O-]"
    for policy in ("skip", "error"):
        with pytest.raises(BadSample, match="3 unconnected parts"):
            parse(salt, policy)
    assert Chem.MolToSmiles(parse("O.N", "largest")) == "O", "the first of equals"
    assert parse("CCO", "error").GetNumAtoms() == 3


def test_rdkit_speaks_as_before_and_after():
    """What is wrong with a value goes to its reason; rdkit's own log is left as it was."""
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
