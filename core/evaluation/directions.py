"""Directions of prediction between modalities, and the columns of the space "predictions".

A direction is the modalities that are shown, and the one that is predicted: "image->text", "image+text->audio".
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from typing import NamedTuple

from sensorium.evaluation.tables import PAIR

JOINED = "+"
TARGET, BASELINE = " target", " baseline"
"""Behind the name of a modality: its tokens' targets, and its baseline features."""


class Direction(NamedTuple):
    """The modalities that are shown, and the one that is predicted."""

    sources: tuple[str, ...]
    target: str

    def __str__(self) -> str:
        return f"{JOINED.join(self.sources)}{PAIR}{self.target}"


def directions(modalities: Sequence[str]) -> list[Direction]:
    """Return all directions: each modality from all others, then each from each other one where there are more."""
    joint = [Direction(tuple(other for other in modalities if other != target), target) for target in modalities]
    single = [Direction((source,), target) for source, target in permutations(modalities, 2)]
    return [one for one in dict.fromkeys(joint + single) if one.sources]
