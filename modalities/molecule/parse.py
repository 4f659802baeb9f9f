"""Parse SMILES and mol blocks to sanitized molecules."""

from __future__ import annotations

import re
from typing import Any, Literal

from rdkit import Chem, rdBase

from sensorium import BadSample

LONGEST = 60
"""Characters of a SMILES that an error shows."""
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
        raise BadSample("the molecule has no atoms", "empty")
    if fragments == "keep":
        return mol
    found = Chem.GetMolFrags(mol)
    if len(found) == 1:
        return mol
    if fragments != "largest":
        raise SeveralFragments(
            f"the molecule '{_short(Chem.MolToSmiles(mol))}' has {len(found)} disconnected fragments", "unsupported"
        )
    return max(Chem.GetMolFrags(mol, asMols=True), key=lambda fragment: fragment.GetNumHeavyAtoms())


def smiles_of(raw: Any) -> str:
    """Return the SMILES of a raw value: as it is given, or as RDKit writes a mol block or a molecule.

    Raises:
        BadSample: when it is neither, or a mol block cannot be read.
    """
    if isinstance(raw, bytes):
        raw = _decoded(raw)
    if isinstance(raw, str) and not _is_block(raw):
        return (raw.split(maxsplit=1) or [""])[0]
    return Chem.MolToSmiles(parse(raw))


def _read(raw: Any) -> Chem.Mol:
    if isinstance(raw, bytes):
        raw = _decoded(raw)
    if not isinstance(raw, str):
        raise BadSample(
            f"a molecule is a SMILES or a mol block, not {raw!r} of type {type(raw).__name__}", "unsupported"
        )
    block = _is_block(raw)
    text = raw if block else (raw.split(maxsplit=1) or [""])[0]
    if not text.strip():
        raise BadSample("the SMILES is empty", "empty")
    read = Chem.MolFromMolBlock if block else Chem.MolFromSmiles
    with rdBase.BlockLogs(), rdBase.CaptureErrorLog() as log:  # RDKit's log becomes the reason
        mol = read(text)
    if mol is None:
        what = "mol block" if block else f"SMILES '{_short(text)}'"
        why = _reason(log.messages)
        raise BadSample(f"RDKit cannot read the {what}" + (f": {why}" if why else ""))
    return mol


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise BadSample("the molecule is not UTF-8 text", "encoding") from error


def _is_block(text: str) -> bool:
    return "\n" in text.strip()


def _short(smiles: str) -> str:
    return smiles if len(smiles) <= LONGEST else f"{smiles[: LONGEST - 1]}…"


def _reason(log: str) -> str:
    """Return what RDKit's log says, as one clause: "syntax error around position 3"."""
    lines = [re.sub(r"^\[[\d:]+\] (SMILES Parse Error: )?", "", line) for line in log.splitlines()]
    if not lines:
        return ""
    what = re.split(r" while parsing:| for input:", lines[0])[0]
    where = re.search(r"check for mistakes (around position \d+)", log)
    return f"{what} {where[1]}" if where else what
