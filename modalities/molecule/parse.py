"""From a raw value to a molecule, or to the reason why there is none."""

from __future__ import annotations

from typing import Any, Literal

from rdkit import Chem, rdBase

from sensorium import BadSample

Fragments = Literal["keep", "largest", "skip", "error"]


class InParts(BadSample):
    """A value of several unconnected parts, where only one was wanted."""


def parse(raw: Any, fragments: Fragments = "keep") -> Chem.Mol:
    """Return a sanitised molecule of at least one atom.

    Args:
        raw: a SMILES (what follows its first blank is a name and is passed over), a mol block, either as bytes, or an
            rdkit molecule.
        fragments: what becomes of a value of several unconnected parts, such as a salt: "keep" takes it whole,
            "largest" its part of most heavy atoms (the first of equals), "skip" and "error" refuse it.

    Raises:
        BadSample: with the reason; `InParts` when that is its parts.
    """
    mol = raw if isinstance(raw, Chem.Mol) else _read(raw)
    if not mol.GetNumAtoms():
        raise BadSample("it has no atoms")
    if fragments == "keep":
        return mol
    parts = Chem.GetMolFrags(mol)
    if len(parts) == 1:
        return mol
    if fragments != "largest":
        raise InParts(f"it has {len(parts)} unconnected parts")
    whole = Chem.GetMolFrags(mol, asMols=True)
    return max(whole, key=lambda part: part.GetNumHeavyAtoms())


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
    with rdBase.BlockLogs():  # for this one value: what rdkit would write becomes the reason
        mol = read(text)
        if mol is None:
            raise BadSample(_reason(read(text, sanitize=False), "mol block" if block else f"SMILES: '{text[:60]}'"))
    return mol


def _reason(unchecked: Chem.Mol | None, what: str) -> str:
    """Say why rdkit refused a value, given what it reads when it checks nothing."""
    if unchecked is None:
        return f"it is no {what}"
    problems = [problem.Message() for problem in Chem.DetectChemistryProblems(unchecked)]
    return "; ".join(problems[:3]) or f"it is no valid {what}"
