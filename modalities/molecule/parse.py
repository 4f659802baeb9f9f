"""Parse SMILES and mol blocks to sanitized molecules."""

from __future__ import annotations

from typing import Any, Literal

from rdkit import Chem, rdBase

from sensorium import BadSample

Fragments = Literal["keep", "largest", "skip", "error"]


class SeveralFragments(BadSample):
    """A molecule of several disconnected fragments, where one is required."""


def parse(raw: Any, fragments: Fragments = "keep") -> Chem.Mol:
    """Return a sanitized molecule of at least one atom.

    Args:
        raw: a SMILES (text after its first blank is a name and is ignored), a mol block, either as bytes, or an RDKit
            molecule.
        fragments: how to treat several disconnected fragments, such as a salt: "keep" keeps all, "largest" keeps the
            fragment of most heavy atoms (the first of equals), "skip" and "error" raise.

    Raises:
        BadSample: with the reason; `SeveralFragments` when that is the fragments.
    """
    mol = raw if isinstance(raw, Chem.Mol) else _read(raw)
    if not mol.GetNumAtoms():
        raise BadSample("it has no atoms")
    if fragments == "keep":
        return mol
    found = Chem.GetMolFrags(mol)
    if len(found) == 1:
        return mol
    if fragments != "largest":
        raise SeveralFragments(f"it has {len(found)} disconnected fragments")
    return max(Chem.GetMolFrags(mol, asMols=True), key=lambda fragment: fragment.GetNumHeavyAtoms())


def _read(raw: Any) -> Chem.Mol:
    if isinstance(raw, bytes):
        try:
            raw = raw.decode()
        except UnicodeDecodeError as error:
            raise BadSample("it is not UTF-8 text") from error
    if not isinstance(raw, str):
        raise BadSample(f"it is of type {type(raw).__name__}, neither SMILES nor mol block")
    block = "\n" in raw.strip()
    text = raw if block else (raw.split(maxsplit=1) or [""])[0]
    if not text.strip():
        raise BadSample("it is empty")
    read = Chem.MolFromMolBlock if block else Chem.MolFromSmiles
    with rdBase.BlockLogs():  # RDKit's log becomes the reason
        mol = read(text)
        if mol is None:
            raise BadSample(_reason(read(text, sanitize=False), "mol block" if block else f"SMILES: '{text[:60]}'"))
    return mol


def _reason(unchecked: Chem.Mol | None, what: str) -> str:
    """Return why RDKit rejects a value, from the molecule that it parses without sanitization."""
    if unchecked is None:
        return f"it is not a {what}"
    problems = [problem.Message() for problem in Chem.DetectChemistryProblems(unchecked)]
    return "; ".join(problems[:3]) or f"it is not a valid {what}"
