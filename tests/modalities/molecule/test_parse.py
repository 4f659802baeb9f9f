"""Parsing of raw values to molecules."""

from __future__ import annotations

import subprocess
import sys

import pytest
from rdkit import Chem

from sensorium import BadSample
from sensorium.modalities.molecule.parse import parse, smiles_of

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
        ("", "the SMILES is empty"),
        ("  \t ", "the SMILES is empty"),
        (" named", "RDKit cannot read the SMILES 'named': syntax error around position 2"),
        ("C(C", r"the SMILES 'C\(C': extra open parentheses around position 2"),
        ("C1CC", "RDKit cannot read the SMILES 'C1CC': unclosed ring"),
        ("C" * 100 + "(", "the SMILES 'C{59}…': syntax error around position 101"),
        (
            "CN(C)(C)(C)C",
            r"the SMILES 'CN\(C\)\(C\)\(C\)C': Explicit valence for atom # 1 N, 5, is greater than permitted",
        ),
        ("c1ccc1c", "non-ring atom 4 marked aromatic"),
        ("c1cccc1", "kekulize"),
        (b"\xff\xfe", "not UTF-8"),
        (7, "a SMILES or a mol block, not 7 of type int"),
        (float("nan"), "not nan of type float"),
        (None, "not None of type NoneType"),
        ("title\nno block at all\n\n", "RDKit cannot read the mol block"),
        (Chem.Mol(), "the molecule has no atoms"),
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
    with pytest.raises(BadSample, match="cannot read the mol block"):
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


def test_the_kinds_of_faults():
    kinds = {"": "empty", "C1CC": "damaged", 7: "unsupported", b"\xff\xfe": "encoding"}
    for raw, kind in kinds.items():
        with pytest.raises(BadSample) as caught:
            parse(raw)
        assert caught.value.kind == kind


def test_smiles_of_every_form():
    benzene = mol("c1ccccc1")
    assert smiles_of("C1=CC=CC=C1 benzene") == "C1=CC=CC=C1", "as it is given"
    assert smiles_of(b"CCO") == "CCO"
    assert smiles_of(benzene) == smiles_of(Chem.MolToMolBlock(benzene)) == "c1ccccc1"


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
