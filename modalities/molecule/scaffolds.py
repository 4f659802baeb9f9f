"""MoleculeNet's scaffold split: molecules of one Bemis-Murcko scaffold are in the same part (Wu et al. 2018)."""

from __future__ import annotations

from collections.abc import Iterable

from rdkit.Chem.Scaffolds.MurckoScaffold import MurckoScaffoldSmiles

from sensorium import BadSample
from sensorium.errors import RecipeError
from sensorium.modalities.molecule.parse import parse

ACYCLIC = "no ring"
"""The scaffold of all acyclic molecules."""


def murcko_scaffold(raw: str | None) -> str | None:
    """Return the SMILES of a molecule's Bemis-Murcko scaffold without stereochemistry; None for an invalid molecule."""
    try:
        return None if raw is None else MurckoScaffoldSmiles(mol=parse(raw)) or ACYCLIC
    except BadSample:
        return None


def scaffold_split(scaffolds: Iterable[str | None], fractions: tuple[float, float]) -> list[str | None]:
    """Return the part of each record, a deterministic function of the scaffolds.

    Scaffolds are sorted by descending size, those of equal size by the descending index of their first record. Each
    goes whole to train if it fits into train's fraction, else to val if it fits into those of train and val, else to
    test.

    Args:
        scaffolds: the scaffold of each record; records without one (None) have no part and do not count.
        fractions: of val and of test; the rest is train.

    Raises:
        RecipeError: when the fractions are negative, or leave nothing to train.
    """
    val, test = fractions
    if min(fractions) < 0 or val + test >= 1:
        raise RecipeError(
            f"data.source.fractions are those of val and test, at least 0 and together below 1, not {list(fractions)}."
        )
    found = list(scaffolds)
    groups: dict[str, list[int]] = {}
    for index, scaffold in enumerate(found):
        if scaffold is not None:
            groups.setdefault(scaffold, []).append(index)
    count = sum(map(len, groups.values()))
    train_size, train_val_size = 0, 0
    parts: list[str | None] = [None] * len(found)
    for members in sorted(groups.values(), key=lambda group: (len(group), group[0]), reverse=True):
        if train_size + len(members) <= (1 - val - test) * count:
            part, train_size, train_val_size = "train", train_size + len(members), train_val_size + len(members)
        elif train_val_size + len(members) <= (1 - test) * count:
            part, train_val_size = "val", train_val_size + len(members)
        else:
            part = "test"
        for index in members:
            parts[index] = part
    return parts
