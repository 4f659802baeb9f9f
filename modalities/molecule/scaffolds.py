"""The scaffold split of MoleculeNet: molecules of one Bemis-Murcko scaffold share a part (Wu et al. 2018)."""

from __future__ import annotations

from collections.abc import Iterable

from rdkit.Chem.Scaffolds.MurckoScaffold import MurckoScaffoldSmiles

from sensorium import BadSample
from sensorium.errors import RecipeError
from sensorium.modalities.molecule.parse import parse

RINGLESS = "no ring"
"""The scaffold of every molecule without rings."""


def scaffold_of(raw: str | None) -> str | None:
    """Return the SMILES of a molecule's ring systems and linkers, stereo aside; None for what is no molecule."""
    try:
        return None if raw is None else MurckoScaffoldSmiles(mol=parse(raw)) or RINGLESS
    except BadSample:
        return None


def scaffold_split(scaffolds: Iterable[str | None], shares: tuple[float, float]) -> list[str | None]:
    """Return the part of each record; nothing in it is random.

    Scaffolds are taken by falling count, those of equal count by falling place of their first record. Each goes whole
    to train if it fits into train's share, else to val if it fits into the shares of train and val, else to test.

    Args:
        scaffolds: the scaffold of each record; records without one (None) have no part and do not count.
        shares: of val and of test; the rest is train.

    Raises:
        RecipeError: when the shares are not shares.
    """
    val, test = shares
    if min(shares) < 0 or val + test >= 1:
        raise RecipeError(f"data.source.shares are those of val and test, together below 1, not {list(shares)}.")
    found = list(scaffolds)
    groups: dict[str, list[int]] = {}
    for place, scaffold in enumerate(found):
        if scaffold is not None:
            groups.setdefault(scaffold, []).append(place)
    count = sum(map(len, groups.values()))
    trained, held = 0, 0  # records of train, and of train and val together
    parts: list[str | None] = [None] * len(found)
    for members in sorted(groups.values(), key=lambda group: (len(group), group[0]), reverse=True):
        if trained + len(members) <= (1 - val - test) * count:
            part, trained, held = "train", trained + len(members), held + len(members)
        elif held + len(members) <= (1 - test) * count:
            part, held = "val", held + len(members)
        else:
            part = "test"
        for place in members:
            parts[place] = part
    return parts
